"""Square: few tokens early, many late (MaskGIT's square)."""

from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return 1 - progress**2
