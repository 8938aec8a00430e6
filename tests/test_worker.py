"""The worker: takes a round from votes to a served champion, alone or as a second process, and parks what fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import small_world
import torch
from round_rows import pair, picture, voter, votes
from sqlalchemy import func, select

import worker
from cogrpo import loop
from cogrpo.config import load_config
from cogrpo.emoji import prompts
from cogrpo.loop_config import DEMO, LoopConfig, RoundConfig
from cogrpo.registry import Registry
from cogrpo.training import GATE_SEEDS
from db import aliases, rounds
from db.models import Audit, GateReport, Generation, Round, RoundVote, now
from db.round_votes import FrozenVote
from db.session import Store

ROOT = Path(__file__).parents[1]
OPENED: list[Store] = []


@pytest.fixture
def data(tmp_path, monkeypatch) -> Iterator[Path]:
    """The data folder of a tiny world."""
    folder = tmp_path / "data"
    folder.mkdir()
    small_world.enter(
        lambda where, name, value: monkeypatch.setattr(where, name, value, raising=False), tmp_path
    )
    monkeypatch.setenv("STUDIO_DATA", str(folder))
    for name in ("DATABASE_URL", "SPACE_ID", "GRADIO_SERVER_NAME", "STUDIO_ROUNDS", "STUDIO_ARTIFACTS"):
        monkeypatch.delenv(name, raising=False)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as in the processes that these tests start
    yield folder
    torch.set_num_threads(threads)
    while OPENED:
        OPENED.pop().close()


@pytest.fixture
def shared(data, store, monkeypatch) -> Path:
    """The same, with a database that others reach, too: once on each kind."""
    monkeypatch.setenv("DATABASE_URL", store.url.render_as_string(hide_password=False))
    return data


def make(data: Path, gate: dict = small_world.PASSES, **told: object) -> worker.Worker:
    config = load_config(small_world.configure(data.parent, gate, **told), RoundConfig)
    OPENED.append(Store.open(data))
    return worker.Worker(OPENED[-1], Registry(data), config)


def cast(store: Store, number: int = 4) -> list[int]:
    with store.write() as session:
        return votes(session, store.artifacts, number)


def last(store: Store) -> Round:
    with store.read() as session:
        row = rounds.listed(session)[0]
        assert row.parent and (row.candidate or not row.candidate_id)  # loaded, for those who ask later
        return row


def test_votes_start_a_round_by_themselves_and_it_ends_as_champion(data, tmp_path):
    made = make(data)
    assert not made.tick(), "nobody has voted"
    ids = cast(made.store)
    before = made.registry.resolve("champion").sha256
    assert made.tick()
    row = last(made.store)
    assert (row.state, row.cause, row.error) == ("promoted", "votes", None)
    champion = made.registry.resolve("champion")
    assert (
        champion.sha256 != before
        and json.loads((data / "aliases.json").read_text())["emoji"]["champion"] == champion.sha256
    )
    with made.store.read() as session:
        assert list(session.scalars(select(RoundVote.vote_id).order_by(RoundVote.vote_id))) == ids
        assert [line["round"] for line in rounds.lines(session, row.id)] == [1, 2, 3, 4, 5, 6]
        assert session.scalar(select(Audit.actor).where(Audit.action == "promote")) == "worker"
    kept = {path.name for path in (data / "rounds" / str(row.id)).iterdir()}
    assert "run" not in kept, "the states of its training are gone"
    aliases.mirror(made.store, tmp_path / "another machine")
    assert Registry(tmp_path / "another machine").resolve("champion").sha256 == champion.sha256
    assert not made.tick(), "its votes are used"
    cast(made.store)
    assert made.tick() and last(made.store).state == "promoted", "the next one goes on from there"
    assert made.registry.trained(made.registry.resolve("champion")).facts["config"]["schedule"] == "learned"


def test_the_report_says_what_went_in_and_what_came_out(data):
    made = make(data)
    ids = cast(made.store)
    made.tick()
    told = last(made.store).report
    assert told["votes"] == ids and told["trained_on"] + told["held_out"] == len(ids)
    (moved,) = told["rewards"]
    assert moved["name"] == "verifier" and moved["low"] <= moved["difference"] <= moved["high"]
    for steps in ("2", "3"):
        before, after = (told["schedules"][steps][when] for when in ("before", "after"))
        assert len(before) == len(after) == int(steps) and before != after
    seeds = {shown["seed"] for shown in told["pictures"]}
    assert len(seeds) == len(told["pictures"]) and min(seeds) >= GATE_SEEDS
    for shown in told["pictures"]:
        for when in ("before", "after"):
            assert made.store.artifacts.get(shown[when]).startswith(b"\x89PNG")
    assert any("moved by" in sentence for sentence in told["words"])


def test_the_folder_of_a_round_that_bore_the_number_before_is_not_used_again(data):
    made = make(data)
    cast(made.store, 7)
    assert made.tick()
    OPENED.pop().close()
    for kept in data.glob("studio.db*"):
        kept.unlink()
    (data / "aliases.json").unlink()
    again = make(data)
    ids = cast(again.store)
    assert again.tick()
    assert last(again.store).report["votes"] == ids, "a new store counts from 1 again"
    lines = (data / "rounds" / "1" / "inputs" / "votes.jsonl").read_text().splitlines()
    held = (data / "rounds" / "1" / "inputs" / "held_out.jsonl").read_text().splitlines()
    assert len(lines) + len(held) == len(ids)


def test_votes_on_prompts_that_judge_train_nothing(data):
    made = make(data)
    shown = (("a" * 64, "file a"), ("b" * 64, "file b"))
    one = FrozenVote(1, "pair", 1, True, prompts.load("test")[0].prompt, shown, "left", None, None)
    work = loop.Work(made.registry, 9)
    work.prepare(loop.Inputs(parent="c" * 64, config=made.config, votes=(1,)), [one], lambda sha256: b"")
    assert work.compared(loop.VOTES) == work.compared(loop.HELD_OUT) == []


def test_votes_whose_pictures_are_lost_or_damaged_are_left_out_and_told(data):
    made = make(data)
    ids = cast(made.store, 6)
    with made.store.read() as session:
        files = list(session.scalars(select(Generation.image_sha256).order_by(Generation.id)))
    Path(made.store.artifacts.path(files[0])).unlink()
    Path(made.store.artifacts.path(files[3])).write_bytes(b"damaged")
    assert made.tick()
    row = last(made.store)
    assert (row.state, row.error) == ("promoted", None)
    assert row.report["votes"] == ids[2:]
    assert any(told.endswith("lost or damaged: 2.") for told in row.report["words"])
    with made.store.read() as session:
        assert sorted(session.scalars(select(RoundVote.vote_id))) == ids[2:], "the others are free again"


FAILS = {**small_world.PASSES, "rewards": {"must_rise": 0.9}}
ASKED = {"promotion": "hold"}


@pytest.mark.parametrize(
    ("gate", "loop", "state"),
    [(FAILS, {}, "rejected"), (FAILS, ASKED, "rejected"), (small_world.PASSES, ASKED, "gated")],
)
def test_what_the_gate_stops_is_rejected_and_what_is_held_waits(data, gate, loop, state):
    made = make(data, gate, **loop)
    cast(made.store)
    before = made.registry.resolve("champion").sha256
    made.tick()
    assert last(made.store).state == state and made.registry.resolve("champion").sha256 == before
    with made.store.read() as session:
        assert session.scalar(select(GateReport.passed)) == (gate is not FAILS)
    assert not made.tick(), "it stays so until something happens"


def test_a_candidate_that_waits_gets_a_verdict_that_has_heard_people(data):
    made = make(data, **ASKED)
    cast(made.store)
    made.tick()
    row = last(made.store)
    with made.store.write() as session:
        who, names = voter(session), [row.candidate.sha256, row.parent.sha256]
        for outcome in ("left", "left", "tie"):
            shown = [picture(session, made.store.artifacts, "a dog", weights=name) for name in names]
            pair(session, who, "a dog", *shown, outcome=outcome, purpose="gate", round=row.id)
    made.tick()
    with made.store.read() as session:
        told = aliases.verdict(session, row.id)
        assert (told["people"]["votes"], told["people"]["required"]) == (3, False)
        assert told["people"]["win_rate"] == pytest.approx(2.5 / 3) and told["hack_meter"]["people"] > 0
        assert told["passed"] and session.scalar(select(func.count()).select_from(GateReport)) == 2
    made.tick()
    with made.store.read() as session:
        assert session.scalar(select(func.count()).select_from(GateReport)) == 2, "nothing new was said"


def test_a_candidate_whose_tables_are_gone_waits_on(data):
    made = make(data, **ASKED)
    cast(made.store)
    made.tick()
    row = last(made.store)
    with made.store.write() as session:
        shown = [
            picture(session, made.store.artifacts, "a dog", weights=weights.sha256)
            for weights in (row.candidate, row.parent)
        ]
        pair(session, voter(session), "a dog", *shown, purpose="gate", round=row.id)
    shutil.rmtree(data / "rounds" / str(row.id) / "gate")
    assert not made.tick() and last(made.store).state == "gated"


PRIVATE, SPACE = {"GRADIO_SERVER_NAME": "127.0.0.1"}, {"SPACE_ID": "me/studio"}


@pytest.mark.parametrize(
    ("told", "embedded", "environment", "rule"),
    [
        (None, True, {}, "auto"),
        (None, True, PRIVATE, "auto"),
        (None, True, SPACE, "hold"),
        (None, True, {"GRADIO_SERVER_NAME": "0.0.0.0"}, "hold"),
        (None, False, {}, "hold"),
        ("auto", False, SPACE, "auto"),
        ("hold", True, {}, "hold"),
    ],
)
def test_a_private_app_promotes_and_a_space_or_a_worker_that_knows_no_app_holds(
    told, embedded, environment, rule
):
    config = load_config(DEMO, RoundConfig).model_copy(update={"loop": LoopConfig(promotion=told)})
    assert config.settled(embedded, environment).loop.promotion == rule


def test_a_worker_that_no_app_started_promotes_nothing_unasked(data):
    made = make(data, promotion=None)
    cast(made.store)
    done = start(data, "--once")
    _, error = done.communicate(timeout=300)
    assert done.returncode == 0, error
    assert last(made.store).state == "gated"


def test_the_gate_judges_by_the_thresholds_that_were_frozen(data, monkeypatch):
    made = make(data)
    cast(made.store)
    with monkeypatch.context() as killed:
        killed.setattr(made, "candidate", lambda *_: None)
        made.tick()
    small_world.configure(data.parent, FAILS)
    with made.store.write() as session:
        session.get_one(Round, 1).lease_until = now()
    made.tick()
    assert last(made.store).state == "promoted"


def test_three_failures_park_a_round_with_its_traceback_and_it_can_be_sent_on(data, monkeypatch):
    made = make(data)
    cast(made.store)
    monkeypatch.setattr(worker, "REST", -worker.REST)
    train = loop.Work.train

    def broken(self, device):
        yield from ()
        raise ZeroDivisionError("no disk")

    monkeypatch.setattr(loop.Work, "train", broken)
    for attempt in (1, 2, 3):
        assert made.tick() and last(made.store).attempts == attempt
    row = last(made.store)
    assert row.state == "failed" and "ZeroDivisionError: no disk" in row.error and "Traceback" in row.error
    assert not made.tick(), "it is parked, and its votes alone start no other"
    monkeypatch.setattr(loop.Work, "train", train)
    with made.store.write() as session:
        rounds.retry(session, row.id, "admin")
    assert made.tick() and last(made.store).state == "promoted"


def test_a_round_that_failed_halfway_goes_on_from_its_last_checkpoint(data, monkeypatch):
    made = make(data)
    cast(made.store)
    monkeypatch.setattr(worker, "REST", -worker.REST)
    note, told = rounds.note, []

    def once(session, round, fence, step, values):
        told.append(step)
        if step == 4 and told.count(4) == 1:
            raise OSError("the disk is full")
        note(session, round, fence, step, values)

    monkeypatch.setattr(rounds, "note", once)
    made.tick()
    assert last(made.store).state == "training" and "the disk is full" in last(made.store).error
    made.tick()
    assert last(made.store).state == "promoted" and told.count(6) == 1
    with made.store.read() as session:
        lines = rounds.lines(session, last(made.store).id)
    assert [line["round"] for line in lines] == [1, 2, 3, 4, 5, 6], "not one line is missing"


def test_an_admin_can_ask_for_a_round_without_votes(data):
    made = make(data)
    with made.store.write() as session:
        rounds.begin(session, "emoji", "asked")
    assert made.tick() and last(made.store).state == "promoted"


def test_a_round_that_another_worker_began_meanwhile_is_worked_on(data, monkeypatch):
    made = make(data)
    with made.store.write() as session:
        rounds.begin(session, "emoji", "asked")
    monkeypatch.setattr(rounds, "due", lambda *_: "votes")
    assert made.tick() and last(made.store).cause == "asked"


def test_a_champion_that_was_changed_by_hand_meanwhile_is_not_overrun(data, monkeypatch):
    made = make(data)
    cast(made.store)
    made.tick()
    judge = loop.Work.judge

    def meanwhile(self, votes):
        with made.store.write() as session:
            aliases.rollback(session, "emoji", "admin")
        return judge(self, votes)

    monkeypatch.setattr(loop.Work, "judge", meanwhile)
    cast(made.store)
    made.tick()
    assert last(made.store).state == "rejected"
    with made.store.read() as session:
        assert (
            "another champion"
            in session.scalar(select(Audit.details).where(Audit.action == "reject"))["reason"]
        )


def start(data: Path, *options: str, **environment: str) -> subprocess.Popen:
    tests = Path(__file__).parent
    path = os.pathsep.join([str(ROOT), str(tests), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, str(tests / "small_world.py"), str(data.parent)]
    config = ["--config", str(data.parent / "round.yaml")]
    return subprocess.Popen(
        [*command, *config, *options], cwd=ROOT, env={**os.environ, "PYTHONPATH": path, **environment},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_second_process_does_the_work_on_the_same_store(shared):
    data = shared
    made = make(data)
    ids = cast(made.store)
    told = start(data, "--dry-run").communicate(timeout=120)
    assert json.loads(told[0]) == {"due": "votes", "running": None, "new_votes": len(ids)}, told[1]
    with made.store.read() as session:
        assert rounds.listed(session) == []
    done = start(data, "--once")
    _, error = done.communicate(timeout=300)
    assert done.returncode == 0, error
    assert last(made.store).state == "promoted"
    assert made.registry.resolve("champion").sha256 == aliases_of(made.store)["champion"]
    idle = start(data, "--once")
    assert (idle.communicate(timeout=120), idle.returncode) == (("", ""), 0)


def aliases_of(store: Store) -> dict[str, str]:
    with store.read() as session:
        return aliases.served(session)["emoji"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--device", "tpu"), "device: 'tpu' is unknown"),
        (("--config", "none.yaml"), "none.yaml: no such configuration file"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(data, monkeypatch, capsys, options, said):
    monkeypatch.setattr(sys, "argv", ["worker.py", *options])
    assert worker.main() == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1


def test_the_demo_is_a_round_that_forty_votes_start():
    told = load_config(DEMO, RoundConfig)
    assert told.loop.least_votes == 40 and told.trainer.steps == (8,)
    assert not hasattr(told.run(), "loop")
