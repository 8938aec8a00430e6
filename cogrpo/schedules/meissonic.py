"""Meissonic: the rule of Meissonic and aMUSEd, a cosine in their rounding."""

import torch
from torch import Tensor


def remask_ratio(progress: Tensor) -> Tensor:
    # In float32, as both compute it: at progress 2/3 that is just below 1/2, and one token fewer stays hidden.
    return torch.cos(progress.float() * torch.pi / 2)
