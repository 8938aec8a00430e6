"""Every vote with what was compared, and what checkpoints are called: what a leaderboard is made of."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.arena import better_place
from db.models import (
    Alias,
    Checkpoint,
    Generation,
    Presentation,
    PresentationItem,
    Prompt,
    Round,
    Vote,
    Voter,
)
from db.voters import UNTOLD

PAIR, GOLD = "pair", "gold"
SIDES = ("left", "right")


@dataclass(frozen=True)
class PaintedSide:
    """How one picture of a pair was painted. pixels: the picture's hash; guidance: as asked for."""

    model: str
    checkpoint: str
    schedule: str
    steps: int
    guidance: str
    pixels: str


@dataclass(frozen=True)
class StoredVote:
    """A vote, whatever its kind and validity.

    named: whether the voter is known by a name; else each vote has a voter of its own. replaced: a later rating counts
    instead. prompt, sides: of a pair, else empty. gold: the side that is known to be better, of a pair with this
    purpose.
    """

    kind: str
    purpose: str
    voter: int
    named: bool
    erased: bool
    replaced: bool
    prompt: str
    sides: tuple[PaintedSide, ...]
    outcome: str | None
    validity: str
    reason: str | None
    dwell_ms: int | None
    presentation: int | None
    mirror_of: int | None
    gold: str | None


def all_votes(session: Session) -> list[StoredVote]:
    """Every vote in the store, oldest first; none is left out."""
    sides = _sides(session)
    rows = session.execute(
        select(
            Vote.kind, Vote.presentation_id, Vote.outcome, Vote.validity, Vote.reason, Vote.dwell_ms,
            Vote.superseded_at, Voter.id.label("voter"), Voter.pseudonym, Voter.erased_at, Presentation.purpose,
            Presentation.mirror_of_id, Presentation.seed, Prompt.text,
        )
        .join(Voter, Voter.id == Vote.voter_id)
        .outerjoin(Presentation, Presentation.id == Vote.presentation_id)
        .outerjoin(Prompt, Prompt.id == Presentation.prompt_id)
        .order_by(Vote.id)
    )  # fmt: skip
    return [
        StoredVote(
            kind=row.kind,
            purpose=row.purpose or "",
            voter=row.voter,
            named=not row.pseudonym.startswith(UNTOLD),
            erased=row.erased_at is not None,
            replaced=row.superseded_at is not None,
            prompt=row.text or "",
            sides=sides.get(row.presentation_id, ()),
            outcome=row.outcome,
            validity=row.validity,
            reason=row.reason,
            dwell_ms=row.dwell_ms,
            presentation=row.presentation_id,
            mirror_of=row.mirror_of_id,
            gold=SIDES[better_place(row.seed)] if row.kind == PAIR and row.purpose == GOLD else None,
        )
        for row in rows
    ]


def names(session: Session, model: str) -> dict[str, str]:
    """sha256 -> what the weights are today: an alias, else the round they came from, else how they came here."""
    aliases = select(Checkpoint.sha256, Alias.name).join(Alias, Alias.checkpoint_id == Checkpoint.id)
    told = defaultdict(list)
    for sha256, name in session.execute(aliases.where(Alias.model == model).order_by(Alias.name.desc())):
        told[sha256].append(name)
    rounds = select(Checkpoint.sha256, Checkpoint.status, Round.id).outerjoin(
        Round, Round.candidate_id == Checkpoint.id
    )
    found = {sha256: " and ".join(sorted(given)) for sha256, given in told.items()}
    for sha256, status, round in session.execute(rounds.where(Checkpoint.model == model).order_by(Round.id)):
        found.setdefault(sha256, f"{status} in round {round}" if round else status)
    return found


def _sides(session: Session) -> dict[int, tuple[PaintedSide, ...]]:
    """Of every presented pair that has a vote, left and right."""
    rows = session.execute(
        select(
            PresentationItem.presentation_id, Generation.model, Generation.checkpoint_sha256, Generation.schedule,
            Generation.steps, Generation.recipe["guidance"].as_string().label("guidance"), Generation.pixels_sha256,
        )
        .join(Generation, Generation.id == PresentationItem.generation_id)
        .join(Vote, Vote.presentation_id == PresentationItem.presentation_id)
        .where(Vote.kind == PAIR)
        .order_by(PresentationItem.presentation_id, PresentationItem.position)
    )  # fmt: skip
    found = defaultdict(list)
    for row in rows:
        found[row.presentation_id].append(
            PaintedSide(
                model=row.model,
                checkpoint=row.checkpoint_sha256,
                schedule=row.schedule,
                steps=row.steps,
                guidance=str(row.guidance),
                pixels=row.pixels_sha256,
            )
        )
    return {presentation: tuple(sides) for presentation, sides in found.items()}
