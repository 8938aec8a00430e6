"""Who works on a round holds it, gives it back, and stops where another has taken it over."""

from __future__ import annotations

import signal
import threading
from datetime import timedelta
from itertools import count

import pytest
from round_rows import champion
from sqlalchemy import update

from cogrpo.background import undisturbed
from db import rounds
from db.heart import Heart
from db.models import Round, now
from db.session import Store

LEASE, REST = timedelta(milliseconds=300), timedelta(0)


@pytest.fixture
def claim(store: Store) -> rounds.Claim:
    with store.write() as session:
        champion(session)
        rounds.begin(session, "emoji", "asked")
        return rounds.claim(session, "me", LEASE)


def row(store: Store, claim: rounds.Claim) -> Round:
    with store.read() as session:
        return session.get_one(Round, claim.id)


def test_heartbeats_go_on_while_the_body_works(store, claim):
    first = row(store, claim)
    with Heart(store, claim, LEASE, 3, REST):
        for _ in count():
            if row(store, claim).heartbeat_at > first.heartbeat_at + 2 * LEASE:
                break
        with store.write() as session:
            assert rounds.claim(session, "other", LEASE) is None, "it is held long after the first lease"


def test_an_error_is_kept_and_goes_no_further_and_an_interrupt_gives_the_round_back(store, claim):
    with Heart(store, claim, LEASE, 3, REST):
        raise ZeroDivisionError("no disk")
    told = row(store, claim)
    assert (told.attempts, told.owner, told.state) == (1, None, "collecting")
    assert told.error.startswith("Traceback") and "ZeroDivisionError: no disk" in told.error
    with store.write() as session:
        again = rounds.claim(session, "me", timedelta(hours=1))
    with pytest.raises(SystemExit), Heart(store, again, timedelta(hours=1), 3, REST):
        raise SystemExit
    told = row(store, claim)
    assert (told.attempts, told.owner, told.lease_until) == (1, None, None)


@pytest.mark.parametrize("error", [SystemExit, ZeroDivisionError])
def test_an_interrupt_while_the_end_is_written_waits_for_that(store, claim, monkeypatch, error):
    def interrupted(write):
        def writes(*told):
            signal.raise_signal(signal.SIGINT)
            return write(*told)

        return writes

    for name in ("release", "fail"):
        monkeypatch.setattr(rounds, name, interrupted(getattr(rounds, name)))
    with pytest.raises(KeyboardInterrupt), Heart(store, claim, timedelta(hours=1), 3, REST, undisturbed):
        raise error
    assert row(store, claim).owner is None


def test_work_that_another_took_over_is_interrupted_and_writes_nothing(store, claim):
    # Taken over before the first heartbeat, so that the interrupt meets a body that waits, not one that commits.
    with store.write() as session:
        session.execute(update(Round).values(lease_until=now() - LEASE))
        other = rounds.claim(session, "other", timedelta(hours=1))
    assert other.fence == claim.fence + 1
    told = []
    with Heart(store, claim, LEASE, 3, REST) as heart:
        threading.Event().wait(60)  # the first heartbeat finds out, and ends this
        told.append("nobody was told")
    assert heart.lost and not told
    left = row(store, claim)
    assert (left.owner, left.attempts, left.error) == ("other", 0, None)


def test_a_round_that_ended_in_the_body_was_not_taken_over(store, claim):
    with Heart(store, claim, LEASE, 3, REST) as heart:
        with store.write() as session:
            rounds.fail(session, claim.id, claim.fence, "parked", 1, REST)
        for _ in range(50):
            row(store, claim)
    assert not heart.lost and row(store, claim).error == "parked"
