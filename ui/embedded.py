"""The embedded worker: a child of the app that trains while nobody generates, and ends with the app however that ends.

STUDIO_WORKER: `embedded` (default), `external` (somebody else starts `python worker.py`), or `off`.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cogrpo.background import PAUSE, RESUME

MODES = ("embedded", "external", "off")
PROGRAM = Path(__file__).parents[1] / "worker.py"
LOG = "worker.log"  # in the data folder: what the worker says, and its end where it had none of its own
LOOK = 2.0  # s between two looks at whether it runs
LONGEST = 60.0  # s before one that keeps ending is started again


def mode() -> str:
    """Raises ValueError, in one sentence, for another value than MODES."""
    told = os.environ.get("STUDIO_WORKER") or MODES[0]
    if told not in MODES:
        raise ValueError(f"STUDIO_WORKER: {told!r} is not allowed; allowed are {', '.join(MODES)}.")
    return told


class EmbeddedWorker:
    """Keeps one worker running. Its standard input is the pipe that `cogrpo.background` follows."""

    def __init__(self, data: Path, each_look: Callable[[], None]) -> None:
        """each_look: is called every LOOK seconds, worker or not."""
        self.data, self._each_look = data, each_look
        self.process: subprocess.Popen[bytes] | None = None
        self._decodes, self._lock, self._ended = 0, threading.Lock(), threading.Event()

    def start(self, embedded: bool) -> None:
        """embedded: whether there is a worker, or only the looks."""
        self.data.mkdir(parents=True, exist_ok=True)  # which a store in another place has not made
        if embedded:
            self._spawn()
        threading.Thread(target=self._watch, args=(embedded,), daemon=True).start()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Somebody generates: the worker lets them go first."""
        self._count(1)
        try:
            yield
        finally:
            self._count(-1)

    def stop(self) -> None:
        self._ended.set()
        if self.process is not None:
            self.process.stdin.close()  # its end is the worker's end
            self.process.wait()

    def _spawn(self) -> None:
        with (self.data / LOG).open("ab") as log:
            # In the app's own process group, so that what ends the app from a terminal ends both.
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), "--embedded"],
                stdin=subprocess.PIPE, stdout=log, stderr=log, bufsize=0,
                env={**os.environ, "STUDIO_DATA": str(self.data)},
            )  # fmt: skip
        if self._decodes:
            self._say(PAUSE)

    def _watch(self, embedded: bool) -> None:
        wait = LOOK
        while not self._ended.wait(wait):
            self._each_look()
            running = self.process is not None and self.process.poll() is None
            if embedded and not running:
                with self._lock:
                    self._spawn()
            wait = LOOK if running or not embedded else min(2 * wait, LONGEST)

    def _count(self, change: int) -> None:
        with self._lock:
            before, self._decodes = self._decodes, self._decodes + change
            if bool(before) != bool(self._decodes):
                self._say(PAUSE if self._decodes else RESUME)

    def _say(self, byte: bytes) -> None:
        if self.process is not None:
            with suppress(BrokenPipeError, ValueError):  # it has ended; the next one is told when it starts
                self.process.stdin.write(byte)
