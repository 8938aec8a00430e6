"""The mix: asks each reward, through the cache, and holds its answer to the contract.

Rewards are normalised per prompt group before they are mixed (`cogrpo.grpo.advantages`), or one with a wide range
would drown the others; so the mix is of advantages, and this module hands out each reward's own scores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from cogrpo import rewards
from cogrpo.recipe import picture_hash
from cogrpo.rewards.base import Context, NamedErrors, Placement, Reward, RewardError
from cogrpo.rewards.cache import Key, ScoreCache, prompt_hash
from cogrpo.rewards.preference import Preference

SLACK = 1e-6  # by which rounding may leave the range


class Mixer:
    """`weights`: name -> weight of the rewards that act, for the card; those of weight 0 are not in it.

    `units`: name -> `Reward.unit`.
    """

    def __init__(self, chosen: Sequence[Reward], weights: Mapping[str, float], cache: ScoreCache) -> None:
        self.rewards = [reward for reward in chosen if weights[reward.name] > 0]
        self.weights = {reward.name: weights[reward.name] for reward in self.rewards}
        self.units = {reward.name: getattr(reward, "unit", 1.0) for reward in self.rewards}
        self.cache = cache

    @classmethod
    def load(
        cls,
        weights: Mapping[str, float],
        cache: ScoreCache,
        fitted: Preference | None = None,
        placement: Placement | None = None,
    ) -> Mixer:
        """Load the rewards by name. fitted: the preference reward, which acts with the share of its weight that its
        accuracy earns; placement: where large networks run. Raises RewardError as `rewards.check_weights` and
        `rewards.load` do."""
        weights = dict(weights)
        if fitted is not None:
            weights[fitted.name] = weights.get(fitted.name, 0.0) * fitted.share
        acting = {name: weight for name, weight in rewards.check_weights(weights).items() if weight > 0}
        chosen = [
            fitted if fitted and name == fitted.name else rewards.load(name, placement) for name in acting
        ]
        return cls(chosen, acting, cache)

    @torch.no_grad()
    def scores(self, images: Tensor, prompts: Sequence[str]) -> dict[str, Tensor]:
        """Name -> scores float32 [B] of pictures uint8 [B, H, W, 3]. Raises RewardError, by the reward's name."""
        if len(images) != len(prompts):
            raise ValueError(f"scores: {len(images)} pictures and {len(prompts)} prompts do not match.")
        pictures = [picture_hash(image.numpy()) for image in images.cpu()]
        texts = {prompt: prompt_hash(prompt) for prompt in dict.fromkeys(prompts)}
        return {reward.name: self._ask(reward, images, prompts, pictures, texts) for reward in self.rewards}

    def _ask(
        self,
        reward: Reward,
        images: Tensor,
        prompts: Sequence[str],
        pictures: Sequence[str],
        texts: Mapping[str, str],
    ) -> Tensor:
        pairs = zip(pictures, prompts, strict=True)
        keys = [Key(picture, texts[prompt], reward.name, reward.version) for picture, prompt in pairs]
        missing: dict[Key, int] = {}  # equal pictures are asked for once
        for row, key in enumerate(keys):
            if self.cache.get(key) is None:
                missing.setdefault(key, row)
        rows = list(missing.values())
        if rows:
            context = Context(tuple(pictures[row] for row in rows))
            with NamedErrors(reward.name):
                answer = reward(images[rows], [prompts[row] for row in rows], context)
            told = checked(reward, answer, len(rows)).tolist()
            self.cache.put(dict(zip(missing, told, strict=True)))
        return torch.tensor([self.cache.get(key) for key in keys])


def checked(reward: Reward, answer: object, count: int) -> Tensor:
    """A reward's answer to `count` pictures, float32 [count]. Raises RewardError where it breaks the contract."""
    told = f"reward: {reward.name!r} returned"
    if not isinstance(answer, Tensor):
        raise RewardError(f"{told} {type(answer).__name__}; allowed is a tensor of {count} numbers.")
    if answer.shape != (count,) or answer.is_complex():
        shape = " x ".join(map(str, answer.shape)) or "no axis"
        raise RewardError(f"{told} a tensor of {shape}; allowed is one of {count} real numbers.")
    scores, (low, high) = answer.detach().cpu().float(), reward.range
    outside = ~((scores >= low - SLACK) & (scores <= high + SLACK))  # true for NaN too
    if outside.any():
        bad = f"{float(scores[outside][0]):g} for {int(outside.sum())} of {count} pictures"
        raise RewardError(f"{told} {bad}; allowed are numbers from {low:g} to {high:g}.")
    return scores
