"""Files that no row knows: of a writer that was killed between its file and its commit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from db.models import Artifact
from db.session import Store


@contextmanager
def settled(store: Store) -> Iterator[Session]:
    """A moment in which no writer is between its row and its commit, so a file without a row has none coming."""
    with store.write() as session:
        if store.engine.dialect.name == "postgresql":  # SQLite's writers wait for this one anyway
            session.execute(text("LOCK TABLE artifacts IN SHARE MODE"))
        yield session


def unknown(store: Store, listed: set[str]) -> list[str]:
    """Of files that were listed before, those that no row knows."""
    with settled(store) as session:
        return sorted(listed - set(session.scalars(select(Artifact.sha256))))


def sweep(store: Store) -> None:
    """Take away what crashed processes left: unknown files, dropped ones, unfinished ones.

    The files go while the writers wait, so that none finds its bytes there and loses them a moment later.
    """
    store.artifacts.delete_unfinished()
    listed = set(store.artifacts.listed())
    with settled(store) as session:
        kept = set(session.scalars(select(Artifact.sha256).where(Artifact.dropped_at.is_(None))))
        for sha256 in listed - kept:
            store.artifacts.delete(sha256)
