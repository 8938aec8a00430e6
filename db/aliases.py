"""What a name such as `champion` means: changed in one transaction with a row of `audit`, and mirrored to a file.

The method never asks the database. It reads `aliases.json` in the data folder, {model: {alias: sha256}}.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db import checkpoints
from db.models import Alias, Audit, Base, Checkpoint, GateReport, Round, now
from db.round_votes import gate_votes
from db.rounds import CHAMPION, RoundError, advance
from db.session import Store

PREVIOUS, BASELINE = "previous", "baseline"
OURS = (CHAMPION, PREVIOUS, BASELINE)
FILE, LOCK = "aliases.json", ".aliases.lock"
Served = dict[str, dict[str, str]]  # model -> alias -> sha256
Json = dict[str, Any]


def establish(session: Session, model: str, shipped: Mapping[str, str], data: Path, actor: str) -> None:
    """Make rows for the weights that came with the program. shipped: alias -> sha256 of champion and baseline.

    A champion that a round, a person or an older file chose stays; one that was shipped gives way to the one that is
    shipped now. Processes that start together may all call it.
    """
    chosen = _read(data / FILE).get(model, {}).get(CHAMPION)
    for name, sha256 in shipped.items():
        weights = _known(session, model, sha256, "shipped")
        held = session.get(Alias, (model, name))
        if held is None:
            if name == CHAMPION and chosen not in (None, *shipped.values()):
                weights = _known(session, model, chosen, "promoted")
            _insert(session, Alias, ("model", "name"), model=model, name=name, checkpoint_id=weights.id)
        elif held.checkpoint_id != weights.id and held.checkpoint.status == "shipped":
            with suppress(RoundError):  # another process has just done the same
                _move(session, held, weights.id)
                _audit(session, actor, "upgrade", f"{model}:{name}", {"to": sha256})
    session.flush()


def gated(session: Session, round: int, fence: int, passed: bool, verdict: Json, report: Json) -> None:
    """Put a verdict beside a round's candidate. The round then waits for a person, unless `promote` or `reject` follows
    in the same transaction. Raises LostLease."""
    advance(session, round, fence, "candidate", report=report, lease_until=None, owner=None, progress={})
    judge(session, round, passed, verdict)


def judge(session: Session, round: int, passed: bool, verdict: Json) -> None:
    """Put a verdict beside a candidate that waits: the last one counts."""
    session.add(GateReport(round_id=round, passed=passed, verdict=verdict))
    session.flush()


def decide(session: Session, round: int, promotes: bool, held: bool, reason: str, actor: str) -> None:
    """What follows a verdict without asking anybody: promote what passed, reject what did not and is not held.

    promotes: whether it passed and may be served unasked; held: whether a person must look at it.
    """
    if promotes:
        try:
            with session.begin_nested():
                promote(session, round, actor)
        except RoundError as error:  # the champion was changed by hand meanwhile
            reject(session, round, actor, str(error))
    elif not held:
        reject(session, round, actor, reason)


def promote(session: Session, round: int, actor: str) -> str:
    """Serve a round's candidate from now on; returns its sha256.

    Raises RoundError where the round has no verdict, or began from another champion than today's: the gate held its
    candidate against that one.
    """
    judged = _gated(session, round)
    champion = session.get(Alias, (judged.model, CHAMPION), populate_existing=True)
    if champion is None or champion.checkpoint_id != judged.parent_id:
        raise RoundError(f"round: {round} began from another champion than today's; start a new one.")
    candidate = judged.candidate
    _end(session, judged, "promoted")
    _serve(session, champion, candidate.id)
    told = {"round": round, "from": judged.parent.sha256, "to": candidate.sha256}
    _audit(session, actor, "promote", f"{judged.model}:{CHAMPION}", told)
    return candidate.sha256


def reject(session: Session, round: int, actor: str, reason: str) -> None:
    """End a round without serving its candidate. Raises RoundError."""
    judged = _gated(session, round)
    _end(session, judged, "rejected")
    _audit(session, actor, "reject", f"round {round}", {"reason": reason})


def rollback(session: Session, model: str, actor: str) -> str:
    """Serve what was served before the champion; returns its sha256. Raises RoundError where nothing was.

    The votes that went into what is left behind are free again, as it is no ancestor of the champion any more.
    """
    champion = session.get(Alias, (model, CHAMPION), populate_existing=True)
    previous = session.get(Alias, (model, PREVIOUS), populate_existing=True)
    if champion is None or previous is None:
        raise RoundError(f"roll back: nothing was served before the champion of {model}.")
    left, to = champion.checkpoint, previous.checkpoint
    _move(session, champion, to.id)
    if to.parent_id is None:
        session.delete(previous)
    else:
        _move(session, previous, to.parent_id)
    _audit(session, actor, "rollback", f"{model}:{CHAMPION}", {"from": left.sha256, "to": to.sha256})
    return to.sha256


def served(session: Session) -> Served:
    """What every alias means."""
    told: Served = {}
    for model, name, sha256 in session.execute(
        select(Alias.model, Alias.name, Checkpoint.sha256).join(
            Checkpoint, Checkpoint.id == Alias.checkpoint_id
        )
    ):
        told.setdefault(model, {})[name] = sha256
    return told


def verdict(session: Session, round: int) -> Json | None:
    """The last verdict on a round's candidate."""
    found = (
        select(GateReport.verdict).where(GateReport.round_id == round).order_by(GateReport.id.desc()).limit(1)
    )
    return session.scalar(found)


