"""The schedule policy: a Gaussian over the schedule's four numbers, step by step.

An action u [4] is drawn before the squash, u ~ N(mean, sigma^2), and stored; the schedule's numbers are
low + (high - low) sigmoid(u), so no draw leaves the bounds and the log-probability is the Gaussian's (paper
sections 2 and 8, trap 8). The mean is a residual on a predefined schedule, g^-1(base) + f with f = 0 at first:
an untrained policy *is* its base. Two bodies give f:

- `table`: free numbers [T, 4] for each trained T; reads nothing.
- `state`: a small network that reads the pooled features of the same forward pass, those of the first step
  (where all is hidden, so they tell the prompt alone) and the time.

Actions are float64, so that the way there and back gives the base's float32 numbers bit for bit.
Shapes: B rows, T steps, D features of the model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo.config import Config
from cogrpo.schedule import COLUMNS, RANGES, Schedule, ScheduleError, check_steps

INSIDE = 1e-3  # share of the range by which a base on a bound, whose pre-image is infinite, is moved inside
FREQUENCIES = 4  # of the time embedding


class PolicyConfig(Config):
    """What the policy may do. Numbers of four are in the order of `schedule.COLUMNS`."""

    body: Literal["table", "state"] = "table"
    low: tuple[float, float, float, float] = (0.0, 0.05, 0.05, 0.5)
    high: tuple[float, float, float, float] = (1.0, 3.0, 20.0, 13.0)
    # Spread before the squash; 0 holds a number at its mean. It falls in a straight line over `decay_rounds`.
    sigma: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.3)
    sigma_end: tuple[float, float, float, float] = (0.15, 0.15, 0.15, 0.1)
    decay_rounds: Annotated[int, Field(ge=1)] = 100
    remask_floor: Annotated[float, Field(gt=0)] = 0.1  # of the re-mask temperature in training rollouts
    width: Annotated[int, Field(ge=1)] = 64  # of the `state` network

    @model_validator(mode="after")
    def _check(self) -> PolicyConfig:
        for name, low, high in zip(COLUMNS, self.low, self.high, strict=True):
            least, most = RANGES[name]
            if not least <= low < high <= most:
                raise ValueError(
                    f"{name}: {low:g} to {high:g} is not allowed; allowed is {least:g} to {most:g}"
                )
        if min(self.sigma + self.sigma_end) < 0:
            raise ValueError("sigma: a negative number is not allowed; allowed is 0 and above")
        return self


class SchedulePolicy(nn.Module):
    """p(u | state, step): its mean, density and squash.

    bases: one predefined schedule for each trained number of steps; another T takes the curves of the nearest
    trained one, linear in progress (t + 1) / T. features: D, which the `state` body needs.
    Raises ScheduleError where a base leaves the bounds at a step where its number has an effect.
    """

    def __init__(self, config: PolicyConfig, bases: Sequence[Schedule], features: int = 0) -> None:
        super().__init__()
        self.config, self.features = config, features
        self.trained = tuple(base.steps for base in bases)
        if len(set(self.trained)) != len(bases) or not bases:
            raise ScheduleError(
                f"steps: {list(self.trained)} is not allowed; allowed is one base for each T."
            )
        # As float32 first: a base's number that was written like the bound is then equal to it.
        self.register_buffer("low", torch.tensor(config.low).double(), persistent=False)
        self.register_buffer("high", torch.tensor(config.high).double(), persistent=False)
        for base in bases:
            self._check_base(base)
        self.register_buffer("base", torch.cat([base.table for base in bases]))  # [sum of T, 4] float32
        body = _Table(self.trained) if config.body == "table" else _State(features, config.width)
        self.body: _Table | _State = body

    def mean(self, observation: Tensor | None, step: Tensor, steps: Tensor) -> Tensor:
        """Means [B, 4] float64 before the squash.

        observation [B, 2 D] float16 (None for `table`): `observe` of this step and of the row's first step;
        step and steps [B] int64.
        """
        return self.inverse(_rows(self._base, step, steps)) + self.body(observation, step, steps).double()

    def value(self, u: Tensor) -> Tensor:
        """Actions [..., 4] to the schedule's numbers [..., 4] float32."""
        return (self.low + (self.high - self.low) * u.double().sigmoid()).float()

    def inverse(self, value: Tensor) -> Tensor:
        """Schedule's numbers [..., 4] to actions [..., 4] float64; a number on or beyond a bound is moved
        inside."""
        share = (value.double() - self.low) / (self.high - self.low)
        share = torch.where(share <= 0, INSIDE, torch.where(share >= 1, 1 - INSIDE, share))
        return share.logit()

    def sigma(self, round: int) -> Tensor:
        """The spread [4] float64 in a round of training, 0-based."""
        start, end = (
            torch.tensor(s, dtype=torch.float64) for s in (self.config.sigma, self.config.sigma_end)
        )
        return start + (end - start) * min(round / self.config.decay_rounds, 1)

    def log_prob(self, u: Tensor, mean: Tensor, sigma: Tensor, step: Tensor, steps: Tensor) -> Tensor:
        """log N(u; mean, sigma^2) [B] over the numbers that have an effect. u, mean [B, 4], sigma [4]."""
        used = effective(sigma, step, steps)
        scale = sigma.masked_fill(sigma == 0, 1)
        density = -((u - mean) / scale).square() / 2 - scale.log() - math.log(2 * math.pi) / 2
        return density.masked_fill(~used, 0).sum(dim=-1)

    def kl(self, mean: Tensor, reference: Tensor, sigma: Tensor, step: Tensor, steps: Tensor) -> Tensor:
        """KL divergence [B] between Gaussians of equal spread: (mean - reference)^2 / (2 sigma^2), [B, 4] each."""
        used = effective(sigma, step, steps)
        distance = ((mean - reference) / sigma.masked_fill(sigma == 0, 1)).square() / 2
        return distance.masked_fill(~used, 0).sum(dim=-1)

    @torch.no_grad()
    def mean_schedule(self, steps: int, name: str = "learned") -> Schedule:
        """The schedule that the `table` body has learned, as it acts: r never rises.

        Where the numbers of r do, the clamp leaves one token a step, as it does where they stay; so this gives the same
        pictures, and others may use it as a table of theirs. Raises ScheduleError for `state`, whose numbers are known
        only step by step."""
        if self.config.body != "table":
            raise ScheduleError(
                "schedule: 'learned' is not allowed: this checkpoint's policy reads the state, so it has no table."
            )
        check_steps(steps)
        every = torch.arange(steps)
        table = self.value(self.mean(None, every, torch.full_like(every, steps)))
        table[:, 0] = table[:, 0].cummin(dim=0).values
        return Schedule(name, table, interpolated=steps not in self.trained)

    def base_schedule(self, steps: int) -> Schedule:
        """The predefined schedule from which the policy started."""
        return Schedule("base", self._base(steps), interpolated=steps not in self.trained)

    def _base(self, steps: int) -> Tensor:
        own = _nearest(self.trained, steps)
        table = self.base.split(list(self.trained))[self.trained.index(own)]
        return Schedule("base", table).resampled(steps).table

    def _check_base(self, base: Schedule) -> None:
        every = torch.arange(base.steps)
        used = effective(torch.ones(4), every, torch.full_like(every, base.steps))
        table = base.table.double()
        outside = used & ((table < self.low) | (table > self.high))
        if outside.any():
            step, column = outside.nonzero()[0].tolist()
            told = f"{COLUMNS[column]}: {base.table[step, column]:g} in row {step + 1} of {base.name}"
            allowed = f"{self.config.low[column]:g} to {self.config.high[column]:g}"
            raise ScheduleError(f"{told} is not allowed as a base; allowed is {allowed}.")


