"""A database that is away for a moment ends nothing, on each kind."""

from __future__ import annotations

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import OperationalError

from db.models import Voter
from db.patience import forever


class Enough(Exception):
    pass


def test_a_database_that_is_away_for_a_moment_is_waited_for(store, capsys):
    answers = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def away(*_):
        if len(answers) == 1:
            raise OperationalError("SELECT", {}, ConnectionError("server closed the\nconnection"))

    def tick():
        if len(answers) == 3:
            raise Enough
        answers.append(None)
        with store.read() as session:
            answers[-1] = session.scalars(select(Voter)).all()

    with pytest.raises(Enough):
        forever(tick, 0)
    assert answers == [None, [], []]
    assert capsys.readouterr().err == "The database is away: server closed the connection\n"
