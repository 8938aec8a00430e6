"""Counter-based noise: a draw depends on (seed, step, purpose, position) and on nothing else.

So it does not matter who shares the batch, in which order the rows lie, or how long the other rows are, and
two schedules at one seed are given the same numbers. Philox's raw words are used, because numpy promises
never to change them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

SAMPLE, REMASK, SCHEDULE = 0, 1, 2  # purposes
MOST_SEED = 2**32 - 1


def uniform(seeds: Sequence[int], step: int, purpose: int, count: int) -> Tensor:
    """One number in (0, 1) a row and position, [B, count] float32."""
    # The largest float32 below 1 is kept clear of, so that u * total < total holds after rounding too.
    return torch.from_numpy(np.clip(_doubles(seeds, step, purpose, count), 2.0**-24, 1 - 2.0**-23)).float()


def gumbel(seeds: Sequence[int], step: int, purpose: int, count: int) -> Tensor:
    """Standard Gumbel draws, [B, count] float32."""
    return torch.from_numpy(-np.log(-np.log(_doubles(seeds, step, purpose, count)))).float()


def normal(seeds: Sequence[int], step: int, purpose: int, count: int) -> Tensor:
    """Standard normal draws, [B, count] float64."""
    return torch.special.ndtri(torch.from_numpy(_doubles(seeds, step, purpose, count)))


def _doubles(seeds: Sequence[int], step: int, purpose: int, count: int) -> np.ndarray:
    """Uniform in the open interval (0, 1), [B, count] float64."""
    words = np.stack(
        # The step stands in a higher word of the counter: the streams of two steps never meet.
        [np.random.Philox(key=[seed, purpose], counter=[0, step, 0, 0]).random_raw(count) for seed in seeds]
    )
    return ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
