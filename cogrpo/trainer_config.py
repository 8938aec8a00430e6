"""What a round of Co-GRPO does, as a user writes it (`trainer:` in a file of `configs/rounds/`)."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from cogrpo.config import Config
from cogrpo.grpo import ObjectiveConfig
from cogrpo.policy import PolicyConfig
from cogrpo.rewards import Weights
from cogrpo.rewards.base import Placement
from cogrpo.schedule import MOST_STEPS

Arm = Literal["co", "joint", "model", "schedule"]
Positive = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1)]


def _sorted(steps: tuple[int, ...]) -> tuple[int, ...]:
    if len(set(steps)) != len(steps):
        raise ValueError(f"{list(steps)} is not allowed; allowed is each number once")
    return tuple(sorted(steps))


Lengths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=MOST_STEPS)], ...], Field(min_length=1), AfterValidator(_sorted)
]


class ModelUpdate(Config):
    """Adam on theta."""

    rate: Positive = 1e-4
    betas: tuple[Share, Share] = (0.9, 0.99)
    warmup: Count = 5  # updates
    clip_norm: Positive = 1.0
    average: Share = 0.9  # of the weights that are judged and served: w <- average w + (1 - average) new


class ScheduleUpdate(Config):
    """Adam on phi."""

    rate: Positive = 0.05
    rate_end: Positive = 0.01  # reached in a straight line at the last round
    betas: tuple[Share, Share] = (0.9, 0.95)
    average: Share = 0.9


class TrainerConfig(Config):
    """What a round does."""

    arm: Arm = "co"
    alternate: tuple[Count, Count] = (1, 1)  # rounds of theta, rounds of phi
    schedule_first: Annotated[int, Field(ge=0)] = 0  # rounds of phi alone before that, where the arm has both
    steps: Lengths = (4, 8)  # one of them is drawn each round
    prompts_per_round: Count = 16
    group: Annotated[int, Field(ge=2)] = 8
    rewards: Weights
    reward_placement: Placement = Placement()
    spread_floor: Positive = 0.05  # least standard deviation by which a reward's advantage is divided
    least_spread: Annotated[float, Field(ge=0)] = (
        0.02  # a reward that spreads less within a group says nothing
    )
    block_rows: Count = 16  # rows of one network call, in rollout and replay
    policy: PolicyConfig = PolicyConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    model_update: ModelUpdate = ModelUpdate()
    schedule_update: ScheduleUpdate = ScheduleUpdate()

    @model_validator(mode="after")
    def _check(self) -> TrainerConfig:
        if self.schedule_first and self.arm in ("model", "schedule"):
            raise ValueError(f"schedule_first: {self.schedule_first} is not allowed in the arm {self.arm!r}")
        return self

    def updates(self, round: int) -> tuple[bool, bool]:
        """Whether theta and phi are updated in a round, 0-based."""
        if self.arm in ("model", "schedule"):
            return self.arm == "model", self.arm == "schedule"
        if round < self.schedule_first:
            return False, True
        if self.arm == "joint":
            return True, True
        theta, phi = self.alternate
        turn = (round - self.schedule_first) % (theta + phi) < theta
        return turn, not turn
