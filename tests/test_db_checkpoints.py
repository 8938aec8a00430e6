"""A candidate made on one machine is served on another: what both share is the database and the artifacts."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest
from round_rows import champion, sha
from sqlalchemy import select

from db import aliases, checkpoints, rounds
from db.models import Checkpoint
from db.session import Store

FILES = {"model.safetensors": b"weights", "manifest.json": b"{}"}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    """The worker's data folder."""
    place = tmp_path / "here" / "checkpoints" / "abc"
    place.mkdir(parents=True)
    for name, content in FILES.items():
        (place / name).write_bytes(content)
    return tmp_path / "here"


@pytest.fixture
def gated(store: Store, here: Path) -> int:
    """A round whose candidate waits for a person."""
    with store.write() as session:
        champion(session)
        rounds.begin(session, "emoji", "asked")
        claim = rounds.claim(session, "worker", timedelta(minutes=1))
        rounds.freeze(session, claim.id, claim.fence, {})
        rounds.advance(session, claim.id, claim.fence, "frozen")
        files = checkpoints.keep(session, store.artifacts, here / "checkpoints" / "abc")
        rounds.found(session, claim.id, claim.fence, sha("new"), "checkpoints/abc", files)
        aliases.gated(session, claim.id, claim.fence, True, {}, {})
    return claim.id


def content(data: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (data / "checkpoints" / "abc").iterdir()}


def test_a_candidate_that_waits_comes_to_a_machine_that_lacks_it(store, gated, tmp_path):
    aliases.mirror(store, tmp_path / "there")
    assert content(tmp_path / "there") == FILES


def test_a_champion_comes_before_its_name_and_a_rejected_candidate_stays_away(store, gated, tmp_path):
    with store.write() as session:
        aliases.promote(session, gated, "test")
    assert aliases.mirror(store, tmp_path / "there") and content(tmp_path / "there") == FILES
    with store.write() as session:
        aliases.rollback(session, "emoji", "test")
    aliases.mirror(store, tmp_path / "third")
    assert not (tmp_path / "third" / "checkpoints").exists()


def test_a_folder_that_is_there_is_left_alone(store, gated, here):
    (here / "checkpoints" / "abc" / "model.safetensors").write_bytes(b"damaged")
    aliases.mirror(store, here)
    assert content(here)["model.safetensors"] == b"damaged", "the registry tells, and serves what was before"


def test_where_a_file_is_lost_nothing_half_appears(store, gated, tmp_path):
    with store.read() as session:
        files = session.scalar(select(Checkpoint.files).where(Checkpoint.sha256 == sha("new")))
    store.artifacts.delete(files["model.safetensors"])
    aliases.mirror(store, tmp_path / "there")
    assert list((tmp_path / "there" / "checkpoints").iterdir()) == []
