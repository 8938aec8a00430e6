"""Meissonic: that model's own rule, a cosine whose re-mask temperature falls from 2 to 0."""

import torch
from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    return torch.cos(progress * torch.pi / 2)
