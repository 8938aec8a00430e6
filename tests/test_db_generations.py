"""Generations: recorded with all that paints them again."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor

from database import record
from sqlalchemy import select

from db import generations
from db.models import Generation, Prompt, Voter


def test_a_picture_is_found_with_its_recipe_its_files_and_its_voter(store):
    with store.write() as session:
        voter = Voter(pseudonym="ab" * 16)
        session.add(voter)
        session.flush()
        made = record(
            session, store, "one", voter=voter, milliseconds=412.5, scores={"verifier": 0.5}, source="api"
        )
        number = made.id
    with store.read() as session:
        found = generations.find(session, number)
        assert found.prompt.text == "a red dog" and found.voter_id == voter.id and found.source == "api"
        assert found.recipe["schedule_table"] == [[0.5, 1.0, 1.0, 1.5]]
        assert (found.model, found.schedule, found.steps, found.seed) == ("emoji", "cosine", 8, 3)
        assert (found.milliseconds, found.scores) == (412.5, {"verifier": 0.5})
        assert store.artifacts.get(found.image_sha256) == b"image one"
        assert store.artifacts.get(found.trace_sha256) == b"trace one"


def test_the_largest_seed_fits(store):
    with store.write() as session:
        number = record(session, store, "one", recipe={"seed": 2**63 - 1}).id
    with store.read() as session:
        assert generations.find(session, number).seed == 2**63 - 1


def test_a_prompt_has_one_row_whoever_writes_it_first(store):
    text = "ein roter Hund 🐕 " * 500

    def write(writer: int) -> int:
        with store.write() as session:
            return record(session, store, str(writer), recipe={"prompt": text}).prompt_id

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(write, range(16)))) == 1
    with store.read() as session:
        row = session.scalars(select(Prompt)).one()
        assert (row.text, row.sha256) == (text, hashlib.sha256(text.encode()).hexdigest())


def test_a_picture_that_cannot_be_kept_leaves_no_row(store, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("db.artifacts.Artifacts._write", full)
    try:
        with store.write() as session:
            record(session, store, "one")
    except OSError:
        pass
    with store.read() as session:
        assert not session.scalars(select(Generation)).all() and not session.scalars(select(Prompt)).all()


def test_a_deleted_picture_is_not_found_but_its_row_stays(store):
    with store.write() as session:
        number = record(session, store, "one").id
    with store.write() as session:
        generations.delete(session, generations.find(session, number))
    with store.read() as session:
        assert generations.find(session, number) is None
        assert generations.find(session, number + 1) is None
        assert session.get(Generation, number).deleted_at is not None
