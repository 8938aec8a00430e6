"""Krippendorff's alpha for nominal data: how far several observers agree beyond chance.

From K. Krippendorff, Computing Krippendorff's alpha-reliability (2011). 1 is full agreement, 0 is what chance gives;
units that only one observer has seen say nothing and count for nothing.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np


def tallied(units: Sequence[Sequence[Hashable]]) -> np.ndarray:
    """How many observers gave which value [units, values], of the units that two or more have seen."""
    seen = [unit for unit in units if len(unit) > 1]
    values = {value: None for unit in seen for value in unit}
    return np.array([[unit.count(value) for value in values] for unit in seen]).reshape(
        len(seen), len(values)
    )


def alpha(counts: np.ndarray, drawn: np.ndarray | None = None) -> np.ndarray:
    """Alpha of counts [U, V]; with `drawn` [B, U], how often each resample holds each unit, B of them.

    NaN where all values are the same one, or nothing was seen twice: then chance alone would agree, too.
    """
    drawn = np.ones(len(counts)) if drawn is None else drawn
    seen = counts.sum(axis=1)
    disagreed = (seen**2 - (counts**2).sum(axis=1)) / (seen - 1)
    totals = drawn @ counts
    number = totals.sum(axis=-1)
    by_chance = (number**2 - (totals**2).sum(axis=-1)).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(by_chance > 0, 1 - (number - 1) * (drawn @ disagreed) / by_chance, np.nan)
