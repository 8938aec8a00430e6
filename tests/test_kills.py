"""kill -9 of the worker: nothing is lost, nothing is used twice, and the end has the hash of a round nobody killed."""

from __future__ import annotations

import random
import shutil
import signal
import time
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path

import pytest
from sqlalchemy import func, select, update
from test_worker import cast, data, last, make, start  # noqa: F401

from db import rounds
from db.models import Round, RoundVote, now
from db.session import Store

POLL = 0.01  # s between two looks at the store; what is waited for is a state, not a time
LONGEST = 300  # s


def until(store: Store, reached) -> Round:
    """The latest round, once `reached` is true of it."""
    end = time.monotonic() + LONGEST
    while time.monotonic() < end:
        with store.read() as session:
            found = rounds.listed(session, 1)
            if found and reached(found[0]):
                return found[0]
        time.sleep(POLL)
    raise AssertionError(f"not reached within {LONGEST} s: {found and found[0].state}")


def free(store: Store) -> None:
    """A killed worker's lease runs out now, not in a minute."""
    with store.write() as session:
        session.execute(update(Round).where(Round.lease_until.is_not(None)).values(lease_until=now()))


def unkilled(folder: Path) -> str:
    """The hash with which the same round ends where nobody kills it; the folder is as before afterwards."""
    shutil.copytree(folder, folder.with_name("spare"))
    made = make(folder)
    assert made.tick()
    sha256 = made.registry.resolve("champion").sha256
    made.store.close()
    shutil.rmtree(folder)
    folder.with_name("spare").rename(folder)
    return sha256


def finish(folder: Path) -> None:
    done = start(folder, "--once")
    _, error = done.communicate(timeout=LONGEST)
    assert done.returncode == 0, error


def at(row: Round, owner: int, state: str) -> bool:
    """Whether a process has taken a round to a state, or there is nothing left to do."""
    if row.state not in rounds.WORKED:
        return True
    mine = (row.owner or "").endswith(f":{owner}")
    return mine and rounds.WORKED.index(row.state) >= rounds.WORKED.index(state)


def kill(process) -> None:
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture
def voted(data) -> Iterator[tuple[Path, Store, list[int]]]:  # noqa: F811
    made = make(data)
    yield data, made.store, cast(made.store)
    made.store.close()


def check(store: Store, ids: list[int], sha256: str, registry) -> None:
    row = last(store)
    assert (row.state, row.attempts) == ("promoted", 0), row.error
    assert registry.resolve("champion").sha256 == sha256
    with store.read() as session:
        assert list(session.scalars(select(RoundVote.vote_id).order_by(RoundVote.vote_id))) == ids
        assert session.scalar(select(func.count()).select_from(Round)) == 1


def campaign(voted, seed: int, kills: int, states: tuple[str, ...]) -> None:
    """Kill the worker that often, each time at a random moment after it has reached the next of `states`."""
    folder, store, ids = voted
    store.close()
    sha256, chance = unkilled(folder), random.Random(seed)
    store = Store.open(folder)
    print(f"seed {seed}")
    for state in islice(cycle(states), kills):
        working = start(folder, "--once")
        until(store, lambda row, owner=working.pid, state=state: at(row, owner, state))
        time.sleep(chance.uniform(0, 0.5))
        kill(working)
        free(store)
    if last(store).ended_at is None:
        finish(folder)
    check(store, ids, sha256, make(folder).registry)
    store.close()


def test_a_worker_that_is_killed_in_training_loses_nothing(voted):
    campaign(voted, random.randrange(2**32), 1, ("training",))


@pytest.mark.slow
def test_a_worker_that_is_killed_in_every_state_and_ten_times_in_training_loses_nothing(voted):
    campaign(voted, random.randrange(2**32), 14, (*rounds.WORKED, *["training"] * 10))
