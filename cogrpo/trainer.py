"""One round of Co-GRPO: sample groups, score them, update the model theta, the schedule policy phi, or both.

    rollout -> rewards -> group-relative advantages -> replay of the recorded steps -> clipped update

The four arms are one code: `co` updates theta and phi in turns (the paper's), `joint` both in every round, `model`
theta alone (naive GRPO), `schedule` phi alone. Both policies are sampled in every arm: exploration in the schedule
spreads the group for theta, too (paper section 4).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import Tensor, nn

from cogrpo.grpo import Ratios, advantages, model_loss, schedule_loss
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import SchedulePolicy
from cogrpo.replay import replay
from cogrpo.rewards.mixer import Mixer
from cogrpo.rollout import Groups, draw_seeds, roll_out
from cogrpo.trainer_config import TrainerConfig

RATIO_TOLERANCE = {"float32": 1e-3, "bfloat16": 2e-2}  # |rho - 1| at unchanged weights
SECONDS = "seconds/"  # before the name of a phase, in a round's metrics


class TrainingError(RuntimeError):
    """A run that cannot go on; its last checkpoint is good. The message is one sentence."""


class Trainer:
    """Model, policy, their optimisers and averages: all that a run changes.

    model: its parameters are trained in place, in the precision of its forward pass; a copy of it is the reference of
    the KL penalty. rounds: of the whole run, for the falling rates. start: the sha256 by which the registry knows the
    model's first weights.
    """

    def __init__(
        self,
        config: TrainerConfig,
        model: MaskedImageModel,
        policy: SchedulePolicy,
        mixer: Mixer,
        prompts: Sequence[str],
        seed: int,
        rounds: int,
        start: str,
    ) -> None:
        if config.prompts_per_round > len(prompts):
            raise TrainingError(
                f"prompts_per_round: {config.prompts_per_round} is not allowed; there are {len(prompts)} prompts."
            )
        self.config, self.mixer, self.prompts = config, mixer, tuple(prompts)
        self.seed, self.rounds, self.round = seed, rounds, 0
        self.model, self.policy = model, policy
        # What a resumed run must share with its beginning, beside its configuration, to end with the same bits.
        self.origin = {
            "weights": start,
            "precision": model.precision,
            "torch": torch.__version__,
            "rewards": {reward.name: reward.version for reward in mixer.rewards},
            "prompts": hashlib.sha256("\n".join(prompts).encode()).hexdigest(),
            "schedules": {str(steps): policy.base_schedule(steps).table.tolist() for steps in policy.trained},
        }
        self.reference = deepcopy(model) if config.objective.kl > 0 else None
        self.reference_policy = deepcopy(policy) if config.objective.schedule_kl > 0 else None
        self.average_model, self.average_policy = deepcopy(model), deepcopy(policy)
        model.network.requires_grad_(True)
        theta, phi = config.model_update, config.schedule_update
        self.model_optimiser = torch.optim.Adam(model.network.parameters(), theta.rate, theta.betas)
        self.schedule_optimiser = torch.optim.Adam(policy.parameters(), phi.rate, phi.betas)
        self.model_updates = 0
        self._checked = False

    def advance(self) -> dict[str, float]:
        """One round; returns its metrics. Raises RewardError, TrainingError or FloatingPointError; the run then goes on
        from its last checkpoint."""
        clock = _Clock()
        groups = self._sample()
        clock.stop("rollout")
        scores = self.mixer.scores(groups.images, groups.prompts)
        advantage, skipped = self._advantages(scores)
        clock.stop("reward")
        if not self._checked:
            self._check_ratio(groups)
            clock.skip()
        metrics = self._told(groups, scores, skipped)
        theta, phi = self.config.updates(self.round)
        # Both gradients come from the weights that sampled, and are known to be finite before anything moves.
        if theta:
            metrics |= self._model_gradient(groups, advantage)
        clock.stop("replay")
        if phi:
            metrics |= _named("schedule", self._schedule_gradient(groups, advantage))
        if advantage.any():  # else the optimisers' momentum would move the weights
            self._step(theta, phi)
        clock.stop("update")
        self.round += 1
        return metrics | clock.seconds

    def _sample(self) -> Groups:
        config = self.config
        # All chance of a round comes from (seed, round): nothing else has to be saved for an exact resume.
        rng = np.random.default_rng((self.seed, self.round))
        steps = int(rng.choice(config.steps))
        chosen = rng.choice(len(self.prompts), config.prompts_per_round, replace=False)
        return roll_out(
            self.model,
            self.policy,
            [self.prompts[index] for index in chosen],
            config.group,
            steps,
            draw_seeds(rng, config.prompts_per_round * config.group),
            self.policy.sigma(self.round),
            config.policy.remask_floor,
            config.block_rows,
        )

    def _advantages(self, scores: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Advantages [B] and skipped groups [Q]."""
        config = self.config
        units = self.mixer.units
        stacked = torch.stack([scores[name].reshape(-1, config.group) / units[name] for name in units])
        weights = torch.tensor(list(self.mixer.weights.values()))
        advantage, skipped = advantages(stacked, weights, config.spread_floor, config.least_spread)
        return advantage.flatten(), skipped

    def _model_gradient(self, groups: Groups, advantage: Tensor) -> dict[str, float]:
        """The gradient of theta, chunk by chunk. Raises FloatingPointError where it is not finite."""
        config, rollout, total = self.config, groups.rollout, Ratios()
        self.model_optimiser.zero_grad(set_to_none=True)
        informative = rollout[advantage[rollout.row] != 0]
        for chunk in replay(self.model, informative, config.objective.likelihood, reference=self.reference):
            told = chunk.recorded
            own, rows, objective = advantage[told.row], len(advantage), config.objective
            loss, ratios = model_loss(chunk.new, chunk.old, own, told.steps, rows, objective, chunk.reference)
            loss.backward()
            total += ratios
        norm = _finite_norm(self.model.network, config.model_update.clip_norm)
        rate = config.model_update.rate * min(1, (self.model_updates + 1) / config.model_update.warmup)
        self.model_optimiser.param_groups[0]["lr"] = rate
        return total.metrics(self.reference is not None) | {"grad_norm": norm, "lr": rate}

    def _schedule_gradient(self, groups: Groups, advantage: Tensor) -> dict[str, float]:
        """As `_model_gradient`, of phi, from what the rollout recorded."""
        told, update = groups.rollout, self.config.schedule_update
        sigma = self.policy.sigma(self.round)
        self.schedule_optimiser.zero_grad(set_to_none=True)
        mean = self.policy.mean(told.observations, told.step, told.steps)
        new = self.policy.log_prob(told.actions, mean, sigma, told.step, told.steps)
        divergence = None
        if self.reference_policy is not None:
            with torch.no_grad():
                accepted = self.reference_policy.mean(told.observations, told.step, told.steps)
            divergence = self.policy.kl(mean, accepted, sigma, told.step, told.steps)
        own, rows, objective = advantage[told.row], len(advantage), self.config.objective
        loss, ratios = schedule_loss(new, told.action_logprob, own, told.steps, rows, objective, divergence)
        loss.backward()
        norm = _finite_norm(self.policy, float("inf"))
        fallen = min(self.round / max(self.rounds - 1, 1), 1)
        rate = update.rate + (update.rate_end - update.rate) * fallen
        self.schedule_optimiser.param_groups[0]["lr"] = rate
        return ratios.metrics(divergence is not None) | {"grad_norm": norm, "lr": rate}

    def _step(self, theta: bool, phi: bool) -> None:
        """Move what is updated in this round along its gradient, and its average after it."""
        if theta:
            self.model_updates += 1
            self.model_optimiser.step()
            _move(self.average_model.network, self.model.network, self.config.model_update.average)
        if phi:
            self.schedule_optimiser.step()
            _move(self.average_policy, self.policy, self.config.schedule_update.average)

    @torch.no_grad()
    def _check_ratio(self, groups: Groups) -> None:
        """The ratio is 1 as long as the weights are those that sampled (trap 9)."""
        rollout, off = groups.rollout, []
        some = rollout[rollout.row < self.config.block_rows]  # every step of a few rows
        for chunk in replay(self.model, some, self.config.objective.likelihood):
            off.append((chunk.new.tokens - chunk.old.tokens).abs().max())
            if chunk.new.kept_set is not None:
                off.append((chunk.new.kept_set - chunk.old.kept_set).abs().max())
        sigma = self.policy.sigma(self.round)
        mean = self.policy.mean(some.observations, some.step, some.steps)
        actions = self.policy.log_prob(some.actions, mean, sigma, some.step, some.steps)
        off.append((actions - some.action_logprob).abs().max())
        worst = float(torch.stack(off).max().expm1())
        allowed = RATIO_TOLERANCE[self.model.precision]
        if not worst < allowed:
            raise TrainingError(
                f"replay: the ratio at unchanged weights is off by {worst:.2g}; allowed is {allowed:g}."
            )
        self._checked = True

    def _told(self, groups: Groups, scores: dict[str, Tensor], skipped: Tensor) -> dict[str, float]:
        """Metrics of the rollout, under TRL's names where it has one."""
        mixed = sum(weight * scores[name] for name, weight in self.mixer.weights.items())
        metrics = {"steps": int(groups.rollout.steps[0]), "reward": float(mixed.mean())}
        metrics["reward_std"] = float(mixed.reshape(-1, self.config.group).std(dim=1).mean())
        for name, score in scores.items():
            spread = score.reshape(-1, self.config.group).std(dim=1, correction=0) / self.mixer.units[name]
            metrics |= {
                f"rewards/{name}/mean": float(score.mean()),
                f"rewards/{name}/std": float(score.std()),
                f"rewards/{name}/acted": float(
                    (spread > self.config.least_spread).float().mean()
                ),  # share of groups
            }
        metrics["frac_reward_zero_std"] = float(skipped.float().mean())
        metrics["entropy"] = float(groups.rollout.entropy.mean())
        return metrics | {"clamped": float(groups.clamped.mean())}

    def tensors(self) -> dict[str, Tensor]:
        """Everything that a run changes, by name."""
        told = {}
        for prefix, module in self._modules().items():
            told |= {f"{prefix}.{name}": tensor for name, tensor in module.state_dict().items()}
        for prefix, optimiser in self._optimisers().items():
            for number, state in optimiser.state_dict()["state"].items():
                told |= {f"{prefix}.{number}.{key}": tensor for key, tensor in state.items()}
        return told

    def facts(self) -> dict[str, int]:
        return {"round": self.round, "model_updates": self.model_updates}

    def restore(self, tensors: dict[str, Tensor], facts: dict[str, int]) -> None:
        """Go on from `tensors()` and `facts()`, to the bit. Raises TrainingError for the tensors of another model."""
        try:
            for prefix, module in self._modules().items():
                module.load_state_dict(_under(prefix, tensors))
        except RuntimeError as error:
            raise TrainingError("checkpoint: its tensors are not those of this model and policy.") from error
        for prefix, optimiser in self._optimisers().items():
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in _under(prefix, tensors).items():
                number, key = name.split(".")
                state.setdefault(int(number), {})[key] = tensor
            optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
        self.round, self.model_updates = facts["round"], facts["model_updates"]

    def _modules(self) -> dict[str, nn.Module]:
        return {
            "model": self.model.network,
            "model_average": self.average_model.network,
            "policy": self.policy,
            "policy_average": self.average_policy,
        }

    def _optimisers(self) -> dict[str, torch.optim.Optimizer]:
        return {"model_optimiser": self.model_optimiser, "schedule_optimiser": self.schedule_optimiser}


class _Clock:
    """Seconds of each phase of a round."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def stop(self, phase: str) -> None:
        now = time.perf_counter()
        self.seconds[f"{SECONDS}{phase}"], self._last = now - self._last, now

    def skip(self) -> None:
        """What was done since the last phase belongs to none."""
        self._last = time.perf_counter()


def _finite_norm(module: nn.Module, most: float) -> float:
    """Clip the gradients to a norm; returns the norm before. Raises FloatingPointError where it is not finite."""
    norm = float(nn.utils.clip_grad_norm_(module.parameters(), most))
    if not np.isfinite(norm):
        raise FloatingPointError("The gradient is not finite; nothing was updated in this round.")
    return norm


@torch.no_grad()
def _move(average: nn.Module, latest: nn.Module, keep: float) -> None:
    for kept, new in zip(average.parameters(), latest.parameters(), strict=True):
        kept.lerp_(new.to(kept.dtype), 1 - keep)


def _named(prefix: str, metrics: dict[str, float]) -> dict[str, float]:
    return {f"{prefix}/{name}": value for name, value in metrics.items()}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
