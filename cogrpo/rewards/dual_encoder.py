"""Dual encoder: how well the words of the prompt fit the picture, judged by two networks trained together."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cogrpo.emoji.dual_encoder import WEIGHTS, DualEncoder
from cogrpo.rewards.base import Context, Reward, blocks, file_version


class DualEncoderReward:
    name = "dual_encoder"
    range = (0.0, 1.0)

    def __init__(self) -> None:
        self.version = file_version(WEIGHTS)
        self.encoder = DualEncoder.load(WEIGHTS)

    def __call__(self, images: Tensor, prompts: Sequence[str], context: Context) -> Tensor:
        parts = []
        for index, count in blocks(len(images)):
            texts = [prompts[row] for row in index]
            parts.append(self.encoder.probability(images[index], texts)[:count])
        return torch.cat(parts)


def load() -> Reward:
    return DualEncoderReward()
