"""Opens the store: one database and one folder of artifacts, the same for the app, the worker and the commands.

The database is SQLite in the data folder, or PostgreSQL where DATABASE_URL says so. Every function of a use takes a
`Session` as its first argument, keeps no state and never commits; `Store.read` and `Store.write` do that around it.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.orm import Session, sessionmaker

from db import mounts, schema
from db.artifacts import Artifacts
from db.errors import StoreError

__all__ = ["Store", "StoreError", "connect"]

BUSY = 30_000  # ms that a writer waits for the one before it; SQLite has one at a time
MODE = "studio_mode"  # execution option of a connection: 'read' or 'write'
UPGRADE_LOCK = 0x53545544  # of PostgreSQL: two processes that start together upgrade one after the other


class Store:
    """A database and its artifacts. Processes and threads may share one; a session belongs to one thread."""

    def __init__(self, url: str | URL, artifacts: str) -> None:
        """url: of the database. artifacts: a folder, or an address that fsspec knows. Changes nothing yet."""
        self.url = _address(url)
        self.engine = connect(self.url)
        self.artifacts = Artifacts(artifacts)
        # On PostgreSQL a reader gets what SQLite gives anyway: one view of the data, and no way to change it.
        reading = {MODE: "read"}
        if self.engine.dialect.name == "postgresql":
            reading |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        self._read = sessionmaker(self.engine.execution_options(**reading), expire_on_commit=False)
        self._write = sessionmaker(self.engine.execution_options(**{MODE: "write"}), expire_on_commit=False)

    @staticmethod
    def open(data: Path) -> Store:
        """The store of a data folder, its tables brought up to date.

        DATABASE_URL replaces `<data>/studio.db`, STUDIO_ARTIFACTS replaces `<data>/artifacts`. Raises StoreError.
        """
        store = Store.at(data)
        store.upgrade()
        return store

    @staticmethod
    def at(data: Path) -> Store:
        """The store of a data folder as it is; nothing is created. Raises StoreError for an impossible address."""
        url = os.environ.get("DATABASE_URL") or URL.create("sqlite", database=str(data / "studio.db"))
        return Store(url, os.environ.get("STUDIO_ARTIFACTS") or str(data / "artifacts"))

    @staticmethod
    def existing(data: Path) -> Store:
        """The store of a data folder with its tables as this program knows them. Raises StoreError otherwise."""
        store = Store.at(data)
        place = store.url.database
        if store.url.get_backend_name() == "sqlite" and not (place and Path(place).is_file()):
            raise StoreError(f"STUDIO_DATA: {place} does not exist; 'python -m db upgrade' makes it.")
        try:
            store._check_version()
        except StoreError:
            store.close()
            raise
        return store

    def upgrade(self) -> None:
        """Bring the tables up to date, in one transaction. Raises StoreError."""
        self.check_place()
        # Its own engine: a batch migration copies a table and drops the old one, which foreign keys would undo.
        engine = connect(self.url, foreign_keys=False).execution_options(**{MODE: "write"})
        try:
            with engine.begin() as connection:
                if engine.dialect.name == "postgresql":
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
                schema.upgrade(connection)
        except DBAPIError as error:
            raise StoreError(self._unusable(str(error.orig))) from error
        finally:
            engine.dispose()

    def check_place(self) -> None:
        """Raises StoreError where SQLite would lose data or cannot write at all."""
        place = self.url.database
        if self.url.get_backend_name() != "sqlite" or not place or place.startswith("file:"):
            return  # a server, memory, or an address of SQLite's own, whose writer knows what it means
        folder = Path(place).resolve().parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(self._unusable(error.strerror or str(error))) from error
        kind = mounts.network_kind(folder)
        if kind is not None:
            raise StoreError(
                f"STUDIO_DATA: {folder} lies on a network mount ({kind}), where SQLite can lose data; allowed are a "
                "local folder, or DATABASE_URL with a PostgreSQL server."
            )

    @contextmanager
    def read(self) -> Iterator[Session]:
        """One consistent view; a write in it is an error of the database."""
        with self._read() as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """One transaction: commits at the end, rolls back where anything was raised.

        On SQLite it takes the writer's place at its beginning, so it never fails halfway because another one wrote.
        """
        with self._write.begin() as session:
            yield session

    def close(self) -> None:
        self.engine.dispose()

    def _check_version(self) -> None:
        """Raises StoreError where the tables are not as this program knows them."""
        try:
            with self.engine.connect() as connection:
                found = schema.version(connection)
        except DBAPIError as error:
            raise StoreError(self._unusable(str(error.orig))) from error
        schema.check_known(found)
        if found != schema.newest():
            told = f"database: its tables are of version {found}, not {schema.newest()}"
            raise StoreError(f"{told}; 'python -m db upgrade' brings them up to date.")

    def _unusable(self, reason: str) -> str:
        reason = " ".join(reason.split())
        if self.url.get_backend_name() == "sqlite":
            return (
                f"STUDIO_DATA: {self.url.database} cannot be written ({reason}); allowed are a folder that this "
                "program may write, or DATABASE_URL with a PostgreSQL server."
            )
        return (
            f"DATABASE_URL: {self.url.render_as_string()} cannot be used ({reason}); allowed is a PostgreSQL "
            "server that is running and lets this user create tables."
        )


def connect(url: str | URL, foreign_keys: bool = True) -> Engine:
    """An engine whose SQLite connections keep their rules: WAL, foreign keys, waiting, writers one at a time."""
    engine = create_engine(url)
    if engine.dialect.name == "sqlite":

        @event.listens_for(engine, "connect")
        def prepare(connection, _) -> None:
            connection.isolation_level = None  # the driver begins no transaction of its own; `begin` does
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA busy_timeout = {BUSY}")
            _use_log(cursor)
            cursor.execute(f"PRAGMA foreign_keys = {'ON' if foreign_keys else 'OFF'}")
            cursor.close()

        @event.listens_for(engine, "begin")
        def begin(connection: Connection) -> None:
            writes = connection.get_execution_options().get(MODE) == "write"
            connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _use_log(cursor: sqlite3.Cursor) -> None:
    """Write ahead. The very first change to that does not wait for others by itself: processes start together."""
    last = time.monotonic() + BUSY / 1000
    while True:
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > last:
                raise
            time.sleep(0.02)


def _address(url: str | URL) -> URL:
    """The driver's own name for what people write. Raises StoreError."""
    try:
        parsed = make_url(url)
    except SQLAlchemyError as error:
        raise StoreError(
            "DATABASE_URL: this is no address; allowed is postgresql://USER@HOST/NAME."
        ) from error
    if parsed.drivername in ("postgres", "postgresql"):
        parsed = parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        allowed = "allowed are postgresql:// and sqlite:///"
        raise StoreError(f"DATABASE_URL: {parsed.drivername}:// is not allowed; {allowed}.")
    return parsed
