"""The rewards, and how one is found by name.

Each module of this folder, beside its machinery, is one reward: its name is the reward's name, its docstring the
description, and its function `load()` returns the reward (see `base.Reward`).
"""

from __future__ import annotations

import importlib
import math
import pkgutil
from types import ModuleType
from typing import Annotated

from pydantic import AfterValidator

from cogrpo.rewards.base import NamedErrors, Placement, Reward, RewardError
from cogrpo.rewards.hub.network import NetworkReward

MACHINERY = ("base", "cache", "features", "hub", "mixer")


def available() -> dict[str, str]:
    """Name -> description of every reward, by name."""
    return {name: (_module(name).__doc__ or "").strip() for name in _names()}


def load(name: str, placement: Placement | None = None) -> Reward:
    """The reward `name`; placement: where it runs, if it is a large network. Raises RewardError where there is none,
    where it cannot be loaded, or where it calls itself otherwise."""
    _check_name(name)
    with NamedErrors(name):
        reward = _module(name).load()
        if placement is not None and isinstance(reward, NetworkReward):
            reward.place(placement)
    if reward.name != name:
        raise RewardError(
            f"reward: the file {name}.py calls its reward {reward.name!r}; allowed is {name!r}."
        )
    return reward


def check_weights(weights: dict[str, float]) -> dict[str, float]:
    """The weights of a mix as they are. Raises RewardError (a ValueError) for an unknown name, for a weight that
    is negative or not finite, and where none is above 0."""
    for name, weight in weights.items():
        _check_name(name)
        if not (math.isfinite(weight) and weight >= 0):
            raise RewardError(
                f"reward: the weight {weight:g} of {name!r} is not allowed; allowed is 0 or more."
            )
    if not any(weights.values()):
        raise RewardError("reward: every weight is 0; at least one must be above 0.")
    return weights


def _names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.name not in MACHINERY)


def _check_name(name: str) -> None:
    if name not in _names():
        raise RewardError(f"reward: {name!r} is unknown; allowed are {', '.join(_names())}.")


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{name}")


def _check_field(weights: dict[str, float]) -> dict[str, float]:
    """As `check_weights`, worded to stand behind the name of a field."""
    try:
        return check_weights(weights)
    except RewardError as error:
        raise ValueError(str(error).removeprefix("reward: ").rstrip(".")) from error


Weights = Annotated[dict[str, float], AfterValidator(_check_field)]  # a field of a configuration