def unheard(session: Session, model: str) -> tuple[int | None, list[tuple[str, str]]]:
    """The round whose candidate waits for a person, and what people said of it, where its verdict has not heard all."""
    waits = session.scalar(select(Round.id).where(Round.model == model, Round.state == "gated"))
    if waits is None:
        return None, []
    votes, told = gate_votes(session, waits), verdict(session, waits) or {}
    heard = told["people"]["votes"] if told.get("people") else 0
    return waits, votes if len(votes) > heard else []


def mirror(store: Store, data: Path) -> bool:
    """Bring the file up to date, after the checkpoints that it names; whether it had to be changed.

    Raises OSError where the folder cannot be written.

    Names that the store does not know stay: somebody wrote them for the command line. It is read under the lock, or an
    old answer could replace a new one.
    """
    checkpoints.bring(store, data)
    path = data / FILE
    with store.read() as session:
        if _merged(path, session) == _read(path):
            return False
    with (data / LOCK).open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with store.read() as session:
            text = json.dumps(_merged(path, session), indent=1, sort_keys=True)
        temporary = data / f".{FILE}.{os.getpid()}"
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    return True


def _merged(path: Path, session: Session) -> Served:
    """Shipped weights have no entry: the program knows its own, and an old file must not hold a newer program back."""
    told, known = _read(path), served(session)
    shipped = set(session.scalars(select(Checkpoint.sha256).where(Checkpoint.status == "shipped")))
    for model, names in known.items():
        others = {name: sha256 for name, sha256 in told.get(model, {}).items() if name not in OURS}
        told[model] = others | {name: sha256 for name, sha256 in names.items() if sha256 not in shipped}
    return {model: names for model, names in told.items() if names}


def _read(path: Path) -> Served:
    """What the file says; a damaged one says nothing, and is written anew."""
    try:
        return {model: dict(names) for model, names in json.loads(path.read_text(encoding="utf-8")).items()}
    except (FileNotFoundError, ValueError, AttributeError, TypeError):
        return {}


def _known(session: Session, model: str, sha256: str, status: str) -> Checkpoint:
    _insert(session, Checkpoint, ("model", "sha256"), model=model, sha256=sha256, status=status)
    known = select(Checkpoint).where(Checkpoint.model == model, Checkpoint.sha256 == sha256)
    return session.scalars(known).one()


def _insert(session: Session, kind: type[Base], unique: Sequence[str], **values: object) -> None:
    """Make a row unless there is one; two processes that come at once get the same one."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    session.execute(dialect.insert(kind).values(**values).on_conflict_do_nothing(index_elements=unique))


def _gated(session: Session, round: int) -> Round:
    judged = session.get(Round, round, populate_existing=True)
    reported = session.scalar(select(GateReport.id).where(GateReport.round_id == round).limit(1))
    if judged is None or judged.state != "gated" or reported is None:
        state = "unknown" if judged is None else judged.state
        raise RoundError(
            f"round: {round} is {state}; allowed are rounds whose gate has judged and that wait."
        )
    return judged


def _end(session: Session, judged: Round, state: str) -> None:
    """Raises RoundError where another process has ended the round meanwhile."""
    table = Round.__table__
    own = (table.c.id == judged.id, table.c.state == "gated")
    values = {"state": state, "ended_at": now()}
    if session.execute(update(table).where(*own).values(**values).returning(table.c.id)).first() is None:
        raise RoundError(f"round: {judged.id} was decided meanwhile.")
    judged.candidate.status = state


def _serve(session: Session, champion: Alias, checkpoint: int) -> None:
    previous = session.get(Alias, (champion.model, PREVIOUS), populate_existing=True)
    if previous is None:
        session.add(Alias(model=champion.model, name=PREVIOUS, checkpoint_id=champion.checkpoint_id))
    else:
        _move(session, previous, champion.checkpoint_id)
    _move(session, champion, checkpoint)


def _move(session: Session, alias: Alias, checkpoint: int) -> None:
    """Raises RoundError where another process has moved the alias since it was read."""
    table = Alias.__table__
    own = (table.c.model == alias.model, table.c.name == alias.name, table.c.fence == alias.fence)
    values = {"checkpoint_id": checkpoint, "fence": alias.fence + 1, "updated_at": now()}
    if session.execute(update(table).where(*own).values(**values).returning(table.c.name)).first() is None:
        raise RoundError(f"alias: {alias.model}:{alias.name} was moved meanwhile; look again.")
    session.expire(alias)


def _audit(session: Session, actor: str, action: str, subject: str, details: dict[str, Any]) -> None:
    session.add(Audit(actor=actor, action=action, subject=subject, details=details))
