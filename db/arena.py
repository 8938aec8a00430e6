"""What was shown to whom, and what they said of it.

A presentation binds two pictures (a pair) or four (a ranking) to one voter. Its token admits one vote, once, until it
expires; a rating needs none, as it is bound to a picture, and the last one by the same voter counts. A vote is stored
when the caller's transaction has committed: only then may anybody be told so, or be told what was hidden.
"""

from __future__ import annotations

import random
import re
import secrets
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from db import generations, voters
from db.models import AXES, OUTCOMES, Generation, Presentation, PresentationItem, Vote, Voter, now

KINDS = {2: "pair", 4: "ranking"}  # by the number of pictures
LIFETIME = timedelta(hours=24)
LEAST_DWELL = 300  # ms; nobody compares two pictures in less
SAME_SIDE = 10  # outcomes in a row on one side that somebody should look at
LONGEST_NOTE = 2000  # characters
MOST_MARKS, MOST_TOKEN = 4096, 4095
LONGEST_DWELL = 24 * 3600 * 1000  # ms


class ArenaError(ValueError):
    """A vote or a presentation that is not allowed; the message is one sentence."""


@dataclass(frozen=True)
class Said:
    """What a person said of a presentation: of a pair an outcome, of four pictures an order."""

    outcome: Any = None  # left, right, tie or bad
    ranking: Any = None  # all positions, from best to worst
    marked: Any = None  # position -> the tokens that look bad
    missing: Any = None  # words of the prompt that no picture shows
    dwell_ms: Any = None  # from the moment at which all pictures were visible


def present(
    session: Session,
    voter: Voter,
    pictures: Sequence[Generation],
    purpose: str,
    probability: float,
    seed: int | None = None,
    round_id: int | None = None,
    mirror_of: Presentation | None = None,
    lifetime: timedelta = LIFETIME,
) -> Presentation:
    """Show pictures of one prompt to a voter, in the order that the seed decides.

    probability: in (0, 1], with which this was chosen among what could have been shown for the prompt. Of a pair with
    the purpose `gold`, the first picture is the one that is known to be better: `better_place` finds it again.
    Raises ArenaError for another number of pictures than 2 or 4, or for pictures of several prompts.
    """
    kind = KINDS.get(len(pictures))
    if kind is None:
        raise ArenaError(f"presentation: {len(pictures)} pictures are not allowed; allowed are 2 or 4.")
    if len({picture.prompt_id for picture in pictures}) != 1:
        raise ArenaError("presentation: the pictures are of several prompts; allowed is one.")
    seed = secrets.randbits(63) if seed is None else seed
    shown = Presentation(
        token=secrets.token_urlsafe(32),
        kind=kind,
        purpose=purpose,
        voter_id=voter.id,
        prompt_id=pictures[0].prompt_id,
        round_id=round_id,
        mirror_of_id=None if mirror_of is None else mirror_of.id,
        seed=seed,
        probability=probability,
        expires_at=now() + lifetime,
        items=[
            PresentationItem(position=position, generation=pictures[place])
            for position, place in enumerate(order(seed, len(pictures)))
        ],
    )
    session.add(shown)
    session.flush()
    return shown


def order(seed: int, count: int) -> list[int]:
    """Which of the pictures stands at position 0, 1, ..."""
    draws = random.Random(seed)
    keys = [draws.random() for _ in range(count)]  # the one draw that every Python makes alike
    return sorted(range(count), key=keys.__getitem__)


def better_place(seed: int) -> int:
    """Of a gold pair shown under this seed, the position of the picture that is known to be better."""
    return order(seed, 2).index(0)


def waiting(session: Session, voter: Voter) -> Presentation | None:
    """The pair that was shown to a voter last and still waits for a vote: what a page shows after a reload."""
    of_voter = (Presentation.voter_id == voter.id, Presentation.kind == "pair")
    still = (Presentation.used_at.is_(None), Presentation.expires_at > now())
    found = select(Presentation).where(*of_voter, *still).order_by(Presentation.id.desc()).limit(1)
    return session.scalars(found).first()


