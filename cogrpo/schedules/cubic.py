"""Cubic: one token at a time early, most of them late (MaskGIT's cubic)."""

from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return 1 - progress**3
