"""Holds a round while somebody works on it: heartbeats in the background, and what is written when the work ends."""

from __future__ import annotations

import signal
import threading
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import timedelta
from types import TracebackType
from typing import Self

from sqlalchemy.exc import SQLAlchemyError

from db import rounds
from db.models import Round
from db.rounds import Claim, LostLease
from db.session import Store

BEATS = 6  # heartbeats in the time of a lease


class Heart(AbstractContextManager["Heart"]):
    """An error in the body becomes the round's failure with its traceback, and goes no further; an interrupt gives the
    round back and passes. Where another worker has taken the round over, the body is interrupted.
    """

    def __init__(
        self,
        store: Store,
        claim: Claim,
        lease: timedelta,
        attempts: int,
        rest: timedelta,
        undisturbed: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """attempts: after so many failures the round is parked; rest: before it may be claimed again; undisturbed:
        holds interrupts back while the end is written."""
        self.store, self.claim, self.lease = store, claim, lease
        self.attempts, self.rest = attempts, rest
        self.lost, self._undisturbed = False, undisturbed
        self._worker = threading.main_thread().ident
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        # What a shell starts in the background ignores interrupts, unless it asks for them.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        try:
            self._ended.set()
            self._thread.join()
        except KeyboardInterrupt:  # the beat's own, which found out just now, or somebody's
            self._ended.set()
            self._thread.join()
            if not self.lost:
                raise
        round, fence = self.claim.id, self.claim.fence
        if error is None:
            return False
        if self.lost or isinstance(error, LostLease):
            return True  # it is another worker's now; nothing may be written
        try:
            with self._undisturbed(), self.store.write() as session:
                if isinstance(error, Exception):
                    told = "".join(traceback.format_exception(error))
                    rounds.fail(session, round, fence, told, self.attempts, self.rest)
                else:
                    rounds.release(session, round, fence)
        except LostLease:
            self.lost = True
        return isinstance(error, Exception)

    def _beat(self) -> None:
        while not self._ended.wait(self.lease.total_seconds() / BEATS):
            try:
                with self.store.write() as session:
                    rounds.heartbeat(session, self.claim.id, self.claim.fence, self.lease)
            except LostLease:
                self.lost = self._taken_over()
                if self.lost and not self._ended.is_set():
                    signal.pthread_kill(self._worker, signal.SIGINT)
                return
            except SQLAlchemyError:
                continue  # a database that is away for a moment; the lease outlives several beats

    def _taken_over(self) -> bool:
        """Whether another worker claimed the round; else it has just ended, and the body is about to."""
        with self.store.read() as session:
            return session.get_one(Round, self.claim.id).fence != self.claim.fence
