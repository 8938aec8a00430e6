"""Which pairs people are shown, and how likely each was. A mock model paints; the champion may be another one."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from mock_model import SHA256, MockRegistry

from cogrpo import schedules
from cogrpo.emoji import prompts
from cogrpo.engine import Engine
from cogrpo.registry import Checkpoint, CheckpointError
from db import voters
from db.arena import ArenaError
from db.models import Checkpoint as Weights
from db.models import Generation, Round
from db.session import Store
from ui.pairs import COLLECT, GATE, GATE_SHARE, SHARES, Pairs, lifetime_from_settings
from ui.records import Records

CANDIDATE = "c" * 64
DRAWS = 300


class Registry(MockRegistry):
    """A champion of its own, and a candidate, where its files are there."""

    trained_champion, candidate = True, True

    def resolve(self, asked: str) -> Checkpoint:
        if asked.endswith(CANDIDATE):
            if not self.candidate:
                raise CheckpointError("checkpoint: no weights here have this hash.")
            return replace(super().resolve("baseline"), sha256=CANDIDATE, name="candidate", asked=CANDIDATE)
        told = super().resolve(asked)
        champion = self.trained_champion and told.asked == "champion"
        return replace(told, sha256="b" * 64, name="champion") if champion else told

    def recall(self, recipe) -> Checkpoint:
        return self.resolve(recipe.checkpoint)


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    return Registry(tmp_path)


@pytest.fixture
def pairs(store: Store, registry: Registry) -> Pairs:
    return Pairs(Engine(registry), Records(store))


def begin_round(store: Store, state: str) -> int:
    with store.write() as session:
        parent = Weights(model="emoji", sha256=SHA256, status="shipped")
        candidate = Weights(model="emoji", sha256=CANDIDATE, status="candidate")
        session.add_all([parent, candidate])
        session.flush()
        judged = Round(model="emoji", state=state, cause="asked", config={}, parent_id=parent.id)
        judged.candidate_id = candidate.id
        session.add(judged)
        session.flush()
        return judged.id


def drawn(pairs: Pairs, purpose: str = COLLECT) -> list:
    chance = random.Random(1)
    return [pairs.draw(purpose, chance) for _ in range(DRAWS)]


def difference(pairing) -> tuple[str, ...]:
    left, right = pairing.sides
    return tuple(name for name, value in vars(left).items() if getattr(right, name) != value)


def test_the_sides_differ_in_one_thing_as_often_as_is_stored(pairs: Pairs) -> None:
    told = drawn(pairs)
    counts = Counter(difference(pairing) for pairing in told)
    assert set(counts) == {("seed",), ("schedule",), ("checkpoint",)}
    for (name,), count in counts.items():
        assert abs(count / DRAWS - SHARES[name]) < 0.09
    others = len(schedules.available()) - 1
    for pairing in told:
        (name,) = difference(pairing)
        assert pairing.probability == pytest.approx(SHARES[name] / (others if name == "schedule" else 1))
        assert pairing.purpose == COLLECT and pairing.round_id is None


def test_a_champion_that_is_the_baseline_is_not_compared_with_itself(
    pairs: Pairs, registry: Registry
) -> None:
    registry.trained_champion = False
    told = drawn(pairs)
    assert {difference(pairing) for pairing in told} == {("seed",), ("schedule",)}
    (seed,) = {pairing.probability for pairing in told if difference(pairing) == ("seed",)}
    assert seed == pytest.approx(SHARES["seed"] / (SHARES["seed"] + SHARES["schedule"]))


def test_prompts_are_those_of_training(pairs: Pairs) -> None:
    asked = {side.prompt for pairing in drawn(pairs) for side in pairing.sides}
    assert asked <= {entry.prompt for entry in prompts.load("train")} and len(asked) > DRAWS / 2


@pytest.mark.parametrize("state", ["candidate", "gated"])
def test_while_a_candidate_waits_half_of_the_pairs_are_about_it(
    pairs: Pairs, store: Store, state: str
) -> None:
    number = begin_round(store, state)
    told = drawn(pairs)
    gate = [pairing for pairing in told if pairing.purpose == GATE]
    assert abs(len(gate) / DRAWS - GATE_SHARE) < 0.09
    assert {(pairing.round_id, pairing.probability) for pairing in gate} == {(number, GATE_SHARE)}
    for pairing in gate:
        assert difference(pairing) == ("checkpoint",)
        assert [side.checkpoint for side in pairing.sides] == [f"emoji:{CANDIDATE}", "emoji:champion"]
    seeds = {p.probability for p in told if difference(p) == ("seed",)}
    assert list(seeds) == [pytest.approx((1 - GATE_SHARE) * SHARES["seed"])]
    asked = drawn(pairs, GATE)
    assert {(pairing.purpose, pairing.probability) for pairing in asked} == {(GATE, 1.0)}


@pytest.mark.parametrize("state", ["training", "promoted"])
def test_without_a_candidate_nobody_is_asked_about_one(pairs: Pairs, store: Store, state: str) -> None:
    begin_round(store, state)
    assert {pairing.purpose for pairing in drawn(pairs)} == {COLLECT}
    with pytest.raises(ArenaError, match="no candidate waits"):
        pairs.make(GATE)


def test_a_candidate_whose_files_are_gone_is_left_out(pairs: Pairs, store: Store, registry: Registry) -> None:
    begin_round(store, "gated")
    registry.candidate = False
    assert {pairing.purpose for pairing in drawn(pairs)} == {COLLECT}


def test_an_unknown_purpose_is_refused(pairs: Pairs) -> None:
    with pytest.raises(ArenaError, match="^purpose: 'gold' is not allowed; allowed are collect and gate.$"):
        pairs.make("gold")


def test_a_pair_is_recorded_as_it_was_drawn(pairs: Pairs, store: Store) -> None:
    pairing, painted = pairs.make(COLLECT)
    assert painted[0].trace.image_sha256 != painted[1].trace.image_sha256
    with store.write() as session:
        token = pairs.show(session, voters.untold(session), pairing, painted).token
    assert token
    with store.read() as session:
        rows = session.query(Generation).all()
        assert {row.source for row in rows} == {"pair"}
        assert {row.recipe["seed"] for row in rows} == {side.seed for side in pairing.sides}
        assert {row.steps for row in rows} == {8}


def test_the_time_a_pair_waits_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUDIO_PAIR_HOURS", raising=False)
    assert lifetime_from_settings() == timedelta(hours=24)
    monkeypatch.setenv("STUDIO_PAIR_HOURS", "0.5")
    assert lifetime_from_settings() == timedelta(minutes=30)
    for text in ("", "long", "0", "-1", "nan", "inf"):
        monkeypatch.setenv("STUDIO_PAIR_HOURS", text)
        with pytest.raises(ValueError, match=r"^STUDIO_PAIR_HOURS: .* is not allowed; allowed is .*\.$"):
            lifetime_from_settings()
