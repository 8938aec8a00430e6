"""What a round did, in words and figures: for the page, and for whoever asks later why the champion is what it is."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from cogrpo import guards
from cogrpo.ballots import Comparison
from cogrpo.config import Config
from cogrpo.gate import Check, GateConfig, Verdict
from cogrpo.gate_run import Judged
from cogrpo.people import Taste, taste
from cogrpo.rewards.preference import NAME

Rows = list[
    list[float]
]  # of a schedule: re-mask ratio, sampling temperature, re-mask temperature, guidance scale


class Moved(Config):
    """How far a measure moved from parent to candidate on held-out prompts."""

    name: str
    parent: float
    candidate: float
    difference: float
    low: float
    high: float


class Report(Config):
    """Pictures are told beside it (`Judged.pictures`), as they are bytes."""

    words: tuple[str, ...]
    votes: tuple[int, ...]  # ids of all that went in
    trained_on: int  # comparisons
    held_out: int
    preference: dict[str, Any]  # what the fit says of itself; empty where nobody has compared anything
    weights: dict[str, float]  # with which each reward acted
    rewards: tuple[Moved, ...]
    schedules: dict[int, dict[str, Rows]]  # steps -> before, after


def report(
    judged: Judged,
    votes: Sequence[int],
    trained_on: int,
    held_out: int,
    preference: dict[str, Any],
    weights: dict[str, float],
) -> Report:
    """Put together what the steps of a round found."""
    mix, *rewards = (_moved(check) for check in judged.verdict.checks if check.steps is None)
    schedules = {
        steps: {
            "before": [list(row) for row in judged.champion.schedules[steps][0]],
            "after": [list(row) for row in judged.candidate.schedules[steps][0]],
        }
        for steps in judged.candidate.steps
    }
    words = [
        f"{len(votes)} votes went in: {trained_on} comparisons to learn from, {held_out} held out.",
        *taste_in_words(preference, weights),
        f"The mix of rewards moved by {mix.difference:+.2f} [{mix.low:+.2f}, {mix.high:+.2f}] standard deviations.",
        *(
            f"{each.name} moved by {each.difference:+.3f} [{each.low:+.3f}, {each.high:+.3f}] "
            f"on {judged.verdict.prompts} held-out prompts."
            for each in rewards
        ),
        *judgement(judged.verdict),
    ]
    return Report(
        words=tuple(words), votes=tuple(votes), trained_on=trained_on, held_out=held_out, preference=preference,
        weights=weights, rewards=tuple(rewards), schedules=schedules,
    )  # fmt: skip


def taste_in_words(preference: dict[str, Any], weights: dict[str, float]) -> list[str]:
    """What the fitted preference reward is worth, and how many more votes it probably takes until it acts."""
    if not preference:
        return []
    if NAME in weights:
        return [f"The preference reward acted with weight {weights[NAME]:.2f}: {_accuracy(preference)}."]
    missing = preference["votes_missing"]
    more = (
        "nobody can tell yet how many more votes it takes"
        if missing is None
        else f"probably {missing} more votes"
    )
    return [f"The preference reward did not act: {_accuracy(preference)}; {more}."]


def _accuracy(preference: dict[str, Any]) -> str:
    told = preference["accuracy"]
    if told is None:
        return "there are too few votes to tell its accuracy"
    return f"its accuracy on votes that it had not seen was {told['mean']:.2f} [{told['low']:.2f}, {told['high']:.2f}]"


def judgement(verdict: Verdict) -> list[str]:
    """The verdict in sentences."""
    if verdict.passed:
        return ["The gate let it pass."]
    told = (
        "People asked for what the gate saw, so a person decides." if verdict.held else "The gate stopped it."
    )
    return [told, *verdict.reasons]


def tastes(compared: Sequence[Comparison], pictures: Path, config: GateConfig) -> tuple[Taste, ...]:
    """Which way held-out comparisons lean in the measures that guards watch; none from too few prompts.

    pictures: a folder of <hash of the pixels>.png.
    """
    decided = [one for one in compared if one.outcome in ("left", "right")]
    if len({one.prompt for one in decided}) < config.people.least_held_out:
        return ()
    names = sorted({sha256 for one in decided for sha256 in (one.left, one.right)})
    measured = {name: _measures(pictures / f"{name}.png") for name in names}
    told = []
    for measure in sorted(guards.PICTURE.keys() & config.measures.keys()):
        differences: dict[str, list[float]] = {}
        for one in decided:
            left, right = measured[one.left][measure], measured[one.right][measure]
            differences.setdefault(one.prompt, []).append(
                left - right if one.outcome == "left" else right - left
            )
        told.append(taste(measure, differences, config.confidence, config.resamples, config.seed))
    return tuple(told)


def _measures(path: Path) -> dict[str, float]:
    with Image.open(path) as image:
        pixels = torch.from_numpy(np.array(image.convert("RGB")))
    return {name: float(value) for name, value in guards.of_pictures(pixels[None]).items()}


def _moved(check: Check) -> Moved:
    return Moved(
        name=check.name, parent=check.champion, candidate=check.candidate, difference=check.difference,
        low=check.low, high=check.high,
    )  # fmt: skip
