"""The first step at which two decodes part. `ui/static/parting.js` says the same of what is on screen."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cogrpo.trace import Trace

HIDDEN = -1


@dataclass(frozen=True)
class Parting:
    """What differs after a step. step: from 1; differ: tokens, the sum of the other three."""

    step: int
    differ: int
    only_left: int  # decided on the left and hidden on the right
    only_right: int
    another: int  # decided on both sides, with another token


def first(left: Trace, right: Trace) -> Parting | None:
    """The first step after which any decided token differs, None where none ever does.

    Both traces are of one model and have one number of steps.
    """
    for step in range(left.steps):
        a, b = (
            np.where(trace.kept_step > step, HIDDEN, trace.sampled[step].astype(np.int64))
            for trace in (left, right)
        )
        if differ := int((a != b).sum()):
            only_left, only_right = (
                int(((one != HIDDEN) & (other == HIDDEN)).sum()) for one, other in ((a, b), (b, a))
            )
            return Parting(step + 1, differ, only_left, only_right, differ - only_left - only_right)
    return None
