"""Bytes under their hash: pictures, traces, reports. A folder on this machine, or a bucket through fsspec.

A file lies at `ab/cd/abcd...` (its sha256), so what is written once is never written over with something else.
The row goes first and is locked by that; the file second; the commit last. So no committed row lacks its file, and
retention, which takes the same lock, never takes away a file that somebody is writing again.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.errors import StoreError
from db.models import Artifact, now

TEMPORARY = ".tmp"  # ends the name of a file that is not whole yet
UNFINISHED = 3600  # s after which nobody is still writing it


class ArtifactError(StoreError):
    """An artifact is missing, or is not what its hash says: `problem` is 'missing' or 'altered'."""

    def __init__(self, sha256: str, problem: str) -> None:
        super().__init__(f"artifact: {sha256} is {problem}; a backup may have it.")
        self.problem = problem


class Artifacts:
    """A content-addressed folder. Threads and processes may share it."""

    def __init__(self, address: str) -> None:
        """address: a folder, or what fsspec understands (s3://bucket/folder). Raises StoreError."""
        try:
            self.files, self.root = fsspec.url_to_fs(address)
        except (ValueError, ImportError) as error:
            allowed = "allowed are a folder, or an address that fsspec knows"
            raise StoreError(f"STUDIO_ARTIFACTS: {address} cannot be used ({error}); {allowed}.") from error
        self.local = isinstance(self.files, LocalFileSystem)

    def path(self, sha256: str) -> str:
        return f"{self.root}/{sha256[:2]}/{sha256[2:4]}/{sha256}"

    def put(self, session: Session, data: bytes, kind: str) -> str:
        """Store bytes with their row; kind: image, trace, ... Returns the sha256. Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
        row = dialect.insert(Artifact).values(sha256=sha256, kind=kind, size=len(data), created_at=now())
        # The same bytes again: their row is young again, and comes back to life if retention had dropped it.
        again = {"dropped_at": None, "created_at": row.excluded.created_at}
        session.execute(row.on_conflict_do_update(index_elements=["sha256"], set_=again))
        self.place(data)
        return sha256

    def place(self, data: bytes) -> None:
        """Write the file of a row that is there or will be, where it is not there whole. Raises OSError."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self._intact(sha256):
            self._write(sha256, data)

    def get(self, sha256: str) -> bytes:
        """The bytes, checked against their hash. Raises ArtifactError."""
        try:
            data = self.files.cat_file(self.path(sha256))
        except FileNotFoundError as error:
            raise ArtifactError(sha256, "missing") from error
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ArtifactError(sha256, "altered")
        return data

    def _intact(self, sha256: str) -> bool:
        """Whether the file is there and is what its name says."""
        try:
            self.get(sha256)
        except ArtifactError:
            return False
        return True

    def delete(self, sha256: str) -> None:
        """Take the file away, if it is there; its row says so already (`db.retention`)."""
        try:
            self.files.rm_file(self.path(sha256))
        except FileNotFoundError:
            return

    def listed(self) -> Iterator[str]:
        """The hash of every whole file."""
        for path in self.files.find(self.root):
            name = path.rsplit("/", 1)[-1]
            if not name.endswith(TEMPORARY):
                yield name

    def delete_unfinished(self) -> None:
        """Take away what writers left that were killed while they wrote; none of them takes an hour for it."""
        if self.local:
            for path in Path(self.root).glob(f"*/*/*{TEMPORARY}"):
                with contextlib.suppress(FileNotFoundError):  # got its name meanwhile
                    if time.time() - path.stat().st_mtime > UNFINISHED:
                        path.unlink()

    def _write(self, sha256: str, data: bytes) -> None:
        path = self.path(sha256)
        if not self.local:  # an object of a bucket appears whole or not at all
            self.files.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.with_name(f"{sha256}.{uuid.uuid4().hex}{TEMPORARY}")
        try:
            with temporary.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)  # the name itself
        finally:
            os.close(folder)
