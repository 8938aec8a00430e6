"""Pictures that were made: each with its recipe in full, its files by hash, and who asked for it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.artifacts import Artifacts
from db.models import Generation, Prompt, Voter, now


def record(
    session: Session,
    artifacts: Artifacts,
    recipe: Mapping[str, Any],
    image: bytes,
    trace: bytes,
    pixels_sha256: str,
    source: str,
    voter: Voter | None = None,
    milliseconds: float | None = None,
    scores: Mapping[str, Any] | None = None,
) -> Generation:
    """Keep a picture and its trace with the recipe that paints it again; the row has its id at once.

    recipe: as a finished decode wrote it, in JSON's types. image: the PNG, trace: the file. pixels_sha256: of the
    pixels, as rewards know a picture. source: page, api, pair or round. scores: what rewards said of it, by name.
    Raises OSError where a file cannot be written, KeyError for a recipe that lacks a field.
    """
    generation = Generation(
        prompt=prompt(session, recipe["prompt"]),
        voter_id=None if voter is None else voter.id,
        source=source,
        model=recipe["model"],
        checkpoint_sha256=recipe["checkpoint_sha256"],
        schedule=recipe["schedule"],
        steps=recipe["steps"],
        seed=recipe["seed"],
        sampler_version=str(recipe["sampler_version"]),
        recipe=dict(recipe),
        pixels_sha256=pixels_sha256,
        image_sha256=artifacts.put(session, image, "image"),
        trace_sha256=artifacts.put(session, trace, "trace"),
        milliseconds=milliseconds,
        scores=dict(scores or {}),
    )
    session.add(generation)
    session.flush()
    return generation


def prompt(session: Session, text: str) -> Prompt:
    """The row of a text, made where there is none; two writers that need it at once get the same one."""
    sha256 = hashlib.sha256(text.encode()).hexdigest()
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    row = dialect.insert(Prompt).values(sha256=sha256, text=text, created_at=now())
    session.execute(row.on_conflict_do_nothing(index_elements=["sha256"]))
    return session.scalars(select(Prompt).where(Prompt.sha256 == sha256)).one()


def find(session: Session, generation_id: int) -> Generation | None:
    """A picture that was not deleted."""
    generation = session.get(Generation, generation_id)
    return None if generation is None or generation.deleted_at is not None else generation


def delete(session: Session, generation: Generation) -> None:
    """Take a picture out of everybody's sight. Votes about it keep their row; its files go when room is needed."""
    generation.deleted_at = now()
