"""Rounds, from collecting votes to a verdict: the one place that changes a row of `rounds`.

    collecting -> frozen -> training -> candidate -> gated -> promoted | rejected
    failed: parked after several attempts; a person may send it on again

A worker holds a round by a lease and a fence. Every claim raises the fence, and a write with an older one is refused,
so a worker that slept through its lease can spoil nothing. A round that rests in `gated` waits for a person: where none
is asked, its verdict takes it to `gated` and on in one transaction (`db.aliases`).

A vote is used at most once per lineage. It counts as used for a parent where it went into the round that made the
parent, or one of the parent's ancestors. So votes of a rejected, failed or rolled back round are free again, and the
next round takes them with the new ones; but only new ones start it, or one bad round would start itself for ever.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import Select, and_, func, insert, literal, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from db.models import ENDED, Alias, Audit, Checkpoint, Metric, Round, RoundVote, Vote, now
from db.round_votes import takeable

CHAMPION = "champion"
WORKED = ("collecting", "frozen", "training", "candidate")  # states in which a worker has something to do
NEXT = dict(zip(WORKED, (*WORKED[1:], "gated"), strict=True))
Cause = Literal["votes", "timer", "asked"]

_T = Round.__table__


class RoundError(ValueError):
    """What a round does not allow; the message is one sentence."""


class LostLease(RoundError):
    """Another worker has the round now, or it is not in the expected state: stop working on it."""


@dataclass(frozen=True)
class Claim:
    """A round as its worker got it; `fence` is the key to every later write."""

    id: int
    model: str
    state: str
    fence: int
    attempts: int


def due(session: Session, model: str, least_votes: int, every: timedelta | None) -> Cause | None:
    """Why a round should begin now, or None. every: the longest time between two beginnings, None for any."""
    if running(session, model) is not None:
        return None
    if new_votes(session, model) >= least_votes:
        return "votes"
    if every is None:
        return None
    begun = session.scalar(select(func.max(Round.created_at)).where(Round.model == model))
    since = begun or session.scalar(select(func.min(Checkpoint.created_at)).where(Checkpoint.model == model))
    return "timer" if since is not None and now() - since >= every else None


def running(session: Session, model: str) -> int | None:
    """The round of a model that has not ended, if there is one."""
    return session.scalar(select(Round.id).where(Round.model == model, Round.state.not_in(ENDED)))


def new_votes(session: Session, model: str) -> int:
    """How many votes that the next round would take were cast since the last one took its own."""
    champion = session.scalar(_champion(model))
    free = takeable(model, lineage(session, champion)).subquery()
    seen = func.coalesce(Round.frozen_at, Round.ended_at)
    last = session.scalar(select(func.max(seen)).where(Round.model == model))
    asked = select(func.count()).select_from(Vote).join(free, free.c.id == Vote.id)
    return session.scalar(asked if last is None else asked.where(Vote.created_at > last)) or 0


def begin(session: Session, model: str, cause: Cause) -> int:
    """Open a round on the champion, and return its id. Raises RoundError where one is running, or there is no champion.

    Parent and configuration are settled later, by `freeze`.
    """
    champion = session.scalar(_champion(model))
    if champion is None:
        raise RoundError(f"round: {model} has no champion to start from.")
    opened = Round(model=model, cause=cause, config={}, parent_id=champion)
    try:
        with session.begin_nested():
            session.add(opened)
    except IntegrityError:
        raise RoundError(f"round: one of {model} is running; wait until it has ended.") from None
    return opened.id


def claim(session: Session, owner: str, lease: timedelta) -> Claim | None:
    """Take a round that nobody holds, or whose holder let its lease run out; None where there is none."""
    moment, inner = now(), _T.alias()
    # SQLite has no SKIP LOCKED, and SQLAlchemy drops it there without a word. So the outer WHERE asks again.
    found = (
        select(inner.c.id)
        .where(_free(inner, moment))
        .order_by(inner.c.attempts, inner.c.id)
        .limit(1)
        .with_for_update(skip_locked=True)
        .scalar_subquery()
    )
    taken = session.execute(
        update(_T)
        .where(_T.c.id == found, _free(_T, moment))
        .values(owner=owner, lease_until=moment + lease, heartbeat_at=moment, fence=_T.c.fence + 1)
        .returning(_T.c.id, _T.c.model, _T.c.state, _T.c.fence, _T.c.attempts)
    ).first()
    return None if taken is None else Claim(*taken)


def heartbeat(session: Session, round: int, fence: int, lease: timedelta) -> None:
    """Say that the worker is alive. Raises LostLease."""
    moment = now()
    _write(session, round, fence, WORKED, heartbeat_at=moment, lease_until=moment + lease)


def tell(session: Session, round: int, fence: int, progress: dict[str, Any]) -> None:
    """What people are shown meanwhile. Raises LostLease."""
    _write(session, round, fence, WORKED, progress=progress)


def advance(session: Session, round: int, fence: int, state: str, **values: Any) -> None:
    """Take a round from `state` to the next one, with what was found on the way. Raises LostLease."""
    _write(session, round, fence, (state,), state=NEXT[state], **values)


def freeze(session: Session, round: int, fence: int, config: dict[str, Any]) -> int:
    """Settle, in one transaction, what a round learns from: its parent, the configuration, the votes; how many.

    Raises LostLease, and so gives nothing a second time.
    """
    model = session.scalar(select(Round.model).where(Round.id == round))
    champion = session.scalar(_champion(model))
    advance(session, round, fence, "collecting", config=config, parent_id=champion, frozen_at=now())
    votes = takeable(model, lineage(session, champion)).subquery()
    rows = select(literal(round), votes.c.id)
    session.execute(insert(RoundVote).from_select(["round_id", "vote_id"], rows))
    return session.scalar(select(func.count()).where(RoundVote.round_id == round)) or 0


def note(session: Session, round: int, fence: int, step: int, values: dict[str, Any]) -> None:
    """Keep one line of the training, once, however often a resumed run tells it. Raises LostLease."""
    _write(session, round, fence, ("training",), heartbeat_at=now())
    session.merge(Metric(round_id=round, step=step, values=values))


def found(
    session: Session, round: int, fence: int, sha256: str, folder: str, files: dict[str, str] | None = None
) -> int:
    """Training has ended with these weights: the round becomes a candidate. Returns its checkpoint's id."""
    told = session.execute(select(Round.model, Round.parent_id).where(Round.id == round)).one()
    known = select(Checkpoint).where(Checkpoint.model == told.model, Checkpoint.sha256 == sha256)
    weights = session.scalar(known)
    if weights is None:
        weights = Checkpoint(
            model=told.model,
            sha256=sha256,
            parent_id=told.parent_id,
            status="candidate",
            folder=folder,
            files=files,
        )
        session.add(weights)
        session.flush()
    advance(session, round, fence, "training", candidate_id=weights.id)
    return weights.id


