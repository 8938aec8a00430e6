"""Keeps the artifacts below a size. The rows stay, and with them the recipes that paint the pictures again.

What goes first: what can be derived (shared traces, animations) and deleted pictures; then pictures that belong to
nobody's history; then those that do; among these the oldest. What never goes: what is younger than an hour, since a
page may still offer it; what a vote, an open or used presentation or a round rests on; whatever is no generation's.
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, CompoundSelect, and_, or_, select, union, update
from sqlalchemy.orm import Session, aliased

from db import orphans
from db.models import Artifact, Generation, Presentation, PresentationItem, Vote, now
from db.session import Store, StoreError

GIGABYTE = 10**9  # bytes
DEFAULT = "2"
DERIVED = ("shared", "gif")  # kinds that are made from a trace
YOUNG = timedelta(hours=1)
PAUSE = timedelta(minutes=10)  # between two looks at the sizes
BATCH = 500  # rows of one statement

FIRST, NOBODYS, HISTORY, NEVER = range(4)  # the order of going


@dataclass(frozen=True)
class Limits:
    """Bytes to keep: of all artifacts together, and of single kinds."""

    total: float = math.inf
    kinds: Mapping[str, float] = field(default_factory=dict)


class Retention:
    """Call `tidy` after something was kept; it looks every ten minutes at most."""

    def __init__(self, store: Store, limits: Limits) -> None:
        self.store, self.limits = store, limits
        self._next: datetime | None = None

    def tidy(self, moment: datetime | None = None) -> None:
        """Drop what is beyond the limits. The first call also sweeps up after processes that were killed."""
        moment = moment or now()
        if self._next is None:
            orphans.sweep(self.store)
        elif moment < self._next:
            return
        self._next = moment + PAUSE
        with self.store.read() as session:  # takes a while; nobody has to wait for it
            doomed = excess(session, self.limits, moment)
        with self.store.write() as session:
            for some in _batches(doomed):
                still = _locked(session, some, _may_go(moment))  # somebody may have voted meanwhile
                rows = update(Artifact).where(Artifact.sha256.in_(still))
                session.execute(rows.values(dropped_at=moment))
        # Files after the commit: a row that promises a file which is gone would be a loss; a file too many is none.
        for some in _batches(doomed):
            with self.store.write() as session:
                for sha256 in _locked(session, some, Artifact.dropped_at.is_not(None)):
                    self.store.artifacts.delete(sha256)


def _locked(session: Session, hashes: list[str], condition: ColumnElement[bool]) -> Sequence[str]:
    """Those of which it holds, and which no writer is bringing back at this moment."""
    rows = select(Artifact.sha256).where(Artifact.sha256.in_(hashes), condition)
    return session.scalars(rows.with_for_update(skip_locked=True)).all()


def excess(session: Session, limits: Limits, moment: datetime) -> list[str]:
    """The hashes of what has to go, in the order in which it goes."""
    kept = {
        row.sha256: row
        for row in session.execute(
            select(Artifact.sha256, Artifact.kind, Artifact.size, Artifact.created_at).where(
                Artifact.dropped_at.is_(None)
            )
        )
    }
    sizes: Counter[str] = Counter()
    for row in kept.values():
        sizes[row.kind] += row.size
    if sizes.total() <= limits.total and all(sizes[kind] <= most for kind, most in limits.kinds.items()):
        return []
    ranks = _ranks(session, moment)
    order = []
    for sha256, row in kept.items():
        rank, used = ranks.get(sha256, (FIRST if row.kind in DERIVED else NEVER, row.created_at))
        last = max(used, row.created_at)
        if rank < NEVER and moment - last >= YOUNG:
            order.append((rank, last, sha256))
    doomed = []
    for _, _, sha256 in sorted(order):
        kind, size = kept[sha256].kind, kept[sha256].size
        if sizes.total() > limits.total or sizes[kind] > limits.kinds.get(kind, math.inf):
            doomed.append(sha256)
            sizes[kind] -= size
    return doomed


def _needed(moment: datetime) -> CompoundSelect[tuple[int]]:
    """The generations that a vote or a presentation rests on."""
    shown = select(PresentationItem.generation_id).join(Presentation)
    return union(
        select(Vote.generation_id).where(Vote.generation_id.is_not(None)),
        shown.where(or_(Presentation.used_at.is_not(None), Presentation.expires_at > moment)),
    )


def _may_go(moment: datetime) -> ColumnElement[bool]:
    """Of an artifact: neither young nor needed."""
    needed = Generation.id.in_(_needed(moment))
    return and_(
        Artifact.created_at <= moment - YOUNG,
        Artifact.sha256.not_in(select(Generation.image_sha256).where(needed)),
        Artifact.sha256.not_in(select(Generation.trace_sha256).where(needed)),
    )


def _ranks(session: Session, moment: datetime) -> dict[str, tuple[int, datetime]]:
    """Of each generation's artifacts: when it may go, and when it was last made. The most protected user counts."""
    protected = set(session.scalars(_needed(moment)))
    ranks: dict[str, tuple[int, datetime]] = {}
    image, trace = aliased(Artifact), aliased(Artifact)
    made = (
        select(
            Generation.id, Generation.source, Generation.voter_id, Generation.deleted_at, Generation.created_at,
            Generation.image_sha256, Generation.trace_sha256,
        )
        .join(image, image.sha256 == Generation.image_sha256)
        .join(trace, trace.sha256 == Generation.trace_sha256)
        .where(or_(image.dropped_at.is_(None), trace.dropped_at.is_(None)))
    )  # fmt: skip
    for row in session.execute(made):
        if row.id in protected or row.source == "round":
            rank = NEVER
        elif row.deleted_at is not None:
            rank = FIRST
        else:
            rank = NOBODYS if row.voter_id is None else HISTORY
        for sha256 in (row.image_sha256, row.trace_sha256):
            before = ranks.get(sha256, (FIRST, row.created_at))
            ranks[sha256] = max(before[0], rank), max(before[1], row.created_at)
    return ranks


def limits_from_settings() -> Limits:
    """STUDIO_KEEP: GB in all (2 unless set), GB of a kind (`trace=1`), or both with commas. Raises StoreError."""
    text = os.environ.get("STUDIO_KEEP", DEFAULT)
    total, kinds = math.inf, {}
    for part in text.split(","):
        kind, is_kind, number = part.rpartition("=")
        try:
            size = float(number)
        except ValueError:
            size = math.nan
        if not 0 <= size < math.inf or (is_kind and not kind.strip().isalpha()):
            allowed = "allowed is a number of GB from 0, for all or as KIND=GB, with commas between"
            raise StoreError(f"STUDIO_KEEP: {text!r} is not allowed; {allowed}.")
        if is_kind:
            kinds[kind.strip()] = size * GIGABYTE
        else:
            total = size * GIGABYTE
    return Limits(total, kinds)


def _batches(hashes: list[str]) -> list[list[str]]:
    return [hashes[start : start + BATCH] for start in range(0, len(hashes), BATCH)]
