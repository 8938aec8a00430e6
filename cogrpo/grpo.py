"""The objective of Co-GRPO: group-relative advantages, ratios, clipped surrogate, KL. Pure functions on tensors.

One trajectory advantage multiplies the model's token ratios and the schedule's action ratios (paper section 4).
Shapes: P steps of a chunk ("decisions"), N positions, K rewards, Q prompts, G rows of one prompt's group.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from cogrpo.config import Config


class ObjectiveConfig(Config):
    """What is maximised.

    likelihood: `fill`, the paper's: the tokens that stay. `exact`: all tokens sampled in the step, and the set
    that is kept of them; its gradient is that of the expected reward, the other's is biased (8b).
    ratio: one for each `token`, or one for each `step`, the geometric mean of its tokens' (as in GSPO).
    weight: of a `token`, the same everywhere; or of a `step`, the same for all steps of a row, which gives a
    token of a step that fills little a larger say (trap 12).
    clip: acts where a rollout serves several updates. With one, as the trainer makes it, the weights are those that
    sampled, every ratio is 1, and nothing is clipped.
    """

    likelihood: Literal["fill", "exact"] = "fill"
    ratio: Literal["token", "step"] = "token"
    weight: Literal["token", "step"] = "token"
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    # To the model that was accepted last, on the pictures of informative groups: only those are replayed.
    kl: Annotated[float, Field(ge=0)] = 0.01
    schedule_kl: Annotated[float, Field(ge=0)] = 0.0  # to its schedule policy

    @model_validator(mode="after")
    def _check(self) -> ObjectiveConfig:
        if self.likelihood == "exact" and self.weight == "step":
            raise ValueError("weight: 'step' is not allowed with likelihood 'exact'; allowed is 'token'")
        return self


@dataclass(frozen=True)
class LogProbs:
    """Log-probabilities of P decisions of the model under some weights."""

    tokens: Tensor  # [P, N] float32, of the sampled codes; 0 where not scored
    scored: Tensor  # [P, N] bool: kept in the step (`fill`), or hidden before it (`exact`)
    kept_set: Tensor | None = None  # [P], log P(K), where the likelihood is `exact`


@dataclass(frozen=True)
class Ratios:
    """Sums over ratios, for the metrics of an update; those of two chunks add up."""

    count: int = 0
    clipped: int = 0
    total: float = 0.0
    largest: float = 0.0
    kl: float = 0.0

    @staticmethod
    def of(log_ratio: Tensor, advantage: Tensor, clip: float, kl: Tensor) -> Ratios:
        """log_ratio and advantage [n] of an objective's factors; kl [m], of which the mean counts."""
        ratio = log_ratio.detach().exp()
        beyond = ((ratio > 1 + clip) & (advantage > 0)) | ((ratio < 1 - clip) & (advantage < 0))
        if not len(ratio):
            return Ratios()
        mean_kl = float(kl.detach().mean()) * len(ratio)
        return Ratios(len(ratio), int(beyond.sum()), float(ratio.sum()), float(ratio.max()), mean_kl)

    def __add__(self, other: Ratios) -> Ratios:
        largest = max(self.largest, other.largest)
        sums = (self.count + other.count, self.clipped + other.clipped, self.total + other.total)
        return Ratios(*sums, largest, self.kl + other.kl)

    def metrics(self, reference: bool) -> dict[str, float]:
        """Under TRL's names; `kl` only where there is a reference. Where nothing was counted no weight has moved, and
        the ratio is 1."""
        count = max(self.count, 1)
        told = {
            "clip_ratio": self.clipped / count,
            "ratio_mean": self.total / count if self.count else 1.0,
            "ratio_max": self.largest if self.count else 1.0,
        }
        return told | {"kl": self.kl / count} if reference else told


