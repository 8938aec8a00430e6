"""Preference: what the people who voted would like better, as far as their votes tell (docs/preference.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from threadpoolctl import threadpool_limits
from torch import Tensor

from cogrpo import ballots, bradley_terry
from cogrpo.ballots import Comparison
from cogrpo.bradley_terry import LEFT, RIGHT, TIE, Accuracy, Comparisons
from cogrpo.checkpoint import check_folder, write_folder
from cogrpo.rewards.base import Context, Reward, RewardError
from cogrpo.rewards.features import KINDS, Features

NAME = "preference"
CODES = {"left": LEFT, "right": RIGHT, "tie": TIE, "bad": TIE}
# Of the prior utility that each kind of feature brings; the votes choose. A taste in colours shows in few votes where
# what the encoder sees may not drown it; another may lie in that alone; and there may be none.
VARIANCES = (
    (1, 1, 1), (4, 1, 1), (16, 1, 1), (1, 0.1, 0.1), (4, 0.1, 0.1), (16, 0.1, 0.1), (0.1, 4, 0.1), (0.1, 0.1, 4),
    (0.1, 4, 4), (0.1, 0.1, 0.1),
)  # fmt: skip
CAUTION = 1.0  # standard deviations by which the reward stays below what is expected
FOLDS, CONFIDENCE, RESAMPLES = 5, 0.99, 2000  # every round looks again, so 95 % would soon be passed by luck
TENSORS, FACTS = "preference.safetensors", "facts.json"


class Preference:
    """A fitted taste. The score is sigmoid(mean - CAUTION * deviation) of the utility: less where it is less sure.

    w, centre, scale [D] and covariance [D, D] float32; facts: what the fit says of itself.
    """

    name = NAME
    range = (0.0, 1.0)

    def __init__(self, tensors: dict[str, Tensor], facts: dict[str, Any], sha256: str) -> None:
        self.tensors, self.facts, self.version = tensors, facts, sha256[:12]
        self._features = Features()
        if facts["features"] != self._features.version:
            raise RewardError(
                f"reward: {NAME!r} was fitted on other features than this program has; fit again."
            )

    @property
    def share(self) -> float:
        """Of its configured weight, what its accuracy earns, 0 to 1."""
        return self.facts["share"]

    def __call__(self, images: Tensor, prompts: Sequence[str], context: Context) -> Tensor:
        mean, deviation = self.utility(images, prompts)
        return torch.sigmoid(mean - CAUTION * deviation).float()

    def utility(self, images: Tensor, prompts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [B] float64 of the utility, whose zero is the mean of the pictures voted on."""
        told = {name: tensor.double() for name, tensor in self.tensors.items()}
        x = (self._features(images, prompts).double() - told["centre"]) / told["scale"]
        # Row by row: the sums of a product of several rows may depend on how many there are.
        variance = torch.stack([row @ told["covariance"] @ row for row in x])
        return torch.stack([row @ told["w"] for row in x]), variance.clamp(min=0).sqrt()


def fit(
    compared: Sequence[Comparison], picture: Callable[[str], Image.Image], folder: Path, seed: int = 0
) -> dict[str, Any]:
    """Fit a taste and write it to `folder`; returns its facts. The same comparisons give the same bytes.

    picture: of a hash of pixels. Raises RewardError where there is no comparison, OSError.
    """
    if not compared:
        raise RewardError(f"reward: {NAME!r} needs a comparison at least; there is none.")
    features = Features()
    left, right = (_described(features, compared, side, picture) for side in ("left", "right"))
    both = np.concatenate([left, right])
    centre, scale = both.mean(axis=0), both.std(axis=0)
    scale = np.where(scale > 1e-6, scale, 1)  # a number that never varies says nothing
    data = Comparisons(
        (left - right) / scale,
        np.array([CODES[one.outcome] for one in compared]),
        np.array(ballots.weights(compared)),
        np.unique([one.prompt for one in compared], return_inverse=True)[1],
    )
    priors = [np.repeat(np.divide(KINDS, variances), KINDS) for variances in VARIANCES]
    with threadpool_limits(
        1
    ):  # small products: on a busy machine several threads wait for one another, ten times as long
        found = bradley_terry.best_fit(data, priors)
        accuracy = bradley_terry.cross_validate(data, priors, seed, FOLDS, CONFIDENCE, RESAMPLES)
    arrays = {"w": found.w, "centre": centre, "scale": scale, "covariance": found.covariance}
    tensors = {name: torch.from_numpy(array).float().contiguous() for name, array in arrays.items()}
    sd = np.sqrt(np.einsum("nd,de,ne->n", x := (both - centre) / scale, found.covariance, x))
    facts = {
        "comparisons": len(compared),
        "votes": len({one.vote for one in compared}),
        "voters": len({one.voter for one in compared}),
        "prompts": len({one.prompt for one in compared}),
        "accuracy": None if accuracy is None else accuracy._asdict(),
        "share": share(accuracy),
        "votes_missing": votes_missing(accuracy, len({one.vote for one in compared})),
        "deviation": float(sd.mean()),  # how unsure it is of the pictures that were voted on
        "features": features.version,
    }

    def fill(place: Path) -> None:
        save_file(tensors, place / TENSORS)
        (place / FACTS).write_text(json.dumps(facts, sort_keys=True, indent=1))

    write_folder(folder, fill)
    return facts


def read(folder: Path) -> Preference:
    """A taste that `fit` wrote. Raises RewardError where it is missing or damaged."""
    try:
        sha256 = check_folder(folder)
        return Preference(load_file(folder / TENSORS), told(folder), sha256)
    except RewardError:
        raise
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise RewardError(
            f"reward: {NAME!r} cannot be read from {folder}; the round that fitted it can again."
        ) from error


def told(folder: Path) -> dict[str, Any]:
    """The facts of a fit."""
    return json.loads((folder / FACTS).read_text(encoding="utf-8"))


def share(accuracy: Accuracy | None) -> float:
    """Nothing while the interval includes .5; then twice what its lower end lies above it, so 1 for a sure prophet."""
    return 0.0 if accuracy is None else max(0.0, 2 * accuracy.low - 1)


def votes_missing(accuracy: Accuracy | None, votes: int) -> int | None:
    """How many more votes it probably takes until the interval leaves .5; 0 where it has, None where nobody can tell.

    The interval's half width shrinks with the root of the votes, if people go on as they did.
    """
    if accuracy is None or accuracy.mean <= 0.5:
        return None
    if accuracy.low > 0.5:
        return 0
    factor = ((accuracy.mean - accuracy.low) / (accuracy.mean - 0.5)) ** 2
    return max(1, round(votes * (factor - 1)))


def _described(
    features: Features, compared: Sequence[Comparison], side: str, picture: Callable[[str], Image.Image]
) -> np.ndarray:
    """Features [N, D] float64 of one side of all comparisons."""
    images = [np.array(picture(getattr(one, side)).convert("RGB")) for one in compared]
    prompts = [one.prompt for one in compared]
    return features(torch.from_numpy(np.stack(images)), prompts).double().numpy()


def load() -> Reward:
    """Raises RewardError: a taste is somebody's, so it comes from a folder."""
    raise RewardError(
        f"reward: {NAME!r} is fitted on votes; name the folder of a fitted one in the field 'preference'."
    )
