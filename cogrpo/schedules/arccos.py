"""Arc cosine: almost linear, with larger first and last steps."""

import torch
from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return torch.arccos(progress) * 2 / torch.pi
