"""A run: goes on after a kill at any moment, keeps what it chose, refuses another configuration."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from itertools import islice
from pathlib import Path
from types import ModuleType

import pytest
from safetensors.torch import save_file
from test_trainer import SETTINGS, Learner, trainer

from cogrpo import candidate, checkpoint, training
from cogrpo.checkpoint import CheckpointFileError
from cogrpo.emoji import prompts
from cogrpo.trainer import Trainer, TrainingError
from cogrpo.training import RunConfig


def config(**changes) -> RunConfig:
    told = {
        "rounds": 4,
        "trainer": {**SETTINGS, "arm": "joint"},
        "validation": {"every": 2, "per_category": 1},
    }
    return RunConfig.model_validate({**told, **changes})


def build(config: RunConfig, cache=None, device="cpu") -> Trainer:
    """As `training.build`, of what has no weights."""
    told = config.trainer
    return trainer(
        arm=told.arm, steps=told.steps, schedule_first=told.schedule_first, least_spread=told.least_spread
    )


def save(model: Learner, path) -> None:
    save_file(dict(model.network.state_dict()), path)


@pytest.fixture(autouse=True)
def small_world(monkeypatch):
    monkeypatch.setattr(training, "build", build)
    monkeypatch.setattr(Learner, "save", save, raising=False)


def finish(config: RunConfig, out) -> tuple[list[dict], str]:
    lines = list(training.run(config, out))
    return lines, candidate.load(out / training.CHOSEN).sha256


def untimed(line: dict) -> dict:
    return {name: value for name, value in line.items() if not name.startswith("seconds")}


def test_a_run_that_was_stopped_ends_with_the_same_hash(tmp_path):
    lines, sha256 = finish(config(), tmp_path / "whole")
    stopped = training.run(config(), tmp_path / "stopped")
    first = list(islice(stopped, 3))
    stopped.close()
    rest, again = finish(config(), tmp_path / "stopped")
    assert again == sha256
    assert [line["round"] for line in rest] == [4]
    assert [untimed(line) for line in first + rest] == [untimed(line) for line in lines]


KILLED = """
import os, signal
import torch
from pathlib import Path
from cogrpo import training
from test_training import Learner, build, config, save

torch.set_num_threads(2)
training.build, Learner.save, tell = build, save, training._told

def told(out, line, report):
    if line["round"] == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return tell(out, line, report)

