"""What makes a process a good neighbour: it is nice, leaves threads to others, pauses when told, ends with its parent.

The parent holds a pipe to the standard input of the process. The pipe's end is the parent's end, however that came
about, kill -9 included; a byte on it says that others come first now, or that they are done.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import torch

NICE = 10
PAUSE, RESUME = b"p", b"r"
SIGNAL = signal.SIGUSR1
ENDS = (signal.SIGINT, signal.SIGTERM)
LOOK = 0.02  # s between two looks at whether a pause is over


def enter(parent: BinaryIO | None, pause: bool) -> None:
    """Be nice, leave a thread to the app (all but one, and at least one), and end in good order where told to.

    parent: the pipe of the process that started this one, if it is to be followed; pause: see `Pauses`.
    """
    os.setpriority(os.PRIO_PROCESS, 0, max(NICE, os.getpriority(os.PRIO_PROCESS, 0)))
    torch.set_num_threads(max(1, torch.get_num_threads() - 1))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    if parent is not None:
        Pauses(parent, pause)


class Pauses:
    """Follows the pipe of a parent. Make it in the main thread, whose work it interrupts between two operations."""

    def __init__(self, pipe: BinaryIO, pause: bool) -> None:
        """pause: whether to heed the bytes; the pipe's end is heeded in any case."""
        self.paused = False
        self._pipe, self._heeds, self._main = pipe, pause, threading.get_ident()
        signal.signal(SIGNAL, self._wait)
        threading.Thread(target=self._follow, daemon=True).start()

    def _follow(self) -> None:
        while told := self._pipe.read(1):
            self.paused = self._heeds and told == PAUSE
            if self.paused:
                signal.pthread_kill(self._main, SIGNAL)
        os._exit(0)  # the parent is gone, and with it whoever could tell this process to end

    def _wait(self, *_: object) -> None:
        while self.paused:
            time.sleep(LOOK)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No pause begins in here and no interrupt lands: a transaction that paused, or that the exception of a signal's
    handler left, would make everybody wait. What came meanwhile comes at the end. For the main thread."""
    late: list[int] = []
    handlers = {name: signal.signal(name, lambda number, _: late.append(number)) for name in ENDS}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {SIGNAL})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        # SIGINT last, and SIGTERM where both came: an interrupt may only say that the round is another worker's now,
        # and a process that goes on after it must still hear SIGTERM.
        for name in reversed(ENDS):
            signal.signal(name, handlers[name])
        if late:
            signal.raise_signal(max(late))