def cast(session: Session, token: Any, voter: Voter | None, said: Said) -> Vote:
    """Store what a voter said of a presentation. voter: None where the presentation was made for nobody in particular.

    Raises ArenaError; nothing is stored then, and the token stays as it was.
    """
    shown = _bound(session, token, voter)
    checked = _checked(shown, said)
    table, moment = Presentation.__table__, now()
    # The one place that decides between two requests at the same moment.
    free = (table.c.id == shown.id, table.c.used_at.is_(None), table.c.expires_at > moment)
    if (
        session.execute(update(table).where(*free).values(used_at=moment).returning(table.c.id)).first()
        is None
    ):
        session.refresh(shown)
        if shown.used_at is not None:
            raise ArenaError("presentation: it has its vote already; ask for another one.")
        raise ArenaError(
            f"presentation: it expired at {shown.expires_at:%Y-%m-%d %H:%M} UTC; ask for another one."
        )
    held = voters.consent(session, session.get_one(Voter, shown.voter_id))
    reason = _doubt(session, shown.voter_id, checked)
    vote = Vote(
        kind=shown.kind,
        voter_id=shown.voter_id,
        presentation=shown,
        consent_id=None if held is None else held.id,
        validity="suspicious" if reason else "unchecked",
        reason=reason,
        **checked,
    )
    session.add(vote)
    session.flush()
    return vote


def rate(
    session: Session, generation_id: Any, voter: Voter, ratings: Mapping[str, Any], note: Any = None
) -> Vote:
    """Store a rating of one picture; an earlier one by the same voter no longer counts, but stays.

    ratings: 1 to 7 for some of alignment, fidelity, overall. Raises ArenaError.
    """
    picture = generations.find(session, generation_id) if _whole(generation_id, 1, 2**31 - 1) else None
    if picture is None:
        raise ArenaError("rating: this picture is unknown; allowed are pictures that are kept here.")
    unknown = sorted(set(ratings) - set(AXES))
    if unknown:
        raise ArenaError(f"rating: {unknown[0][:40]!r} is no axis; allowed are {', '.join(AXES)}.")
    given = {axis: value for axis, value in ratings.items() if value is not None}
    for axis, value in given.items():
        if not _whole(value, 1, 7):
            raise ArenaError(
                f"{axis}: {str(value)[:40]} is not allowed; allowed are whole numbers from 1 to 7."
            )
    note = _note(note)
    if not given and note is None:
        raise ArenaError("rating: it is empty; give at least one number or a note.")
    # Two ratings at once would both find nothing to replace; the lock on their voter makes one wait (SQLite's writers
    # wait for each other anyway).
    session.execute(select(Voter.id).where(Voter.id == voter.id).with_for_update())
    earlier = (Vote.voter_id == voter.id, Vote.generation_id == picture.id, Vote.superseded_at.is_(None))
    session.execute(update(Vote).where(*earlier).values(superseded_at=now()))
    held = voters.consent(session, voter)
    consent_id = None if held is None else held.id
    vote = Vote(
        kind="rating", voter_id=voter.id, generation_id=picture.id, note=note, consent_id=consent_id, **given
    )
    session.add(vote)
    session.flush()
    return vote


def shown_with(session: Session, token: Any) -> Presentation:
    """The presentation of a token, whoever asks. Raises ArenaError."""
    text = token if isinstance(token, str) and token.isascii() and token.isprintable() else ""
    found = session.scalars(select(Presentation).where(Presentation.token == text)).first()
    if found is None:
        raise ArenaError("presentation: this token is unknown; ask for a pair first.")
    return found


def _bound(session: Session, token: Any, voter: Voter | None) -> Presentation:
    shown = shown_with(session, token)
    owner = session.get_one(Voter, shown.voter_id)
    if voter is None and not voters.is_untold(owner):
        raise ArenaError("presentation: it was shown to a voter; name the voter to whom it was shown.")
    if voter is not None and voter.id != owner.id:
        raise ArenaError("presentation: it was shown to another voter; ask for one of your own.")
    return shown