def effective(sigma: Tensor, step: Tensor, steps: Tensor) -> Tensor:
    """Which numbers belong to the log-probability, [B, 4] bool: those that vary and have an effect.

    The last step fills everything, so its re-mask ratio and re-mask temperature are noise (trap 5).
    """
    used = (sigma > 0).expand(len(step), 4).clone()
    used[:, [0, 2]] &= (step < steps - 1)[:, None]
    return used


def observe(features: Tensor) -> Tensor:
    """Pooled features [B, D] as the `state` body sees them and as they are stored: [B, D] float16, detached.

    Normalised, then rounded to the stored type *before* the mean is computed from them: else the ratio is not
    1 at unchanged weights (8a).
    """
    return F.layer_norm(features.detach().float(), features.shape[-1:]).half()


class _Table(nn.Module):
    """Free offsets, one table [T, 4] for each trained T."""

    def __init__(self, trained: Sequence[int]) -> None:
        super().__init__()
        self.trained = tuple(trained)
        # A parameter each: those of other T than a round's get no gradient, and Adam leaves them alone.
        self.offsets = nn.ParameterList(torch.zeros(steps, 4) for steps in trained)

    def forward(self, observation: Tensor | None, step: Tensor, steps: Tensor) -> Tensor:
        return _rows(self._curves, step, steps)

    def _curves(self, steps: int) -> Tensor:
        """Offsets [steps, 4], linear in progress between the rows of the nearest trained T."""
        own = _nearest(self.trained, steps)
        place = (torch.arange(1, steps + 1) * own / steps - 1).clamp(min=0)  # among the rows of that table
        below = place.floor().long()
        table = self.offsets[self.trained.index(own)]
        if steps != own > 1:
            # r and tau_r of the last row have no effect and so learn nothing: they take those of the row before.
            last = torch.stack([table[-2, 0], table[-1, 1], table[-2, 2], table[-1, 3]])
            table = torch.cat([table[:-1], last[None]])
        return torch.lerp(table[below], table[(below + 1).clamp(max=own - 1)], (place - below)[:, None])


class _State(nn.Module):
    """A network from (features, first features, time) to offsets; its last layer is zero at first."""

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        if features < 1:
            raise ValueError("features: the `state` body needs the number of features of the model.")
        last = nn.Linear(width, 4)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        inputs = 2 * features + 2 * FREQUENCIES + 1
        self.layers = nn.Sequential(
            nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last
        )

    def forward(self, observation: Tensor, step: Tensor, steps: Tensor) -> Tensor:
        return self.layers(torch.cat([observation.float(), _time(step, steps)], dim=-1))


def _time(step: Tensor, steps: Tensor) -> Tensor:
    """Embedding of (t + 1) / T and of T, [B, 2 FREQUENCIES + 1]."""
    progress = ((step + 1) / steps)[:, None]
    angle = torch.pi * progress * 2.0 ** torch.arange(FREQUENCIES)
    return torch.cat([angle.sin(), angle.cos(), steps[:, None].float().log2() / 6], dim=-1)


def _rows(table: Callable[[int], Tensor], step: Tensor, steps: Tensor) -> Tensor:
    """Row `step` of the table for `steps`, for each of B rows: [B, 4]."""
    lengths, which = steps.unique(return_inverse=True)
    start = (lengths.cumsum(0) - lengths)[which]
    return torch.cat([table(length) for length in lengths.tolist()])[start + step]


def _nearest(trained: Sequence[int], steps: int) -> int:
    return min(trained, key=lambda own: abs(math.log(own / steps)))