training._told = told
list(training.run(config(), Path({out!r})))
"""


def test_a_kill_between_checkpoint_and_line_repeats_no_round_and_loses_no_line(tmp_path):
    lines, sha256 = finish(config(), tmp_path / "whole")
    out, tests = tmp_path / "killed", Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(out=str(out))],
        cwd=tests.parent,
        env={**os.environ, "PYTHONPATH": f"{tests.parent}{os.pathsep}{tests}"},
        check=False,
    )
    assert done.returncode == -signal.SIGKILL
    assert checkpoint.latest_round(out) == 3, "saved before it is told"
    rest, again = finish(config(), out)
    assert again == sha256
    assert [line["round"] for line in rest] == [3, 4]
    told = [json.loads(line) for line in (out / training.METRICS).read_text().splitlines()]
    assert [untimed(line) for line in told] == [untimed(line) for line in lines]


def test_a_kill_before_the_checkpoint_forgets_what_was_half_written(tmp_path):
    lines, sha256 = finish(config(), tmp_path / "whole")
    list(islice(training.run(config(), tmp_path / "run"), 2))
    with (tmp_path / "run" / training.METRICS).open("a") as file:
        file.write(json.dumps({"round": 3}) + "\n" + '{"round": 4, "rew')
    _, again = finish(config(), tmp_path / "run")
    assert again == sha256
    told = [json.loads(line) for line in (tmp_path / "run" / training.METRICS).read_text().splitlines()]
    assert [untimed(line) for line in told] == [untimed(line) for line in lines]


def test_a_finished_run_has_nothing_to_do(tmp_path):
    _, sha256 = finish(config(), tmp_path)
    assert finish(config(), tmp_path) == ([], sha256)


def test_another_configuration_is_refused_and_changes_nothing(tmp_path):
    finish(config(), tmp_path)
    before = sorted(path.name for path in tmp_path.rglob("*"))
    with pytest.raises(TrainingError, match="another configuration"):
        finish(config(seed=1), tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name, value",
    [
        ("weights", "1" * 64), ("precision", "bfloat16"), ("torch", "1.0"), ("rewards", {"verifier": "2"}),
        ("prompts", "2" * 64), ("schedules", {"2": [[0, 1, 1, 1]] * 2}),
    ],
)  # fmt: skip
def test_a_run_does_not_go_on_from_another_origin(tmp_path, monkeypatch, name, value):
    list(islice(training.run(config(), tmp_path), 1))

    def other(config, cache=None, device="cpu"):
        built = build(config)
        built.origin[name] = value
        return built

    monkeypatch.setattr(training, "build", other)
    with pytest.raises(TrainingError, match=rf"^out: .* holds a run with other {name}; .*\.$"):
        finish(config(), tmp_path)


def test_two_runs_do_not_share_a_folder(tmp_path):
    going = training.run(config(), tmp_path)
    next(going)
    with pytest.raises(TrainingError, match=r"^out: a run is going on in .*\.$"):
        next(training.run(config(), tmp_path))
    going.close()
    assert [line["round"] for line in training.run(config(), tmp_path)] == [2, 3, 4]


def test_lines_go_to_trackio_where_the_configuration_says_so(tmp_path, monkeypatch):
    told = []
    stub = ModuleType("trackio")
    stub.init = lambda **named: told.append(named)
    stub.log = lambda line, step: told.append((line, step))
    stub.finish = lambda: told.append("finish")
    monkeypatch.setitem(sys.modules, "trackio", stub)
    lines, _ = finish(config(rounds=2, sink="trackio"), tmp_path / "mine")
    first, *rest = told
    assert (first["name"], first["resume"], first["config"]["rounds"]) == ("mine", "allow", 2)
    assert rest == [(lines[0], 1), (lines[1], 2), "finish"]


def test_trackio_that_is_not_installed_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(TrainingError, match=r"^sink: 'trackio' is not installed; .*\.$"):
        finish(config(sink="trackio"), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_cannot_be_built_leaves_nothing(tmp_path, monkeypatch):
    def broken(config, cache=None, device="cpu"):
        raise TrainingError("no.")

    monkeypatch.setattr(training, "build", broken)
    with pytest.raises(TrainingError):
        finish(config(), tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_lines_are_forgotten_whole_or_not_at_all(tmp_path, monkeypatch):
    list(islice(training.run(config(), tmp_path), 2))
    text = (tmp_path / training.METRICS).read_bytes()

    def killed(source, target):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", killed)
    with pytest.raises(KeyboardInterrupt):
        finish(config(), tmp_path)
    assert (tmp_path / training.METRICS).read_bytes() == text


def test_a_rehearsal_counts_each_phase_as_often_as_the_run_has_it(monkeypatch):
    asked = []

    def fixed(self):
        asked.append((self.config.steps, self.config.updates(0), self.config.least_spread))
        seconds = {"rollout": 1.0, "reward": 2.0, "update": 10.0, "replay": 100.0}
        return {"reward": 0.5, **{f"seconds/{phase}": value for phase, value in seconds.items()}}

    monkeypatch.setattr(Trainer, "advance", fixed)
    monkeypatch.setattr(training, "validate", lambda trainer, config: {})
    told = training.rehearse(config(trainer={**SETTINGS, "arm": "co", "schedule_first": 1}))
    assert asked == [((3,), (True, True), 0.0)]
    assert set(told["seconds"]) == {"rollout", "reward", "replay", "update", "validation"}
    assert told["hours"] * 3600 == pytest.approx(4 * 3 + 4 * 10 + 2 * 100, abs=0.1)


def test_a_damaged_checkpoint_is_refused_by_name(tmp_path):
    list(islice(training.run(config(), tmp_path), 1))
    path = tmp_path / "round-000001" / checkpoint.TENSORS
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CheckpointFileError, match="round-000001/tensors.safetensors is damaged"):
        finish(config(), tmp_path)


def test_best_keeps_the_round_with_the_highest_validation_reward(tmp_path, monkeypatch):
    scores = iter([0.5, 0.9, 0.1])
    monkeypatch.setattr(training, "validate", lambda trainer, config: {"validation/reward": next(scores)})
    finish(config(rounds=6, choose="best"), tmp_path / "best")
    assert candidate.load(tmp_path / "best" / training.CHOSEN).facts["rounds"] == 4
    scores = iter([0.5, 0.9, 0.1])
    finish(config(rounds=6, choose="last"), tmp_path / "last")
    assert candidate.load(tmp_path / "last" / training.CHOSEN).facts["rounds"] == 6


def test_what_best_goes_by_counts_each_reward_in_its_own_unit():
    wanted = config()
    built = build(wanted)
    plain = training.validate(built, wanted)["validation/reward"]
    built.mixer.units["verifier"] = 0.05
    assert training.validate(built, wanted)["validation/reward"] == pytest.approx(20 * plain)


def test_a_candidate_holds_its_schedule_in_plain_numbers_and_says_what_acted(tmp_path):
    finish(config(), tmp_path)
    folder = tmp_path / training.CHOSEN
    told, loaded = json.loads((folder / "schedule.json").read_text()), candidate.load(folder)
    for steps in (2, 3):
        assert told["mean"][str(steps)] == loaded.policy.mean_schedule(steps).table.tolist()
    assert loaded.facts["weights"] == {"verifier": 1.0}


@pytest.mark.parametrize(
    "arm, body, said",
    [
        ("joint", "table", "trained together"), ("co", "state", "known only step by step"),
        ("model", "table", "the model alone"), ("schedule", "table", "the schedule alone"),
    ],
)  # fmt: skip
def test_the_card_says_what_was_trained_from_what_and_what_else_one_needs(tmp_path, arm, body, said):
    built = trainer(arm=arm, body=body)
    told = config(trainer={**SETTINGS, "arm": arm})
    figures = {"validation/verifier/2": 0.875, "validation/reward": 0.875, "seconds/rollout": 77.0}
    training.hand_over(built, told, figures, tmp_path / "chosen")
    card = (tmp_path / "chosen" / candidate.README).read_text()
    for part in (said, "0" * 64, "verifier (version test), weight 1", "tokenizer", "license: apache-2.0",
                 "validation/verifier/2: 0.8750", "prompts_per_round: 2", "## Limits"):  # fmt: skip
        assert part in card
    assert ("trained together" in card) == (arm in ("joint", "co"))
    assert ("known only step by step" in card) == (body == "state")
    assert "seconds" not in card, "the same run would give another hash"


def test_every_candidate_of_a_run_has_its_card_with_the_figures_of_its_round(tmp_path):
    lines, _ = finish(config(), tmp_path)
    loaded = candidate.load(tmp_path / training.CHOSEN)
    known = {name: value for name, value in lines[-1].items() if name.startswith("validation/")}
    assert known and loaded.facts["figures"] == known
    card = (tmp_path / training.CHOSEN / candidate.README).read_text()
    assert f"- validation/reward: {known['validation/reward']:.4f}" in card and "Trained for 4 rounds" in card


def test_no_prompt_of_the_test_list_trains_whatever_its_file(tmp_path):
    with pytest.raises(TrainingError, match=r"^prompts: 'test' is not allowed for training: .*\.$"):
        training.training_prompts(config(prompts="test"))
    copy = tmp_path / "mine.jsonl"
    copy.write_text(prompts.to_line(prompts.load("test")[7]) + "\n")
    with pytest.raises(TrainingError, match="is a test prompt"):
        training.training_prompts(config(prompts=str(copy)))


def test_categories_pick_prompts_and_an_unknown_one_is_named():
    entries = prompts.load("train")
    chosen = training.training_prompts(config(categories=["count", "dense"]))
    assert chosen == [entry.prompt for entry in entries if entry.category in ("count", "dense")]
    with pytest.raises(
        TrainingError, match=r"^categories: 'dens' is unknown; allowed are single, .*dense\.$"
    ):
        training.training_prompts(config(categories=["dens"]))


def test_each_validation_picture_has_a_seed_of_its_own(monkeypatch):
    asked, real = [], training.roll_out

    def spy(model, policy, prompts, group, steps, seeds, *others):
        asked.append((len(prompts), group, list(seeds)))
        return real(model, policy, prompts, group, steps, seeds, *others)

    monkeypatch.setattr(training, "roll_out", spy)
    wanted = config(validation={"every": 2, "per_category": 2, "seeds": 3})
    told = training.validate(build(wanted), wanted)
    assert asked == [(14, 3, list(range(42)))] * len(wanted.trainer.steps)
    assert all(0 <= score <= 1 for score in told.values())


def test_validation_takes_prompts_of_every_category():
    chosen = training.validation_prompts(2)
    assert len(chosen) == 14 == len(set(chosen))
