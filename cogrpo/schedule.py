"""A schedule: `steps` x 4 numbers that say how a decode proceeds.

Columns, in this order everywhere: re-mask ratio r, sampling temperature tau_s, re-mask temperature tau_r,
guidance scale s (1 is no guidance, 0 is unconditional).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

COLUMNS = ("remask_ratio", "sampling_temperature", "remask_temperature", "guidance_scale")
RANGES = {
    "remask_ratio": (0.0, 1.0),
    "sampling_temperature": (0.05, 5.0),
    "remask_temperature": (0.0, 20.0),
    "guidance_scale": (0.0, 20.0),
}
MOST_STEPS = 64


class ScheduleError(ValueError):
    """A schedule that cannot be used; the message is one sentence with the field and its allowed range."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The table of one decode. Raises ScheduleError where a number is outside RANGES."""

    name: str
    table: Tensor  # [T, 4] float32
    interpolated: bool = False  # whether the table was made for another number of steps

    def __post_init__(self) -> None:
        table = torch.as_tensor(self.table, dtype=torch.float32)
        if table.ndim != 2 or table.shape[1] != len(COLUMNS):
            shape = " x ".join(map(str, table.shape))
            raise ScheduleError(f"schedule: the table is {shape}; it must have one row a step and 4 columns.")
        check_steps(len(table))
        _check_ranges(table)
        object.__setattr__(self, "table", table)

    @property
    def steps(self) -> int:
        return len(self.table)

    def with_guidance(self, scale: float) -> Schedule:
        """The same schedule with one guidance scale in every step."""
        table = self.table.clone()
        table[:, 3] = scale
        return replace(self, table=table)

    def resampled(self, steps: int) -> Schedule:
        """The same curves for another number of steps, linear in progress (t + 1) / T; r begins at 1."""
        check_steps(steps)
        if steps == self.steps:
            return self
        knots, wanted = _progress(self.steps), _progress(steps)
        table = self.table.double().numpy()
        columns = [np.interp(wanted, np.append(0.0, knots), np.append(1.0, table[:, 0]))]
        columns += [np.interp(wanted, knots, table[:, column]) for column in (1, 2, 3)]
        return Schedule(self.name, torch.from_numpy(np.stack(columns, axis=1)), interpolated=True)


def handmade(name: str, rows: Sequence[Sequence[float]] | Tensor) -> Schedule:
    """A schedule that a person or a predefined function made: its r may not rise."""
    schedule = Schedule(name, torch.as_tensor(rows, dtype=torch.float32))
    rises = (schedule.table[:, 0].diff() > 1e-6).nonzero()
    if len(rises):
        raise ScheduleError(f"remask_ratio: row {int(rises[0]) + 2} rises; allowed is 0 to 1, never rising.")
    return schedule


def check_steps(steps: int) -> None:
    if not 1 <= steps <= MOST_STEPS:
        raise ScheduleError(f"steps: {steps} is not allowed; allowed are whole numbers 1 to {MOST_STEPS}.")


def _progress(steps: int) -> np.ndarray:
    return np.arange(1, steps + 1) / steps


def _check_ranges(table: Tensor) -> None:
    for column, (name, (low, high)) in enumerate(RANGES.items()):
        # Half a float32 step of slack, so that .05 written as float32 is not below .05.
        inside = (table[:, column] >= low - 1e-7) & (table[:, column] <= high + 1e-7)  # false for NaN too
        if not inside.all():
            row = int((~inside).nonzero()[0])
            value = float(table[row, column])
            where = f"{name}: {value:g} in row {row + 1}"
            raise ScheduleError(f"{where} is not allowed; allowed is {low:g} to {high:g}.")
