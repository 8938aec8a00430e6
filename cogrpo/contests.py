"""What each vote is used for: which compare two checkpoints, which two schedules, and why the others do neither.

A checkpoint is weights and schedule, so a pair compares two checkpoints where each was painted with its own schedule:
the mean of its policy, or cosine where it has none. A pair compares two schedules where one checkpoint painted both. In
either case steps and guidance are the same on both sides, and seeds may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from cogrpo.ballots import UNNAMED
from cogrpo.leaderboard import Game
from cogrpo.schedules import LEARNED

TRUSTED = ("valid", "unchecked")
CHECKS = ("gold", "mirror")  # purposes that judge the voter and not the pictures
WITHOUT_POLICY = "cosine"  # how weights are served that have no policy of their own
OTHER = "other"  # category of prompts that stand on no list
DIGITS = 12  # of a checkpoint's hash, as everywhere

# Every vote has exactly one use, the first of these that fits it.
USES = (
    "erased", "replaced", "rating", "ranking", "rejected", "suspicious", "gold", "mirror", "other model", "checkpoints",
    "schedules", "alike", "mixed",
)  # fmt: skip
ERASED, REPLACED, *_, MODEL, CHECKPOINTS, SCHEDULES, ALIKE, MIXED = USES


class Side(Protocol):
    """How one picture of a pair was painted."""

    model: str
    checkpoint: str  # sha256
    schedule: str
    steps: int
    guidance: str  # as asked for
    pixels: str  # sha256 of the picture


class CastVote(Protocol):
    """A vote as the store tells it; sides: of a pair, else empty."""

    kind: str  # pair, ranking or rating
    purpose: str  # of the presentation; empty for a rating
    voter: int
    named: bool
    erased: bool  # whether the voter had their data erased
    replaced: bool  # by a later rating
    prompt: str
    sides: Sequence[Side]  # left, right
    outcome: str | None
    validity: str
    reason: str | None
    dwell_ms: int | None
    presentation: int | None
    mirror_of: int | None  # the presentation that showed the same pictures before
    gold: str | None  # the side that is known to be better


def voter(vote: CastVote) -> int:
    """All who gave no name are one voter, as nobody can tell them apart."""
    return vote.voter if vote.named else UNNAMED


def uses(votes: Sequence[CastVote], model: str) -> list[str]:
    """One of USES for each vote."""
    with_policy = {side.checkpoint for vote in votes for side in vote.sides if side.schedule == LEARNED}
    return [_use(vote, model, with_policy) for vote in votes]


def checkpoint_games(
    votes: Sequence[CastVote], used: Sequence[str], category: Mapping[str, str]
) -> list[Game]:
    """used: of each vote, from `uses`; category: of prompts; others are of OTHER."""
    return [
        _game(vote, [side.checkpoint[:DIGITS] for side in vote.sides], category)
        for vote, use in zip(votes, used, strict=True)
        if use == CHECKPOINTS
    ]


def schedule_games(votes: Sequence[CastVote], used: Sequence[str], category: Mapping[str, str]) -> list[Game]:
    """As `checkpoint_games`; a learned schedule is one of its checkpoint."""
    return [
        _game(vote, [schedule(side) for side in vote.sides], category)
        for vote, use in zip(votes, used, strict=True)
        if use == SCHEDULES
    ]


def schedule(side: Side) -> str:
    """The player that a picture's schedule is."""
    return f"{LEARNED} by {side.checkpoint[:DIGITS]}" if side.schedule == LEARNED else side.schedule


def counted(used: Sequence[str]) -> dict[str, int]:
    """How many votes have each use, in the order of USES, also where none has it."""
    found = Counter(used)
    return {use: found[use] for use in USES}


def _use(vote: CastVote, model: str, with_policy: set[str]) -> str:
    if vote.erased:
        return ERASED
    if vote.kind != "pair":
        return REPLACED if vote.replaced else vote.kind
    if vote.validity not in TRUSTED:
        return vote.validity
    if vote.purpose in CHECKS:
        return vote.purpose
    left, right = vote.sides
    if {left.model, right.model} != {model}:
        return MODEL
    if (left.steps, left.guidance) != (right.steps, right.guidance):
        return MIXED
    if left.checkpoint == right.checkpoint:
        return ALIKE if left.schedule == right.schedule else SCHEDULES
    own = all(
        side.schedule == (LEARNED if side.checkpoint in with_policy else WITHOUT_POLICY)
        for side in vote.sides
    )
    return CHECKPOINTS if own else MIXED


def _game(vote: CastVote, players: Sequence[str], category: Mapping[str, str]) -> Game:
    left, right = players
    return Game(left, right, vote.outcome, voter(vote), vote.prompt, category.get(vote.prompt, OTHER))
