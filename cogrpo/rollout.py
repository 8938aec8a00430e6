"""Rollouts: every prompt of a round decoded by a group of rows, each with its own tokens and its own schedule.

Shapes: Q prompts, G rows of a prompt's group (side by side), B = Q G rows, N positions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cogrpo.decode import decode
from cogrpo.exploration import Exploration
from cogrpo.models.base import MaskedImageModel
from cogrpo.noise import MOST_SEED
from cogrpo.policy import SchedulePolicy
from cogrpo.replay import Rollout


@dataclass(frozen=True, eq=False)
class Groups:
    """What a round sampled."""

    rollout: Rollout  # all decisions of all rows
    prompts: tuple[str, ...]  # [B]
    tokens: Tensor  # [B, N] int64, finished
    images: Tensor  # uint8 [B, H, W, 3]
    clamped: Tensor  # [B], steps in which the schedule asked for more, or fewer, than a step can leave


@torch.no_grad()
def roll_out(
    model: MaskedImageModel,
    policy: SchedulePolicy,
    prompts: Sequence[str],
    group: int,
    steps: int,
    seeds: Sequence[int],
    sigma: Tensor,
    floor: float,
    block_rows: int,
) -> Groups:
    """Decode each of Q prompts `group` times. seeds [B]: different within a group, or two of its rows would be one;
    across groups they may be the same, as on the gate's bench, or all different, as in training.

    sigma [4] and floor as in `Exploration`. Raises FloatingPointError where the network returns NaN.
    """
    condition = model.condition(list(prompts)).repeat(group)
    exploration = Exploration(policy, [steps] * len(seeds), seeds, sigma, floor)
    told = list(decode(model, condition, exploration.schedules, seeds, block_rows, actor=exploration.actor))
    tokens = told[-1].sampled
    return Groups(
        Rollout.from_steps(told, condition, block_rows, exploration),
        tuple(prompt for prompt in prompts for _ in range(group)),
        tokens,
        torch.cat([model.images(part) for part in tokens.split(block_rows)]),
        torch.stack([step.clamped for step in told]).sum(dim=0).float(),
    )


def draw_seeds(rng: np.random.Generator, count: int) -> list[int]:
    """Different seeds, [count]."""
    return rng.choice(MOST_SEED + 1, count, replace=False).tolist()
