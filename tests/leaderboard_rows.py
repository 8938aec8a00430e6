"""Votes as a leaderboard reads them, put into a store by scripts: made-up people, for tests alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from round_rows import pair, picture, sha, voter
from sqlalchemy.orm import Session

from cogrpo.emoji import prompts
from db import aliases, arena
from db.artifacts import Artifacts
from db.models import Alias, Generation, Presentation, Vote
from db.session import Store


def painted(
    session: Session, artifacts: Artifacts, prompt: str, weights: str, schedule: str, **more: object
) -> int:
    """A picture of these weights under this schedule; more: other columns."""
    number = picture(session, artifacts, prompt, weights=weights)
    row = session.get_one(Generation, number)
    row.schedule, row.recipe = schedule, {"guidance": "auto"}
    for name, value in more.items():
        setattr(row, name, value)
    return number


def said(session: Session, vote: int, **columns: object) -> None:
    """Change columns of a vote."""
    row = session.get_one(Vote, vote)
    for name, value in columns.items():
        setattr(row, name, value)


def filled(store: Store) -> tuple[str, str]:
    """247 votes by twelve people. The champion is better than the baseline, its own schedule than cosine, cosine than
    linear; sqrt has few pairs. And votes of every other kind. Returns both hashes, as the store has them or made up."""
    rng, train = np.random.default_rng(3), [entry.prompt for entry in prompts.load("train")][::9]
    with store.write() as session:
        if session.get(Alias, ("emoji", "champion")) is None:
            shipped = {"champion": sha("new"), "baseline": sha("old")}
            aliases.establish(session, "emoji", shipped, Path("nowhere"), "test")
        new, old = (
            session.get_one(Alias, ("emoji", name)).checkpoint.sha256 for name in ("champion", "baseline")
        )
        learned = (new, "learned")
        who = [voter(session) for _ in range(12)]
        kinds = [
            (learned, (old, "cosine"), 0.7, 70), (learned, (new, "cosine"), 0.6, 70),
            ((new, "cosine"), (new, "linear"), 0.6, 60), ((new, "cosine"), (new, "sqrt"), 0.5, 6),
            (learned, learned, 0.5, 20),
        ]  # fmt: skip
        for better, worse, share, count in kinds:
            for number in range(count):
                sides = (better, worse) if number % 2 else (worse, better)
                prompt = train[int(rng.integers(len(train)))]
                shown = [painted(session, store.artifacts, prompt, *side) for side in sides]
                draw = rng.random()
                outcome = "tie" if draw > 0.9 else "bad" if draw > 0.85 else ("left", "right")[
                    (draw < share * 0.85) != (number % 2 == 1)
                ]  # fmt: skip
                vote = pair(session, who[int(rng.integers(12))], prompt, *shown, outcome)
                said(session, vote, dwell_ms=int(rng.gamma(4, 1200)) + 400)
        prompt = train[0]
        shown = [painted(session, store.artifacts, prompt, *side) for side in (learned, (old, "cosine"))]
        for number, person in enumerate(
            who[:6]
        ):  # the same two pictures, then mirrored, then with a known answer
            first = pair(session, person, prompt, *shown, "left" if number % 3 else "right")
            again = pair(session, person, prompt, *shown[::-1], "right", purpose="mirror")
            seen = session.get_one(Vote, first).presentation_id
            session.get_one(Presentation, session.get_one(Vote, again).presentation_id).mirror_of_id = seen
            known = pair(session, person, prompt, *shown, "left", purpose="gold")
            row = session.get_one(Presentation, session.get_one(Vote, known).presentation_id)
            row.seed = next(seed for seed in range(99) if arena.better_place(seed) == number // 5)
        for validity, reason in (("suspicious", "dwell: 120 ms is less than 300"), ("rejected", "a script")):
            vote = pair(session, who[0], prompt, *shown, "left")
            said(session, vote, validity=validity, reason=reason, dwell_ms=120)
        session.add(Vote(kind="rating", voter_id=who[0], generation_id=shown[0], overall=5))
    return new, old
