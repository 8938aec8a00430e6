"""Keeps the folder of finished decodes below a size: the oldest files go first, young ones never."""

from __future__ import annotations

import math
import os
import time
from pathlib import Path

GIGABYTE = 10**9  # bytes
YOUNG = 3600  # s; a page may still offer such a file, or somebody is writing it
PAUSE = 600  # s between two looks at the folder


class Retention:
    """Call `tidy` after each decode; it looks at the folder every ten minutes at most."""

    def __init__(self, folder: Path, limit: int) -> None:
        """limit: bytes."""
        self.folder, self.limit = folder, limit
        self._next = -math.inf

    def tidy(self, now: float | None = None) -> None:
        """Delete the oldest files beyond the limit. now: seconds since 1970, as in the files' times."""
        now = time.time() if now is None else now
        if now < self._next:
            return
        self._next = now + PAUSE
        told = []
        for path in self.folder.iterdir():
            try:
                told.append((path.stat(), path))
            except FileNotFoundError:  # a temporary file that has got its name meanwhile
                continue
        size = sum(stat.st_size for stat, _ in told)
        for stat, path in sorted(told, key=lambda item: item[0].st_mtime):
            if size <= self.limit or now - stat.st_mtime < YOUNG:
                return
            path.unlink(missing_ok=True)
            size -= stat.st_size


def limit_from_settings() -> int:
    """STUDIO_KEEP (GB, 2 unless set) in bytes. Raises ValueError, in one sentence, where it is no such number."""
    text = os.environ.get("STUDIO_KEEP", "2")
    try:
        gigabytes = float(text)
    except ValueError:
        gigabytes = math.nan
    if not 0 <= gigabytes < math.inf:
        raise ValueError(f"STUDIO_KEEP: {text!r} is not allowed; allowed is a number of GB from 0.")
    return int(gigabytes * GIGABYTE)
