"""Who votes: a pseudonym that a browser or a program keeps, or a login; and what they agreed to.

A pseudonym is a secret: whoever knows it votes as this voter. A page draws 128 random bits. What is asked for without a
pseudonym belongs to one that is told to nobody, so the token of the presentation is the only key to it.
"""

from __future__ import annotations

import re
import secrets

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from db.models import Consent, Presentation, Vote, Voter, now

LICENCE, TERMS = "CC BY 4.0", "1"  # under which votes are released; the version of the terms that say so
UNTOLD, ERASED = "untold:", "erased:"  # the colon keeps them apart from what anybody may send
ALLOWED = re.compile(r"[A-Za-z0-9_.-]{1,56}")


class VoterError(ValueError):
    """A pseudonym or a consent that cannot be used; the message is one sentence."""


def by_pseudonym(session: Session, pseudonym: str) -> Voter:
    """The voter of a pseudonym, made at the first use. Raises VoterError."""
    if not ALLOWED.fullmatch(pseudonym):
        raise VoterError(
            "voter: this is not allowed; allowed are 1 to 56 letters, digits, dots, hyphens and underscores."
        )
    _insert(session, "pseudonym", pseudonym=pseudonym)
    return session.scalars(select(Voter).where(Voter.pseudonym == pseudonym)).one()


def by_login(session: Session, login: str) -> Voter:
    """The voter of an account, made at the first use. login: up to 200 characters."""
    _insert(session, "login", login=login, pseudonym=secrets.token_hex(16))
    return session.scalars(select(Voter).where(Voter.login == login)).one()


def untold(session: Session) -> Voter:
    """A voter whose pseudonym nobody learns."""
    voter = Voter(pseudonym=UNTOLD + secrets.token_hex(16))
    session.add(voter)
    session.flush()
    return voter


def is_untold(voter: Voter) -> bool:
    return voter.pseudonym.startswith(UNTOLD)


def consent(session: Session, voter: Voter) -> Consent | None:
    """The consent to today's terms that holds now. Votes cast meanwhile name it."""
    held = select(Consent).where(Consent.voter_id == voter.id, Consent.withdrawn_at.is_(None))
    return session.scalars(held.where(Consent.version == TERMS).order_by(Consent.id)).first()


def give_consent(session: Session, voter: Voter, version: str) -> Consent:
    """Agree to a version of the terms; twice is once. Raises VoterError for another version than today's."""
    if version != TERMS:
        raise VoterError(
            f"consent: {version[:40]!r} is not allowed; allowed is {TERMS!r}, the version of the terms, or nothing."
        )
    held = consent(session, voter)
    if held is None:
        held = Consent(voter_id=voter.id, version=TERMS, licence=LICENCE)
        session.add(held)
        session.flush()
    return held


def withdraw_consent(session: Session, voter: Voter) -> None:
    """From now on no release may hold a vote of this voter, also not one that was cast under a consent."""
    held = (Consent.voter_id == voter.id, Consent.withdrawn_at.is_(None))
    session.execute(update(Consent).where(*held).values(withdrawn_at=now()))


def erase(session: Session, voter: Voter) -> None:
    """Cut the link between a person and what they did. The rows stay, since rounds have learned from some of them, but
    nothing leads from them to the person, and no later release or round takes them."""
    withdraw_consent(session, voter)
    voter.pseudonym, voter.login, voter.erased_at = ERASED + secrets.token_hex(16), None, now()
    open_ones = (Presentation.voter_id == voter.id, Presentation.used_at.is_(None))
    session.execute(update(Presentation).where(*open_ones).values(expires_at=now()))
    session.execute(update(Vote).where(Vote.voter_id == voter.id).values(note=None))  # in their own words
    session.flush()


def _insert(session: Session, unique: str, **values: str) -> None:
    """Make a row unless there is one; two requests that come at once get the same one."""
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    row = dialect.insert(Voter).values(created_at=now(), **values)
    session.execute(row.on_conflict_do_nothing(index_elements=[unique]))
