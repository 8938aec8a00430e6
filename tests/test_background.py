"""A transaction is left neither by a pause nor by an interrupt: what came meanwhile comes at its end."""

from __future__ import annotations

import signal

import pytest

from cogrpo.background import undisturbed


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM])
def interrupt(request):
    def raises(number, _):
        raise KeyboardInterrupt(number)

    before = signal.signal(request.param, raises)
    yield request.param
    signal.signal(request.param, before)


def test_an_interrupt_waits_for_the_end_and_comes_once(interrupt):
    done = []
    with pytest.raises(KeyboardInterrupt), undisturbed():
        signal.raise_signal(interrupt)
        signal.raise_signal(interrupt)
        done.append("body")
    assert done == ["body"]
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(interrupt)


def test_where_both_came_the_process_ends():
    def ends(*_):
        raise SystemExit

    before = signal.signal(signal.SIGTERM, ends)
    try:
        with pytest.raises(SystemExit), undisturbed():
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGTERM) is ends
    finally:
        signal.signal(signal.SIGTERM, before)


def test_an_error_of_the_body_is_told_where_nobody_interrupts():
    with pytest.raises(ZeroDivisionError), undisturbed():
        raise ZeroDivisionError
