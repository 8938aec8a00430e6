"""What the app keeps of what it paints: rows in the store and files under their hashes.

Where the store cannot be opened or written, pictures are painted all the same, and `problem` says why none is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from cogrpo.engine import Generation
from cogrpo.recipe import write_png
from db import generations, voters
from db.artifacts import ArtifactError
from db.models import Artifact, Voter
from db.retention import Retention, limits_from_settings
from db.session import Store, StoreError

SUFFIXES = {"image": "png", "trace": "trace", "shared": "shared.trace", "gif": "gif"}


@dataclass(frozen=True)
class Kept:
    """A picture that the store holds. addresses: kind -> where the page finds the file."""

    generation: int
    addresses: Mapping[str, str]


class Records:
    """The store as the face uses it; safe to share between threads."""

    def __init__(self, store: Store | None, problem: str | None = None) -> None:
        """store: None where there is none; problem: why."""
        self.store, self.problem = store, problem
        self.retention = None if store is None else Retention(store, limits_from_settings())

    @staticmethod
    def open(data: Path) -> Records:
        """Raises StoreError for a setting that cannot be used, not for a place that cannot be written."""
        limits_from_settings()
        try:
            return Records(Store.open(data))
        except StoreError as error:
            return Records(None, str(error))

    def keep(
        self,
        generation: Generation,
        source: str,
        pseudonym: str = "",
        scores: Mapping[str, Any] | None = None,
        more: Mapping[str, bytes] | None = None,
    ) -> Kept | None:
        """Record a finished decode; None where it cannot be kept. more: kind -> what was derived from its trace."""
        if self.store is None:
            return None
        try:
            with self.store.write() as session:
                row = self.record(session, generation, source, _voter(session, pseudonym), scores)
                hashes = {"image": row.image_sha256, "trace": row.trace_sha256}
                for kind, data in (more or {}).items():
                    hashes[kind] = self.store.artifacts.put(session, data, kind)
                number = row.id
            self.retention.tidy()
        except (OSError, SQLAlchemyError, StoreError) as error:
            self.problem = _sentence(error)
            return None
        self.problem = None
        return Kept(number, {kind: f"files/{sha256}.{SUFFIXES[kind]}" for kind, sha256 in hashes.items()})

    def record(
        self,
        session: Session,
        generation: Generation,
        source: str,
        voter: Voter | None,
        scores: Mapping[str, Any] | None = None,
    ) -> generations.Generation:
        """The row of a finished decode. source: page, api or pair. Raises OSError."""
        return generations.record(
            session,
            self.store.artifacts,
            generation.recipe.model_dump(mode="json"),
            write_png(generation.image, generation.recipe),
            generation.trace.to_bytes(),
            generation.trace.image_sha256,
            source,
            voter,
            round(generation.milliseconds, 1),
            scores,
        )

    def file(self, name: str) -> bytes | None:
        """The bytes at `files/<name>`, or None where there are none."""
        sha256, _, suffix = name.partition(".")
        with self.reading() as session:
            row = session.get(Artifact, sha256)
            if row is None or row.dropped_at is not None or SUFFIXES.get(row.kind) != suffix:
                return None
        try:
            return self.store.artifacts.get(sha256)
        except ArtifactError:
            return None

    @contextmanager
    def reading(self) -> Iterator[Session]:
        """Raises StoreError where there is no store."""
        with self._opened().read() as session:
            yield session

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """One transaction. Raises StoreError, in one sentence, where nothing can be written."""
        try:
            with self._opened().write() as session:
                yield session
        except (OSError, SQLAlchemyError) as error:
            raise StoreError(_sentence(error)) from error

    def _opened(self) -> Store:
        if self.store is None:
            raise StoreError(self.problem)
        return self.store


def _voter(session: Session, pseudonym: str) -> Voter | None:
    """Of a page that has drawn a pseudonym; what no page would send belongs to nobody."""
    return voters.by_pseudonym(session, pseudonym) if voters.ALLOWED.fullmatch(pseudonym or "") else None


def _sentence(error: Exception) -> str:
    reason = " ".join(str(getattr(error, "orig", None) or error).split()).rstrip(".")
    return f"STUDIO_DATA: the store cannot be written ({reason}); allowed is a place that this program may write."
