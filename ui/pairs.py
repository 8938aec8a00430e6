"""What two pictures somebody is asked to compare: drawn at random, with the probability kept, and painted at once."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache

from sqlalchemy import select
from sqlalchemy.orm import Session

from cogrpo import schedules
from cogrpo.emoji import prompts
from cogrpo.engine import Engine, Generation
from cogrpo.recipe import Request
from cogrpo.registry import BASELINE, CHAMPION, CheckpointError, own_policy
from cogrpo.schedules import AUTO
from db import arena
from db.arena import ArenaError
from db.models import Checkpoint, Presentation, Round, Voter
from ui.records import Records

COLLECT, GATE = "collect", "gate"
PURPOSES = (COLLECT, GATE)
GATE_SHARE = 0.5  # of the pairs that are collected while a candidate waits for its verdict
STEPS = 8
SEEDS = 2**32
ALIKE = 4  # draws before two pictures without a difference are shown after all
MODEL = "emoji"

# What the two sides differ in, and how often: with one model and one schedule, chance alone shows most of what
# the model can do; the others say which model and which schedule is better.
SHARES = {"seed": 0.5, "schedule": 0.3, "checkpoint": 0.2}


@dataclass(frozen=True)
class Pairing:
    """What to paint. probability: of these two settings among all that could have been drawn for the prompt."""

    sides: tuple[Request, Request]
    purpose: str
    probability: float
    round_id: int | None = None


class Pairs:
    """Paints one pair at a time, so that a visitor who generates waits for one decode of pairs at most."""

    def __init__(self, engine: Engine, records: Records) -> None:
        """Raises ValueError for a setting that cannot be used."""
        self.engine, self.records = engine, records
        self.lifetime = lifetime_from_settings()
        self._one = threading.Lock()

    def make(self, purpose: str) -> tuple[Pairing, Sequence[Generation]]:
        """Draw and paint. Raises ArenaError where the purpose is unknown or there is nothing to judge for it."""
        if purpose not in PURPOSES:
            raise ArenaError(
                f"purpose: {purpose[:40]!r} is not allowed; allowed are {' and '.join(PURPOSES)}."
            )
        with self._one:
            for _ in range(ALIKE):
                pairing = self.draw(purpose, random.SystemRandom())
                painted = [
                    item for item in self.engine.generate(pairing.sides) if isinstance(item, Generation)
                ]
                if painted[0].trace.image_sha256 != painted[1].trace.image_sha256:
                    break
        return pairing, painted

    def draw(self, purpose: str, chance: random.Random) -> Pairing:
        """What to paint next, before it is decided which stands left. Raises ArenaError."""
        prompt, seed = chance.choice(train_prompts()), chance.randrange(SEEDS)
        with self.records.reading() as session:
            candidate = self._candidate(session)
        gate_share = (GATE_SHARE if purpose == COLLECT else 1.0) if candidate else 0.0
        if purpose == GATE and candidate is None:
            raise ArenaError("purpose: no candidate waits for a verdict now; allowed is collect.")
        if chance.random() < gate_share:
            round_id, sha256 = candidate
            sides = (_side(prompt, seed, checkpoint=sha256), _side(prompt, seed))
            return Pairing(sides, GATE, gate_share, round_id)
        kinds = self._kinds()
        (kind,) = chance.choices(list(kinds), list(kinds.values()))
        probability = (1 - gate_share) * kinds[kind] / sum(kinds.values())
        if kind == "seed":
            other = _side(prompt, (seed + 1 + chance.randrange(SEEDS - 1)) % SEEDS)
        elif kind == "schedule":
            names = self._other_schedules()
            other, probability = _side(prompt, seed, chance.choice(names)), probability / len(names)
        else:
            other = _side(prompt, seed, checkpoint=BASELINE)
        return Pairing((_side(prompt, seed), other), COLLECT, probability)

    def show(
        self, session: Session, voter: Voter, pairing: Pairing, painted: Sequence[Generation]
    ) -> Presentation:
        """Record both pictures and bind them to a voter."""
        rows = [self.records.record(session, generation, "pair", voter) for generation in painted]
        facts = {"round_id": pairing.round_id, "lifetime": self.lifetime}
        return arena.present(session, voter, rows, pairing.purpose, pairing.probability, **facts)

    def _candidate(self, session: Session) -> tuple[int, str] | None:
        """The round whose candidate people are asked about, and the hash of that; None where its files are gone."""
        waiting = select(Round.id, Checkpoint.sha256).join(Checkpoint, Checkpoint.id == Round.candidate_id)
        found = session.execute(
            waiting.where(Round.model == MODEL, Round.state.in_(("candidate", "gated"))).order_by(
                Round.id.desc()
            )
        ).first()
        if found is None:
            return None
        try:
            self.engine.registry.resolve(f"{MODEL}:{found.sha256}")
        except CheckpointError:
            return None
        return found.id, found.sha256

    def _kinds(self) -> dict[str, float]:
        registry = self.engine.registry
        same = registry.resolve(CHAMPION).sha256 == registry.resolve(BASELINE).sha256
        return {kind: share for kind, share in SHARES.items() if not (same and kind == "checkpoint")}

    def _other_schedules(self) -> list[str]:
        """All but the one that the champion is served with."""
        learned = own_policy(self.engine.registry, AUTO, self.engine.registry.resolve(CHAMPION))
        names = schedules.available()
        return [name for name in names if learned is not None or name != schedules.resolve(AUTO, STEPS).name]


@cache
def train_prompts() -> tuple[str, ...]:
    """Never those of the validation and test lists, which judge what is learned from votes."""
    return tuple(entry.prompt for entry in prompts.load("train"))


def lifetime_from_settings() -> timedelta:
    """STUDIO_PAIR_HOURS: how long a pair waits for its vote (24 unless set). Raises ValueError, in one sentence."""
    text = os.environ.get("STUDIO_PAIR_HOURS", "24")
    try:
        hours = float(text)
    except ValueError:
        hours = 0.0
    if not 0 < hours <= 24 * 365:
        raise ValueError(
            f"STUDIO_PAIR_HOURS: {text!r} is not allowed; allowed is a number of hours up to 8760."
        )
    return timedelta(hours=hours)


def _side(prompt: str, seed: int, schedule: str = AUTO, checkpoint: str = CHAMPION) -> Request:
    return Request(prompt, seed, STEPS, schedule, checkpoint=f"{MODEL}:{checkpoint}")
