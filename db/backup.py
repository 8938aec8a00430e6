"""A backup: one tar file with a copy of the database, every artifact of its rows, and the folders that they name.

    database             SQLite's own copy, or a dump of pg_dump
    artifacts/<sha256>   each kept artifact
    data/<path>          what checkpoints and rounds name in the data folder, and aliases.json
    manifest.json        last, so that a file cut short has none: kind, version, the sha256 of every member

Consistent under load: the database is copied as of one moment, and an artifact is older than the commit of its row.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import sqlite3
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from shutil import which
from typing import Any

from sqlalchemy import Connection, create_engine, select, text

from db import schema
from db.artifacts import ArtifactError
from db.models import Artifact, Checkpoint, Round
from db.session import Store, StoreError

FORMAT = 1
MANIFEST, DATABASE, ARTIFACTS, DATA = "manifest.json", "database", "artifacts", "data"


def backup(store: Store, data: Path, target: Path) -> list[str]:
    """Write the file, whole or not at all; returns what is not in it: hashes of artifacts that are missing or altered,
    and folders that rows name but that are not in the data folder.

    Such ones do not stop it: the rest is worth keeping all the more. Raises StoreError, OSError.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as half:
        whole = Path(half) / "backup.tar"
        with whole.open("wb") as file:
            broken = _write(store, data, Path(half) / DATABASE, file)
            file.flush()
            os.fsync(file.fileno())
        whole.replace(target)
    return broken


def _write(store: Store, data: Path, copy: Path, file: Any) -> list[str]:
    postgresql = store.engine.dialect.name == "postgresql"
    rows = (_dump if postgresql else _copy)(store, copy)
    manifest = {"format": FORMAT, "kind": store.engine.dialect.name, "version": rows["version"]}
    members: dict[str, str] = {}
    dropped, broken = [], []
    with tarfile.open(fileobj=file, mode="w") as tar:
        members[DATABASE] = _add_file(tar, DATABASE, copy)
        for sha256 in rows["artifacts"]:
            try:
                content = store.artifacts.get(sha256)
            except ArtifactError:
                (dropped if _was_dropped(store, sha256) else broken).append(sha256)
                continue
            members[f"{ARTIFACTS}/{sha256}"] = _add_bytes(tar, f"{ARTIFACTS}/{sha256}", content)
        inside = [folder for folder in rows["folders"] if _is_inside(data, folder)]
        broken += [folder for folder in rows["folders"] if folder not in inside]
        for path, content in _files(data, inside):
            name = f"{DATA}/{path.relative_to(data).as_posix()}"
            members[name] = _add_bytes(tar, name, content)
        told = {**manifest, "members": members, "dropped": dropped, "broken": broken}
        _add_bytes(tar, MANIFEST, json.dumps(told, indent=1).encode())
    return broken


def _copy(store: Store, copy: Path) -> dict[str, Any]:
    """SQLite: pages as of one moment, through its backup interface; writers go on meanwhile."""
    connection = store.engine.raw_connection()
    try:
        target = sqlite3.connect(copy)
        connection.driver_connection.backup(target)
        target.execute("PRAGMA journal_mode = DELETE")  # one file, without a log beside it
        target.close()
    finally:
        connection.close()
    engine = create_engine(f"sqlite:///{copy}")
    with engine.connect() as snapshot:
        rows = _rows(snapshot)
    engine.dispose()
    return rows


def _dump(store: Store, copy: Path) -> dict[str, Any]:
    """PostgreSQL: pg_dump on the very snapshot in which the rows are listed."""
    program = tool("pg_dump")
    with store.read() as session:
        snapshot = session.scalar(text("SELECT pg_export_snapshot()"))
        run([program, "--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}",
             f"--file={copy}"], store)  # fmt: skip
        return _rows(session.connection())


def _rows(connection: Connection) -> dict[str, Any]:
    """What has to go with the rows of one moment."""
    kept = select(Artifact.sha256).where(Artifact.dropped_at.is_(None)).order_by(Artifact.sha256)
    folders = {
        folder
        for column in (Checkpoint.folder, Round.folder)
        for folder in connection.scalars(select(column).where(column.is_not(None)))
    }
    artifacts = list(connection.scalars(kept))
    return {"version": schema.version(connection), "artifacts": artifacts, "folders": sorted(folders)}


def _was_dropped(store: Store, sha256: str) -> bool:
    """Whether retention took it away since the copy was made."""
    with store.read() as session:
        row = session.get(Artifact, sha256)
        return row is not None and row.dropped_at is not None


def _is_inside(data: Path, folder: str) -> bool:
    place = (data / folder).resolve()
    return place.is_dir() and place.is_relative_to(data.resolve())


def _files(data: Path, folders: list[str]) -> Iterator[tuple[Path, bytes]]:
    """The files of folders in the data folder, each once; a name with a dot is not whole yet.

    A round that goes on takes away its older states: one that goes while it is read is left out as a whole, and the
    newer one, which was there before, is found by looking again.
    """
    if (data / "aliases.json").is_file():
        yield data / "aliases.json", (data / "aliases.json").read_bytes()
    seen: set[Path] = set()
    while fresh := sorted({place for folder in folders for place in _places(data, folder)} - seen):
        seen |= set(fresh)
        for place in fresh:
            with suppress(FileNotFoundError):
                files = [path for path in sorted(place.iterdir()) if path.is_file() and path.name[0] != "."]
                yield from [(path, path.read_bytes()) for path in files]


def _places(data: Path, folder: str) -> Iterator[Path]:
    """A folder and those below it whose names do not begin with a dot."""
    for place, below, _ in os.walk(data / folder):
        below[:] = [name for name in below if name[0] != "."]
        yield Path(place)


def _add_file(tar: tarfile.TarFile, name: str, path: Path) -> str:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        file.seek(0)
        member = tarfile.TarInfo(name)
        member.size = path.stat().st_size
        tar.addfile(member, file)
    return sha256


def _add_bytes(tar: tarfile.TarFile, name: str, content: bytes) -> str:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
    return hashlib.sha256(content).hexdigest()


def tool(name: str) -> str:
    """Where a program of PostgreSQL is. Raises StoreError."""
    found = which(name)
    if found is None:
        raise StoreError(f"{name}: it is not installed here; Debian has it in the package postgresql-client.")
    return found


def run(command: list[str], store: Store) -> None:
    """Run a program of PostgreSQL on the store's database. Raises StoreError with what it said."""
    password = store.url.password
    address = store.url.set(drivername="postgresql", password=None).render_as_string(hide_password=False)
    # The password goes through the environment: everybody can read a command line.
    environment = os.environ | ({} if password is None else {"PGPASSWORD": str(password)})
    told = subprocess.run([*command, f"--dbname={address}"], env=environment, capture_output=True, text=True)
    if told.returncode != 0:
        said = " ".join(told.stderr.split())
        raise StoreError(f"{Path(command[0]).name}: it failed ({said}).")
