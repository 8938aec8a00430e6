"""`python -m cogrpo train|export`: lines, overrides, and one sentence for what cannot be done."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import yaml
from safetensors.torch import load_file
from test_trainer import SETTINGS, Bright, Learner, trainer
from test_training import small_world  # noqa: F401 (a fixture that acts by itself)
from tqdm import tqdm

from cogrpo import candidate, cli_training, schedules, training
from cogrpo.cli import main
from cogrpo.emoji.detector import Detector
from cogrpo.evaluation import score_table
from cogrpo.gate import ScoreTable
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.registry import Registry
from cogrpo.rewards.mixer import Mixer

CONFIG = {
    "rounds": 2,
    "trainer": {**SETTINGS, "steps": [2, 3]},
    "validation": {"every": 2, "per_category": 1},
}


@pytest.fixture
def ask(tmp_path, capsys):
    """Runs `train` with a configuration: (exit code, lines on stdout, stderr)."""

    def run(config: dict, *options: str, out: str = "run"):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(config))
        code = main(["train", "--config", str(file), "--out", str(tmp_path / out), *options])
        told = capsys.readouterr()
        return code, [json.loads(line) for line in told.out.splitlines()], told.err

    return run


def test_one_line_a_round_and_the_hash_last(ask, tmp_path):
    code, lines, _ = ask(CONFIG)
    assert code == 0 and [line.get("round") for line in lines] == [1, 2, None]
    chosen = tmp_path / "run" / training.CHOSEN
    assert lines[-1] == {"checkpoint": str(chosen), "sha256": candidate.load(chosen).sha256, "rounds": 2}


def test_the_command_line_goes_before_the_file(ask, tmp_path):
    _, lines, _ = ask(CONFIG, "--rounds", "1", "--arm", "schedule", "--seed", "5", "--steps", "3")
    assert lines[-1]["rounds"] == 1
    told = candidate.load(tmp_path / "run" / training.CHOSEN).facts["config"]
    assert (told["seed"], told["trainer"]["arm"], told["trainer"]["steps"]) == (5, "schedule", [3])


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({"colour": "red"}, (), "colour"),
        ({"trainer": {**SETTINGS, "group": 1}}, (), "trainer.group"),
        ({"trainer": {**SETTINGS, "rewards": {"verifier": -1}}}, (), "'verifier' is not allowed"),
        ({"trainer": {**SETTINGS, "rewards": {"verifier": 0}}}, (), "every weight is 0"),
        ({}, ("--steps", "4,many"), "trainer.steps"),
        ({}, ("--steps", "65"), "trainer.steps"),
        ({}, ("--seed", "-1"), "seed"),
        ({}, ("--rounds", "0"), "rounds"),
        ({}, ("--steps", "4,8,4"), "trainer.steps"),
        ({"trainer": {**SETTINGS, "spread_floor": float("inf")}}, (), "trainer.spread_floor"),
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_one_sentence_and_leaves_nothing(
    ask, tmp_path, change, options, said
):
    code, lines, told = ask({**CONFIG, **change}, *options)
    error = next(line for line in told.splitlines() if line.startswith("error: "))
    assert code == 2 and not lines and said in error and error.count("\n") == 0
    assert not (tmp_path / "run").exists()


def test_a_place_that_cannot_be_written_is_one_sentence(ask, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, told = ask(CONFIG, out="file")
    assert code == 2 and "error: " in told


def test_an_error_without_a_file_name_is_a_sentence(ask, monkeypatch):
    def lost(config, out, device):
        raise OSError("the disk is gone")

    monkeypatch.setattr(training, "run", lost)
    assert "error: the disk is gone.\n" in ask(CONFIG)[2]


def test_a_configuration_that_is_not_text_is_one_sentence(tmp_path, capsys):
    (tmp_path / "config.yaml").write_bytes(b"rounds: \xff")
    assert main(["train", "--config", str(tmp_path / "config.yaml")]) == 2
    assert capsys.readouterr().err.endswith("config.yaml: not valid YAML (not UTF-8 text).\n")


@pytest.mark.parametrize(
    ("device", "cards", "said"),
    [
        ("cuda", 0, "torch finds no such device here"),
        ("cuda:1", 1, "torch finds no such device here"),
        ("cuda:0", 1, None),
        ("tpu", 1, "'tpu' is unknown"),
        ("cpu:1", 1, "'cpu:1' is unknown"),
        ("cuda:x", 1, "'cuda:x' is unknown"),
        ("auto", 1, None),
        ("cpu", 0, None),
    ],
)
def test_a_device_that_cannot_train_is_one_sentence(ask, tmp_path, monkeypatch, device, cards, said):
    monkeypatch.setattr("torch.cuda.device_count", lambda: cards)
    used = []
    told = {"seconds": {}, "hours": 0.0}
    monkeypatch.setattr(training, "rehearse", lambda config, device: used.append(device) or told)
    code, lines, error = ask(CONFIG, "--device", device, "--dry-run")
    assert code == (0 if said is None else 2) and not (tmp_path / "run").exists()
    if said is None:
        assert used == ["cpu" if device == "auto" else device]
    else:
        assert not lines and error.startswith("error: device: ") and said in error and error.count("\n") == 1


def test_a_dry_run_tells_memory_seconds_and_hours_and_writes_nothing(ask, tmp_path):
    code, lines, _ = ask(CONFIG, "--dry-run")
    assert code == 0 and set(lines[0]) == {"peak_mib", "seconds", "hours"}
    phases = {"rollout", "reward", "replay", "update", "validation"}
    assert set(lines[0]["seconds"]) == phases and lines[0]["peak_mib"] > 0
    assert not (tmp_path / "run").exists()


def test_the_bar_begins_where_the_run_does(ask, monkeypatch):
    ask({**CONFIG, "rounds": 2})
    begun = []
    monkeypatch.setattr(
        cli_training, "tqdm", lambda *args, initial, **named: begun.append(initial) or tqdm(disable=True)
    )
    ask({**CONFIG, "rounds": 2})
    assert begun == [2]


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The registry loads mock models, and the data folder is an empty one."""

    def load(registry, checkpoint, precision):
        model = Learner()
        model.network.load_state_dict(load_file(checkpoint.path))
        return model

    monkeypatch.setenv("STUDIO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(Registry, "load", load)


def test_export_gives_what_others_can_use_and_refuses_a_full_folder(ask, served, tmp_path, capsys):
    ask(CONFIG)
    chosen, out = str(tmp_path / "run" / training.CHOSEN), tmp_path / "out"
    assert main(["export", chosen, "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "facts.json", "manifest.json", "model.safetensors", "policy.safetensors", "schedule.json",
    ]  # fmt: skip
    assert told == {"out": str(out), "sha256": candidate.load(out).sha256}
    assert told["sha256"] == candidate.load(Path(chosen)).sha256, "a copy, with the card that it has"
    registry = Registry()
    for steps in (2, 3):
        learned = registry.trained(registry.at(out)).policy.mean_schedule(steps)
        assert learned.table.equal(candidate.load(Path(chosen)).policy.mean_schedule(steps).table)
    assert main(["export", chosen, "--out", str(out)]) == 2
    assert main(["export", str(tmp_path), "--out", str(tmp_path / "other")]) == 2
    assert "cannot be read" in capsys.readouterr().err
    assert not (tmp_path / "other").exists()


def test_training_goes_on_from_a_candidate_and_its_learned_schedule(ask, served, tmp_path, monkeypatch):
    data = tmp_path / "data" / "checkpoints"
    sha256 = ask(CONFIG, out="data/checkpoints/run")[1][-1]["sha256"]
    monkeypatch.undo()
    monkeypatch.setenv("STUDIO_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(Registry, "load", lambda self, checkpoint, precision: Learner())
    monkeypatch.setattr(training.Mixer, "load", lambda weights, cache, *_: Mixer([Bright()], weights, cache))
    first = candidate.load(data / "run" / training.CHOSEN)
    for name in (sha256, str(first.weights.parent)):
        told = {**CONFIG, "checkpoint": name, "schedule": "learned"}
        built = training.build(training.RunConfig.model_validate(told))
        assert built.origin["weights"] == sha256
        for steps in (2, 3):
            mean = first.policy.mean_schedule(steps).table
            assert built.policy.base_schedule(steps).table.equal(mean)
    told["trainer"] = {**told["trainer"], "steps": [2]}
    kept = training.build(training.RunConfig.model_validate(told)).policy
    assert kept.trained == (2, 3), "what a run does not train is not forgotten"
    assert kept.mean_schedule(3).table.equal(first.policy.mean_schedule(3).table)


def test_training_goes_on_from_a_policy_that_reads_the_state(served):
    own = trainer(body="state", steps=(2, 3)).average_policy
    for parameter in own.body.parameters():
        torch.nn.init.normal_(parameter)
    told = training.RunConfig.model_validate({**CONFIG, "schedule": "learned"})
    assert told.trainer.policy.body == "table", "its own body goes before the configuration's"
    policy = training.first_policy(told, own, own.features)
    observation, step = torch.randn(3, 2 * own.features).half(), torch.arange(3)
    for steps in (3, 5):
        asked = observation, step, torch.full_like(step, steps)
        assert policy.mean(*asked).equal(own.mean(*asked))


@pytest.fixture
def judged(ask, served, tmp_path, monkeypatch):
    """Runs `gate` on a candidate that was trained, against a champion that learned another schedule."""
    ask(CONFIG, out="new")
    sha256 = ask(CONFIG, "--arm", "schedule", out="data/checkpoints/old")[1][-1]["sha256"]
    (tmp_path / "data" / "aliases.json").write_text(json.dumps({"emoji": {"champion": sha256}}))
    monkeypatch.setattr(Mixer, "load", lambda weights, cache, *_: Mixer([Bright()], weights, cache))
    monkeypatch.setattr(Detector, "load", lambda which: SimpleNamespace(detect=list))
    monkeypatch.setattr(
        score_table, "score", lambda spec, found: SimpleNamespace(strict=bool(found.float().mean() > 90))
    )

    def run(*options: str) -> int:
        new = str(tmp_path / "new" / training.CHOSEN)
        return main(["gate", new, "--out", str(tmp_path / "gate"), *options])

    return run


def test_the_gate_from_end_to_end(judged, tmp_path, capsys):
    capsys.readouterr()
    code = judged("--limit", "50", "--first-seed", str(2**21))
    lines = capsys.readouterr().out.splitlines()
    told = json.loads((tmp_path / "gate" / "verdict.json").read_text())
    assert code == int(not told["passed"]) and len(lines) >= len(told["checks"]) + 1
    assert "data:image/png" in (tmp_path / "gate" / "report.html").read_text()
    folders = {
        "candidate": tmp_path / "new" / training.CHOSEN,
        "champion": tmp_path / "data/checkpoints/old" / training.CHOSEN,
    }
    means = {}
    for name, folder in folders.items():
        loaded = candidate.load(folder)
        table = ScoreTable.model_validate_json((tmp_path / "gate" / f"{name}.json").read_text())
        assert table.checkpoint == told[name] == loaded.sha256
        assert {draw.seed for draw in table.draws} == {2**21, 2**21 + 1}
        means[name] = [loaded.policy.mean_schedule(steps).table for steps in (2, 3)]
        for steps, mean in zip((2, 3), means[name], strict=True):
            (used,) = table.schedules[steps]
            assert np.array_equal(np.array(used, np.float32), mean.numpy()), "its own policy's mean"
    assert not all(a.equal(b) for a, b in zip(*means.values(), strict=True))


def test_the_gate_looks_at_every_number_of_steps_that_the_candidate_has_ever_learned(
    judged, tmp_path, monkeypatch
):
    wider = SchedulePolicy(PolicyConfig(), [schedules.build("linear", steps) for steps in (2, 3, 5)])
    monkeypatch.setattr(Registry, "trained", lambda self, told: SimpleNamespace(policy=wider))
    judged("--limit", "50")
    table = ScoreTable.model_validate_json((tmp_path / "gate" / "candidate.json").read_text())
    assert table.steps == (2, 3, 5), "its run has trained 2 and 3"
    assert min(draw.seed for draw in table.draws) == 2**20, "none of those that chose the checkpoint"


def test_weights_without_a_policy_play_the_schedule_from_which_the_candidates_began(
    judged, tmp_path, monkeypatch
):
    loose = tmp_path / "data" / "loose.safetensors"
    shutil.copyfile(tmp_path / "new" / training.CHOSEN / candidate.WEIGHTS, loose)
    begun = SchedulePolicy(PolicyConfig(), [schedules.build("linear", steps) for steps in (2, 3)])
    monkeypatch.setattr(
        Registry, "trained", lambda self, told: None if told.path == loose else SimpleNamespace(policy=begun)
    )
    judged("--limit", "50", "--against", str(loose))
    table = ScoreTable.model_validate_json((tmp_path / "gate" / "champion.json").read_text())
    for steps in (2, 3):
        (used,) = table.schedules[steps]
        assert np.allclose(used[:-1], schedules.build("linear", steps).table[:-1], atol=1e-6)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--split", "dev"), "split: 'dev' is not allowed; allowed are validation and test"),
        (("--split", "train"), "split: 'train' is not allowed"),
        (("--limit", "351"), "limit: '351' is not allowed; allowed are whole numbers from 50 to 350"),
        (("--limit", "0"), "limit: '0' is not allowed"),
        (("--limit", "few"), "limit: 'few' is not allowed"),
        (("--seeds", "1"), "seeds: '1' is not allowed; allowed are whole numbers from 2 to"),
        (("--against", "nobody"), "checkpoint: 'nobody' is unknown"),
    ],
    ids=str,
)
def test_what_the_gate_cannot_do_is_one_sentence_and_leaves_nothing(judged, tmp_path, capsys, options, said):
    capsys.readouterr()
    assert judged(*options) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.endswith(".\n") and error.count("\n") == 1
    assert not (tmp_path / "gate").exists()


def test_a_candidate_of_an_older_configuration_is_one_sentence(judged, tmp_path, capsys):
    folder = tmp_path / "new" / training.CHOSEN
    old = candidate.load(folder)
    facts = {**old.facts, "config": {**old.facts["config"], "colour": "red"}}
    model = Learner()
    candidate.save(folder, model, old.policy, facts)
    capsys.readouterr()
    assert judged() == 2
    error = capsys.readouterr().err
    assert "facts.json: colour: " in error and error.count("\n") == 1
