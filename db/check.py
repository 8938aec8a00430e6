"""Whether every row's artifacts are there and whole, and every artifact has its row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy import or_, select, text
from sqlalchemy.orm import Session

from db import orphans
from db.artifacts import ArtifactError
from db.models import Artifact, Generation
from db.session import Store


@dataclass(frozen=True)
class Finding:
    """problem: missing, altered, unknown (no row knows the file) or damaged (the database itself)."""

    problem: str
    subject: str  # a hash, or what the database says
    generations: tuple[int, ...] = ()

    def __str__(self) -> str:
        rows = ", ".join(map(str, self.generations))
        return f"{self.problem}: {self.subject}" + (f" of generation {rows}" if rows else "")


def check(store: Store) -> Iterator[Finding]:
    """Reads every artifact once. May run while others write. What retention dropped is no finding."""
    with store.read() as session:
        yield from _damaged(session)
    listed = set(
        store.artifacts.listed()
    )  # before the rows: a file that comes after this is nobody's concern
    unknown = orphans.unknown(store, listed)
    with store.read() as session:
        kept = list(session.scalars(select(Artifact.sha256).where(Artifact.dropped_at.is_(None))))
    for sha256 in kept:
        try:
            store.artifacts.get(sha256)
        except ArtifactError as error:
            with store.read() as session:
                row = session.get(Artifact, sha256)
                if row is not None and row.dropped_at is None:  # not dropped meanwhile
                    yield Finding(error.problem, sha256, _users(session, sha256))
    yield from (Finding("unknown", sha256) for sha256 in unknown)


def _users(session: Session, sha256: str) -> tuple[int, ...]:
    uses = or_(Generation.image_sha256 == sha256, Generation.trace_sha256 == sha256)
    return tuple(session.scalars(select(Generation.id).where(uses).order_by(Generation.id)))


def _damaged(session: Session) -> Iterator[Finding]:
    """What SQLite finds when it checks its own file; PostgreSQL has tools of its own for that."""
    if session.get_bind().dialect.name == "sqlite":
        for (line,) in session.execute(text("PRAGMA integrity_check")):
            if line != "ok":
                yield Finding("damaged", line)
        for row in session.execute(text("PRAGMA foreign_key_check")):
            yield Finding(
                "damaged", f"row {row.rowid} of {row.table} points at a missing row of {row.parent}"
            )
