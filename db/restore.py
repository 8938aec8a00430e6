"""Puts a backup into a store. Every byte of it is checked first, so a damaged backup changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sqlite3
import tarfile
import tempfile
from pathlib import Path, PurePosixPath
from typing import IO, Any

from sqlalchemy import inspect, update

from db import aliases, schema
from db.backup import ARTIFACTS, DATA, DATABASE, FORMAT, MANIFEST, run, tool
from db.models import Artifact, Base, now
from db.session import Store, StoreError
from db.status import status


def restore(store: Store, data: Path, source: Path, force: bool = False) -> None:
    """Replace the rows with those of the backup and add its artifacts and folders. The app and the worker must rest.

    Raises StoreError: a store that holds something (unless `force`), a file that is no backup, is damaged, was made by
    a newer program or on the other kind of database.
    """
    if not force and _holds_something(store):
        raise StoreError(
            "restore: the store is not empty; allowed is an empty one, or --force to replace its rows."
        )
    try:
        with tarfile.open(source, "r:") as tar:
            manifest = _manifest(tar)
            _check(tar, manifest, store)
            _put(tar, manifest, store, data)
    except (tarfile.TarError, KeyError, ValueError, EOFError) as error:
        if isinstance(error, StoreError):
            raise
        raise StoreError(f"restore: {source} is no backup, or it is damaged or cut short.") from error


def _holds_something(store: Store) -> bool:
    tables = set(inspect(store.engine).get_table_names())
    if set(Base.metadata.tables) <= tables:
        with store.read() as session:
            if any(status(session)["tables"].values()):
                return True
    elif tables - {"alembic_version"}:
        return True
    return next(store.artifacts.listed(), None) is not None


def _manifest(tar: tarfile.TarFile) -> dict[str, Any]:
    manifest = json.load(_open(tar, MANIFEST))
    if manifest["format"] != FORMAT:
        raise StoreError(f"restore: the backup has format {manifest['format']}, but allowed is {FORMAT}.")
    return manifest


def _check(tar: tarfile.TarFile, manifest: dict[str, Any], store: Store) -> None:
    """Raises StoreError or ValueError; nothing was changed yet."""
    if manifest["kind"] != store.engine.dialect.name:
        raise StoreError(
            f"restore: the backup was made on {manifest['kind']}, but this store is on {store.engine.dialect.name}; "
            "allowed is the same kind."
        )
    schema.check_known(manifest["version"])
    for name, sha256 in manifest["members"].items():
        _place(name)
        if hashlib.file_digest(_open(tar, name), "sha256").hexdigest() != sha256:
            raise ValueError(name)


def _put(tar: tarfile.TarFile, manifest: dict[str, Any], store: Store, data: Path) -> None:
    for name in manifest["members"]:
        kind, path = _place(name)
        if kind == ARTIFACTS:
            store.artifacts.place(_open(tar, name).read())
        elif kind == DATA:
            _write(data / path, _open(tar, name).read())
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / DATABASE
        with copy.open("wb") as file:
            shutil.copyfileobj(_open(tar, DATABASE), file)
        _put_rows(store, copy)
    store.upgrade()
    with store.write() as session:
        for sha256 in manifest["dropped"]:
            rows = update(Artifact).where(Artifact.sha256 == sha256)
            session.execute(rows.values(dropped_at=now()))
    data.mkdir(parents=True, exist_ok=True)
    aliases.mirror(store, data)


def _put_rows(store: Store, copy: Path) -> None:
    """All rows in one transaction; the old ones stay where it fails."""
    if store.engine.dialect.name == "postgresql":
        program = tool("pg_restore")
        options = ["--clean", "--if-exists", "--no-owner", "--no-privileges", "--single-transaction"]
        store.close()  # an idle connection may hold a lock
        run([program, *options, str(copy)], store)
        return
    source = sqlite3.connect(copy)
    target = store.engine.raw_connection()
    try:
        source.backup(target.driver_connection)
    except sqlite3.Error as error:
        raise StoreError(
            f"restore: the database cannot be written ({error}); end what still uses it."
        ) from error
    finally:
        source.close()
        target.close()
        store.close()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)


def _place(name: str) -> tuple[str, str]:
    """Where a member belongs. Raises ValueError for a name that would lead out of there."""
    kind, _, path = name.partition("/")
    inside = not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts
    if (
        name == DATABASE
        or (kind == ARTIFACTS and re.fullmatch("[0-9a-f]{64}", path))
        or (kind == DATA and inside)
    ):
        return kind, path
    raise ValueError(name)


def _open(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    """Raises KeyError where there is no such file."""
    file = tar.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file