def _checked(shown: Presentation, said: Said) -> dict[str, Any]:
    """The columns of the vote. Raises ArenaError."""
    count = len(shown.items)
    if shown.kind == "pair":
        if said.outcome not in OUTCOMES or said.ranking is not None:
            told = f"{str(said.outcome)[:40]!r} is not allowed"
            raise ArenaError(f"outcome: {told}; allowed are {', '.join(OUTCOMES)} for a pair.")
        ranking = None
    else:
        numbers = said.ranking if isinstance(said.ranking, Sequence) else ()
        if said.outcome is not None or not all(_whole(n, 0, count - 1) for n in numbers):
            numbers = ()
        ranking = list(numbers)
        if sorted(ranking) != list(range(count)):
            raise ArenaError(
                f"ranking: this is not allowed; allowed is each of 0 to {count - 1} once, best first."
            )
    dwell = said.dwell_ms
    if dwell is not None and not _whole(dwell, 0, LONGEST_DWELL):
        raise ArenaError("dwell_ms: this is not allowed; allowed are whole milliseconds from 0 to one day.")
    columns = {
        "outcome": said.outcome,
        "ranking": ranking,
        "marked": _marked(said.marked, count),
        "missing": _missing(said.missing, shown.prompt.text),
        "dwell_ms": dwell,
    }
    return {name: value for name, value in columns.items() if value is not None}


def _marked(marked: Any, count: int) -> dict[str, list[int]] | None:
    if not marked:
        return None
    allowed = f"allowed are lists of tokens from 0 to {MOST_TOKEN} for the positions 0 to {count - 1}."
    places = {str(position) for position in range(count)}
    if not isinstance(marked, Mapping) or not places.issuperset(map(str, marked)):
        raise ArenaError(f"marked: this is not allowed; {allowed}")
    told = {}
    for position, tokens in marked.items():
        is_list = isinstance(tokens, Sequence) and not isinstance(tokens, str) and len(tokens) <= MOST_MARKS
        if not is_list or not all(_whole(token, 0, MOST_TOKEN) for token in tokens):
            raise ArenaError(f"marked: this is not allowed; {allowed}")
        told[str(position)] = sorted(set(tokens))
    return told


def _missing(missing: Any, prompt: str) -> list[str] | None:
    if not missing:
        return None
    words = set(re.findall(r"\w+", prompt.casefold()))
    is_list = isinstance(missing, Sequence) and not isinstance(missing, str)
    if not is_list or not all(isinstance(word, str) and word.casefold() in words for word in missing):
        raise ArenaError("missing: this is not allowed; allowed is a list of words of the prompt.")
    return sorted({word.casefold() for word in missing})


def _note(note: Any) -> str | None:
    if note is None or note == "":
        return None
    allowed = f"allowed are up to {LONGEST_NOTE} printable characters."
    if not isinstance(note, str):
        raise ArenaError(f"note: this is not text; {allowed}")
    if len(note) > LONGEST_NOTE:
        raise ArenaError(f"note: it has {len(note)} characters; {allowed}")
    if any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\t\r\n" for c in note):
        raise ArenaError(f"note: it holds a control character; {allowed}")
    return note.strip() or None


def _doubt(session: Session, voter_id: int, checked: Mapping[str, Any]) -> str | None:
    """Why somebody should look at this vote, or None. It is kept like any other; docs/api.md has the rules."""
    reasons = []
    dwell, side = checked.get("dwell_ms"), checked.get("outcome")
    if dwell is not None and dwell < LEAST_DWELL:
        reasons.append(f"dwell: {dwell} ms is less than {LEAST_DWELL}")
    if side in ("left", "right"):
        before = select(Vote.outcome).where(Vote.voter_id == voter_id, Vote.kind == "pair")
        last = session.scalars(before.order_by(Vote.id.desc()).limit(SAME_SIDE - 1)).all()
        if len(last) == SAME_SIDE - 1 and set(last) == {side}:
            reasons.append(f"side: {SAME_SIDE} outcomes in a row were {side}")
    return "; ".join(reasons) or None


def _whole(value: Any, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high
