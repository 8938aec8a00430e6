"""Draws the schedules of one decode from the policy, and keeps what the update needs to know of the draws."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cogrpo import noise
from cogrpo.policy import SchedulePolicy, observe
from cogrpo.schedule import Schedule

STILL = torch.zeros(4, dtype=torch.float64)  # the spread of a mean schedule


class Exploration:
    """u = mean + sigma * noise for every row and step, from counter-based noise: (seed, step) tells the draw.

    Hand `schedules` and `actor` to `decode`, then this object to `Rollout.from_steps`. The `table` body needs
    no actor: its schedules are drawn ahead. The `state` body acts within the decode, of which this object then
    sees exactly one. With sigma `STILL` both are the mean schedule, for evaluation; `MeanActor` is for serving.

    steps and seeds: one number for each of B rows; sigma [4]; floor: least re-mask temperature. Below some
    floor the kept set is nearly deterministic and its probability carries no information (paper, 8b). The
    floor is part of the environment: it changes the numbers that are used, never the recorded action.
    """

    def __init__(
        self,
        policy: SchedulePolicy,
        steps: Sequence[int],
        seeds: Sequence[int],
        sigma: Tensor,
        floor: float = 0.0,
    ) -> None:
        self.policy, self.sigma, self.floor = policy, sigma, floor
        self.steps = torch.tensor(steps)
        longest = max(steps)
        draws = [noise.normal(seeds, index, noise.SCHEDULE, 4) for index in range(longest)]
        self._noise = torch.stack(draws, dim=1)  # [B, T, 4]
        self.actions = torch.zeros_like(self._noise)  # [B, T, 4] float64, before the squash
        self.log_prob = torch.zeros(len(steps), longest, dtype=torch.float64)
        self.observations: Tensor | None = None  # [B, T, 2 D] float16, of the `state` body
        self.actor: Exploration | None = None
        if policy.config.body == "state":
            self.actor = self
            self.schedules = [policy.base_schedule(count) for count in steps]
        else:
            self.schedules = self._draw_ahead()

    def act(self, features: Tensor, rows: Tensor, index: int, steps: Tensor) -> Tensor:
        """As `decode.Actor`."""
        seen = observe(features)
        if self.observations is None:
            shape = (*self.log_prob.shape, 2 * seen.shape[-1])
            self.observations = torch.zeros(shape, dtype=seen.dtype)
        first = seen if index == 0 else self.observations[rows, 0, : seen.shape[-1]]
        self.observations[rows, index] = torch.cat([seen, first], dim=-1)
        return self._draw(self.observations[rows, index], rows, index)

    def recorded(self, rows: Tensor, index: int) -> dict[str, Tensor]:
        """What was drawn for some rows at one step, under the names of `Rollout`."""
        told = {"actions": self.actions[rows, index], "action_logprob": self.log_prob[rows, index]}
        if self.observations is not None:
            told["observations"] = self.observations[rows, index]
        return told

    def _draw_ahead(self) -> list[Schedule]:
        values = torch.zeros(self._noise.shape)
        for index in range(values.shape[1]):
            rows = (index < self.steps).nonzero()[:, 0]
            values[rows, index] = self._draw(None, rows, index)
        return [Schedule("sampled", v[:count]) for v, count in zip(values, self.steps.tolist(), strict=True)]

    @torch.no_grad()
    def _draw(self, observation: Tensor | None, rows: Tensor, index: int) -> Tensor:
        """The schedule's numbers [b, 4] of some rows at one step."""
        step, steps = torch.full_like(rows, index), self.steps[rows]
        mean = self.policy.mean(observation, step, steps)
        u = mean + self.sigma * self._noise[rows, index]
        self.actions[rows, index] = u
        self.log_prob[rows, index] = self.policy.log_prob(u, mean, self.sigma, step, steps)
        value = self.policy.value(u)
        value[:, 2].clamp_(min=self.floor)
        return value


class MeanActor:
    """The mean of a policy that reads the state, acted out in one decode, for serving.

    Each row is acted alone, in calls of one shape: in a small product of several rows the last bits depend on a row's
    place (seen at a width of 8), and a picture must not depend on who is painted with it.

    steps: one number for each of B rows; guidance: for each a scale in place of the policy's own, or None.
    """

    def __init__(
        self, policy: SchedulePolicy, steps: Sequence[int], guidance: Sequence[float | None]
    ) -> None:
        self._mean = Exploration(policy, steps, [0] * len(steps), STILL)  # without spread any seed will do
        self.schedules, self._guidance = self._mean.schedules, guidance

    def act(self, features: Tensor, rows: Tensor, index: int, steps: Tensor) -> Tensor:
        """As `decode.Actor`."""
        acted: dict[int, Tensor] = {}
        for place, row in enumerate(rows.tolist()):
            if row not in acted:  # else it pads the block
                at = slice(place, place + 1)
                acted[row] = self._mean.act(features[at], rows[at], index, steps[at])
        values = torch.cat([acted[row] for row in rows.tolist()])
        for place, row in enumerate(rows.tolist()):
            if self._guidance[row] is not None:
                values[place, 3] = self._guidance[row]
        return values
