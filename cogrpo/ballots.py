"""From what people said to comparisons of two pictures of one prompt, the only thing that a preference is fitted on."""

from __future__ import annotations

import itertools
from collections import Counter, defaultdict
from collections.abc import Sequence
from statistics import median
from typing import Annotated, Literal, Protocol

from pydantic import Field

from cogrpo.config import Config

UNNAMED = 0  # stands for all who gave no name; the store counts its voters from 1
APART = 2  # points on `overall` by which two ratings must differ to say which picture is better

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Comparison(Config):
    """One line of `votes.jsonl`. left, right: sha256 of the pictures' pixels; weight: votes that it counts for."""

    prompt: str
    left: Digest
    right: Digest
    outcome: Literal["left", "right", "tie", "bad"]  # bad: neither is any good, so neither is better
    weight: Annotated[float, Field(gt=0)] = 1.0
    voter: int  # UNNAMED: one of those who gave no name
    vote: int


class Ballot(Protocol):
    """A vote as the store froze it; pictures: (sha256 of the pixels, of the file) by position."""

    id: int
    kind: str  # pair, ranking or rating
    voter: int
    named: bool  # whether the voter is known by a name; else each vote has a voter of its own
    prompt: str
    pictures: tuple[tuple[str, str], ...]
    outcome: str | None
    ranking: tuple[int, ...] | None  # positions, best first
    overall: int | None


def comparisons(ballots: Sequence[Ballot]) -> list[Comparison]:
    """All comparisons that votes hold, in the order of the votes.

    A ranking of n pictures is all its pairs, of weight 1 / (n - 1): a picture stands in n - 1 of them, and counts once.
    Two ratings of a prompt by one voter are a pair where they differ by `APART` or more on `overall`; the later vote
    stands for both.
    """
    told: list[Comparison] = []
    rated: dict[tuple[int, str], list[Ballot]] = defaultdict(list)
    for ballot in ballots:
        match ballot.kind:
            case "pair":
                told.append(_compared(ballot, 0, 1, ballot.outcome, 1.0))
            case "ranking":
                share = 1 / (len(ballot.ranking) - 1)
                told += [
                    _compared(ballot, better, worse, "left", share)
                    for better, worse in itertools.combinations(ballot.ranking, 2)
                ]
            case "rating" if ballot.overall is not None:
                earlier = rated[ballot.voter, ballot.prompt]
                told += [_rated(other, ballot) for other in earlier if _apart(other, ballot)]
                earlier.append(ballot)
    return told


def weights(compared: Sequence[Comparison]) -> list[float]:
    """What each comparison counts for: its own weight, less where its voter has said more than others.

    Who said n times what the median voter said counts as sqrt(n) median voters, so nobody drowns the rest. All who gave
    no name are one voter, or somebody would count for more without a name than with one.
    """
    said = Counter[int]()
    for one in compared:
        said[one.voter] += one.weight
    usual = median(said.values()) if said else 0
    return [one.weight * min(1, (usual / said[one.voter]) ** 0.5) for one in compared]


def _compared(ballot: Ballot, left: int, right: int, outcome: str | None, weight: float) -> Comparison:
    (first, _), (second, _) = ballot.pictures[left], ballot.pictures[right]
    return Comparison(
        prompt=ballot.prompt, left=first, right=second, outcome=outcome, weight=weight, voter=_voter(ballot),
        vote=ballot.id,
    )  # fmt: skip


def _voter(ballot: Ballot) -> int:
    return ballot.voter if ballot.named else UNNAMED


def _apart(one: Ballot, other: Ballot) -> bool:
    return abs(one.overall - other.overall) >= APART and one.pictures != other.pictures


def _rated(earlier: Ballot, later: Ballot) -> Comparison:
    outcome = "left" if earlier.overall > later.overall else "right"
    (left, _), (right, _) = *earlier.pictures, *later.pictures
    return Comparison(
        prompt=later.prompt, left=left, right=right, outcome=outcome, voter=_voter(later), vote=later.id
    )