def advantages(
    rewards: Tensor, weights: Tensor, floor: float = 0.05, least_spread: float = 1e-6
) -> tuple[Tensor, Tensor]:
    """Advantages of the rows of each group, and which groups say nothing.

    rewards [K, Q, G], weights [K]. Each reward is centred on its group's mean and divided by
    max(standard deviation, floor), so that noise is not blown up into advantages (trap 13); then they are
    mixed, and the mix is not standardised again. A reward that spreads by no more than `least_spread` within a
    group adds nothing there. Returns (advantages [Q, G], skipped [Q] bool: no reward of weight spreads).
    """
    spread = rewards.std(dim=2, correction=0, keepdim=True)  # [K, Q, 1]
    informative = (spread > least_spread) & (weights[:, None, None] != 0)
    centred = (rewards - rewards.mean(dim=2, keepdim=True)) / spread.clamp(min=floor)
    mixed = (weights[:, None, None] * centred.masked_fill(~informative, 0)).sum(dim=0)
    return mixed, ~informative[..., 0].any(dim=0)


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """min(rho A, clip(rho, 1 - eps, 1 + eps) A), element by element; to be maximised."""
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def k3(log_prob: Tensor, reference: Tensor) -> Tensor:
    """The estimator exp(d) - d - 1 >= 0 of KL(policy | reference), d = log reference - log policy."""
    difference = reference - log_prob
    return difference.exp() - difference - 1


def model_loss(
    new: LogProbs,
    old: LogProbs,
    advantage: Tensor,
    steps: Tensor,
    rows: int,
    config: ObjectiveConfig,
    reference: LogProbs | None = None,
) -> tuple[Tensor, Ratios]:
    """The loss of one chunk for the model theta; the losses of all chunks add up to the round's.

    advantage and steps (T of the row) [P]; rows: of the whole round, also those of skipped groups, so that a
    round with few informative groups makes a small step (trap 13). Tokens are summed and divided by one
    constant, N * rows, or, with weight `step`, averaged within a step, over its row's T and over rows.
    """
    count = new.scored.sum(dim=1)
    constant = torch.full_like(advantage, 1 / new.scored.shape[1])
    share = (constant if config.weight == "token" else 1 / (steps * count)) / rows  # [P], of one token
    log_ratio = (new.tokens - old.tokens).masked_fill(~new.scored, 0)
    own = advantage[:, None].expand_as(log_ratio)
    if config.ratio == "step":
        log_ratio = torch.where(new.scored, (log_ratio.sum(dim=1) / count)[:, None], 0)
    gain = (clipped_surrogate(log_ratio, own, config.clip) * new.scored).sum(dim=1)
    factors = [(log_ratio[new.scored], own[new.scored])]
    if new.kept_set is not None and old.kept_set is not None:
        factors.append((new.kept_set - old.kept_set, advantage))
        gain = gain + clipped_surrogate(*factors[1], config.clip)
    target = old if reference is None else reference
    divergence = k3(new.tokens, target.tokens) * new.scored
    loss = -(share * gain).sum()
    if reference is not None:
        loss = loss + config.kl * (share[:, None] * divergence).sum()
    ratios, signs = (torch.cat(parts) for parts in zip(*factors, strict=True))
    return loss, Ratios.of(ratios, signs, config.clip, divergence[new.scored])


def schedule_loss(
    new: Tensor,
    old: Tensor,
    advantage: Tensor,
    steps: Tensor,
    rows: int,
    config: ObjectiveConfig,
    divergence: Tensor | None = None,
) -> tuple[Tensor, Ratios]:
    """The loss of P actions for the schedule policy phi: one ratio a step, averaged over a row's T and over rows.

    new and old: log-probabilities [P] of the recorded actions over the numbers that have an effect; advantage
    and steps [P]; rows: of the whole round; divergence: KL of the means to the reference policy's, [P].
    """
    share = 1 / (steps * rows)
    log_ratio = new - old
    loss = -(share * clipped_surrogate(log_ratio, advantage, config.clip)).sum()
    if divergence is not None:
        loss = loss + config.schedule_kl * (share * divergence).sum()
    told = k3(new, old) if divergence is None else divergence
    return loss, Ratios.of(log_ratio, advantage, config.clip, told)
