"""Square root: many tokens early, few late."""

from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return 1 - progress.sqrt()
