"""Dual encoder: how well the words of the prompt fit the picture, judged by two networks trained together."""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor

from cogrpo.emoji.dual_encoder import FITNESS, FLOORS, WEIGHTS, DualEncoder
from cogrpo.rewards.base import Context, Reward, RewardError, blocks, file_version


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
    """Raises RewardError where it was not measured that these weights find the right caption often enough."""
    reward = DualEncoderReward()
    told = json.loads(FITNESS.read_bytes())
    if told["weights"] != reward.version:
        raise RewardError(
            "reward: 'dual_encoder' has weights that nobody has tested; docs/rewards.md says how."
        )
    if not told["fit"]:
        found = " and ".join(
            f"{told[name]['mean']:.0%} of {name} ({FLOORS[name]:.0%} are needed)" for name in FLOORS
        )
        raise RewardError(
            f"reward: 'dual_encoder' is not fit to act: it finds the right caption among 20 in {found}; leave it out."
        )
    return reward
