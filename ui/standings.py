"""The figures of the leaderboard: read from the store, computed once for the votes that are there."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import cache

from cogrpo import contests
from cogrpo.config import Config
from cogrpo.emoji import prompts
from cogrpo.leaderboard import Board, boards
from cogrpo.vote_quality import Quality, quality
from db import standings
from ui.pairs import MODEL
from ui.records import Records


class Figures(Config):
    """checkpoints, schedules: of `all` prompts and of each category that has a vote. uses: what each vote is used for.
    names: what the hashes of checkpoints are called today."""

    model: str
    votes: int
    uses: dict[str, int]
    names: dict[str, str]
    checkpoints: dict[str, Board]
    schedules: dict[str, Board]
    quality: Quality


class Standings:
    """Safe to share between threads."""

    def __init__(self, records: Records) -> None:
        self.records = records
        self._one = threading.Lock()
        self._of: object = None
        self._figures: Figures | None = None

    def figures(self) -> Figures:
        """Of the votes in the store now. Raises StoreError where there is none."""
        with self.records.reading() as session:
            read = standings.all_votes(session), standings.names(session, MODEL)
        with self._one:
            if self._figures is None or read != self._of:
                self._of, self._figures = read, figures(*read, categories())
            return self._figures


def figures(
    votes: list[standings.StoredVote], names: Mapping[str, str], category: Mapping[str, str]
) -> Figures:
    """names: sha256 -> what a checkpoint is called; category: of prompts."""
    uses = contests.uses(votes, MODEL)
    return Figures(
        model=MODEL,
        votes=len(votes),
        uses=contests.counted(uses),
        names={sha256[: contests.DIGITS]: name for sha256, name in names.items()},
        checkpoints=boards(contests.checkpoint_games(votes, uses, category)),
        schedules=boards(contests.schedule_games(votes, uses, category)),
        quality=quality(votes),
    )


@cache
def categories() -> dict[str, str]:
    """Of the prompts from which pairs are drawn."""
    return {entry.prompt: entry.category for entry in prompts.load("train")}
