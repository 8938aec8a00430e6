"""Goes on through times in which the database is away: it restarts, or the way to it is cut."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Never

from sqlalchemy.exc import OperationalError


def forever(tick: Callable[[], object], rest: float) -> Never:
    """Call `tick` again and again; rest: s between two calls. Raises what `tick` raises, but not that the database is
    away: that is said on the standard error."""
    while True:
        try:
            tick()
        except OperationalError as error:
            print(f"The database is away: {' '.join(str(error.orig).split())}", file=sys.stderr, flush=True)
        time.sleep(rest)
