"""Cosine: few tokens early, many late; the usual choice."""

import torch
from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return torch.cos(progress * torch.pi / 2)
