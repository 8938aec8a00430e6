"""Artifacts: whole or absent, found again by hash, and never silently something else."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import select

from db import orphans
from db.artifacts import ArtifactError, Artifacts
from db.check import check
from db.models import Artifact
from db.session import Store

# Puts an artifact, but dies at a given call, as a machine without power does.
DIES = """
import os, sys
from db.session import Store
url, folder, place = sys.argv[1:]
setattr(os, place, lambda *_: os._exit(9))
store = Store(url, folder)
with store.write() as session:
    store.artifacts.put(session, b"whole" * 50_000, "image")
"""


def file_of(store: Store, sha256: str) -> Path:
    return Path(store.artifacts.path(sha256))


def put(store: Store, data: bytes, kind: str = "image") -> str:
    with store.write() as session:
        return store.artifacts.put(session, data, kind)


def test_bytes_come_back_under_their_hash(store):
    sha256 = put(store, b"a picture", "image")
    assert sha256 == hashlib.sha256(b"a picture").hexdigest()
    assert store.artifacts.get(sha256) == b"a picture"
    folder, name = file_of(store, sha256).parent, file_of(store, sha256).name
    assert (folder.parent.name, folder.name, name) == (sha256[:2], sha256[2:4], sha256)
    with store.read() as session:
        row = session.scalars(select(Artifact)).one()
        assert (row.sha256, row.kind, row.size, row.dropped_at) == (sha256, "image", 9, None)


def test_many_writers_of_the_same_bytes_make_one_file_and_one_row(store):
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: put(store, b"same" * 1000), range(24)))) == 1
    assert len(list(store.artifacts.listed())) == 1
    assert list(check(store)) == []


@pytest.mark.parametrize("place", ["fsync", "replace"])
def test_a_writer_that_dies_leaves_nothing_half_written(store, place):
    url = store.url.render_as_string(hide_password=False)
    command = [sys.executable, "-c", DIES, url, store.artifacts.root, place]
    assert subprocess.run(command, cwd=Path(__file__).parents[1]).returncode == 9
    assert list(store.artifacts.listed()) == []
    assert list(Path(store.artifacts.root).rglob("*.tmp"))  # it did begin
    assert list(check(store)) == []
    assert store.artifacts.get(put(store, b"whole" * 50_000)) == b"whole" * 50_000


def test_a_disk_that_is_full_leaves_neither_file_nor_row(store, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("db.artifacts.os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        put(store, b"a picture")
    monkeypatch.undo()
    assert not [path for path in Path(store.artifacts.root).rglob("*") if path.is_file()]
    with store.read() as session:
        assert session.scalars(select(Artifact)).all() == []


def test_an_altered_and_a_missing_artifact_are_told_apart(store):
    altered, missing = put(store, b"one"), put(store, b"two")
    file_of(store, altered).write_bytes(b"onE")
    file_of(store, missing).unlink()
    with pytest.raises(ArtifactError, match="altered"):
        store.artifacts.get(altered)
    with pytest.raises(ArtifactError, match="missing"):
        store.artifacts.get(missing)
    assert {str(found) for found in check(store)} == {f"altered: {altered}", f"missing: {missing}"}


def test_the_same_bytes_again_mend_what_was_altered(store):
    sha256 = put(store, b"one")
    file_of(store, sha256).write_bytes(b"onE")
    put(store, b"one")
    assert store.artifacts.get(sha256) == b"one"


def test_a_file_without_a_row_is_found_and_swept(store):
    kept = put(store, b"kept")
    with pytest.raises(KeyError), store.write() as session:
        lost = store.artifacts.put(session, b"lost", "image")
        raise KeyError
    assert [str(found) for found in check(store)] == [f"unknown: {lost}"]
    orphans.sweep(store)
    assert list(store.artifacts.listed()) == [kept]
    assert list(check(store)) == []


def test_a_file_whose_row_is_not_committed_yet_is_not_unknown(store):
    """The check waits for the writer."""
    session = store.write()
    sha256 = store.artifacts.put(session.__enter__(), b"coming", "image")
    with ThreadPoolExecutor(1) as pool:
        listed = set(store.artifacts.listed())
        assert listed == {sha256}
        unknown = pool.submit(orphans.unknown, store, listed)
        with pytest.raises(TimeoutError):
            unknown.result(timeout=1)
        session.__exit__(None, None, None)
        assert unknown.result() == []


def test_a_bucket_holds_artifacts_as_a_folder_does(tmp_path):
    store = Store(f"sqlite:///{tmp_path / 'studio.db'}", "memory://test-bucket")
    store.upgrade()
    sha256 = put(store, b"a picture")
    assert store.artifacts.get(sha256) == b"a picture"
    assert list(Artifacts("memory://test-bucket").listed()) == [sha256]
    store.artifacts.files.pipe_file(store.artifacts.path(sha256), b"a pictuRe")
    assert [found.problem for found in check(store)] == ["altered"]
    store.artifacts.delete(sha256)
    store.artifacts.delete(sha256)
    assert [found.problem for found in check(store)] == ["missing"]
    store.close()
