"""Linear: the same number of tokens in every step."""

from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return 1 - progress