def fail(session: Session, round: int, fence: int, error: str, most: int, rest: timedelta) -> bool:
    """Note a failure and give the round back, for a claim after `rest`; whether it is parked, because this was attempt
    number `most`."""
    attempts = session.scalar(select(Round.attempts).where(Round.id == round)) + 1
    values: dict[str, Any] = {
        "attempts": attempts,
        "error": error,
        "owner": None,
        "lease_until": now() + rest,
    }
    if attempts >= most:
        values |= {"state": "failed", "ended_at": now(), "lease_until": None}
    _write(session, round, fence, WORKED, **values)
    return attempts >= most


def release(session: Session, round: int, fence: int) -> None:
    """Give a round back, so that another worker need not wait for the lease to run out."""
    _write(session, round, fence, WORKED, lease_until=None, owner=None)


def retry(session: Session, round: int, actor: str) -> None:
    """Send a parked round on again, from its last checkpoint. Raises RoundError."""
    parked = session.get(Round, round, populate_existing=True)
    if parked is None or parked.state != "failed":
        raise RoundError(f"round: {round} is not parked; allowed are rounds that failed.")
    if parked.parent_id != session.scalar(_champion(parked.model)):
        raise RoundError(f"round: {round} began from another champion than today's; start a new one.")
    state = "candidate" if parked.candidate_id else "frozen" if parked.frozen_at else "collecting"
    try:
        with session.begin_nested():
            parked.state, parked.attempts, parked.ended_at = state, 0, None
    except IntegrityError:
        raise RoundError(f"round: one of {parked.model} is running; wait until it has ended.") from None
    session.add(Audit(actor=actor, action="retry", subject=f"round {round}", details={"state": state}))


def listed(session: Session, most: int = 50) -> list[Round]:
    """The latest rounds, newest first."""
    return list(session.scalars(select(Round).order_by(Round.id.desc()).limit(most)))


def lines(session: Session, round: int) -> list[dict[str, Any]]:
    """The lines of a round's training, in their order."""
    return list(session.scalars(select(Metric.values).where(Metric.round_id == round).order_by(Metric.step)))


def lineage(session: Session, checkpoint: int | None) -> Sequence[int]:
    """The ids of a checkpoint and of all its ancestors."""
    if checkpoint is None:
        return ()
    chain = select(Checkpoint.id, Checkpoint.parent_id).where(Checkpoint.id == checkpoint).cte(recursive=True)
    above = select(Checkpoint.id, Checkpoint.parent_id).join(chain, Checkpoint.id == chain.c.parent_id)
    return session.scalars(select(chain.union(above).c.id)).all()


def _champion(model: str) -> Select[tuple[int]]:
    return select(Alias.checkpoint_id).where(Alias.model == model, Alias.name == CHAMPION)


def _free(table: Any, moment: datetime) -> Any:
    unheld = or_(table.c.lease_until.is_(None), table.c.lease_until < moment)
    return and_(table.c.state.in_(WORKED), unheld)


def _write(session: Session, round: int, fence: int, states: Sequence[str], **values: Any) -> None:
    """Change a round, if it is still held under this fence and in one of these states. Raises LostLease."""
    own = (_T.c.id == round, _T.c.fence == fence, _T.c.state.in_(states))
    if session.execute(update(_T).where(*own).values(**values).returning(_T.c.id)).first() is None:
        told = " or ".join(states)
        raise LostLease(
            f"round: {round} is not held under fence {fence} in the state {told}; nothing was written."
        )
