"""What the model gained and what its schedule: {old, new model} x {old, new schedule}, on prompts that chose nothing.

`python -m cogrpo.evaluation.two_by_two FOLDER` takes a candidate's folder and prints one JSON line for each number of
steps and cell: share of strictly right pictures by detectors A and B, by A in each category, and how different the
pictures of a prompt are; and two differences, to old model under old schedule and to the old model under the cell's own
schedule, paired by prompt and seed, with their 95 % intervals over prompts. The old schedule is a predefined form, or a
folder of tables tuned by hand (`cogrpo.evaluation.tune --by-hand`); the new one is the mean of the policy. No other
program has these seeds.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cogrpo import guards, schedules
from cogrpo.device import probe
from cogrpo.emoji import prompts
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.emoji.scene import CATEGORIES
from cogrpo.emoji.verifier import score
from cogrpo.evaluation.emoji import SIX, interval
from cogrpo.exploration import STILL
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.registry import Registry
from cogrpo.rollout import roll_out

ROWS = 32  # rows a block
SEEDS = 2**31  # those of the test begin here; validation and gates stay below
PROMPTS_AT_ONCE = 8


@dataclass(frozen=True)
class Bench:
    """What every cell is measured on. seeds: pictures of each prompt, each with a seed of its own."""

    entries: Sequence[PromptEntry]
    seeds: int
    detectors: dict[str, Detector]

    def measure(self, model: MaskedImageModel, policy: SchedulePolicy, steps: int) -> dict[str, np.ndarray]:
        """Strict scores `a` and `b` [P, seeds], and the guards of a prompt's pictures together [P]."""
        told: dict[str, list] = {}
        for start in range(0, len(self.entries), PROMPTS_AT_ONCE):
            part = self.entries[start : start + PROMPTS_AT_ONCE]
            # With one seed for all prompts they would share their noise, and their luck.
            seeds = [
                SEEDS + start + at + len(self.entries) * s
                for at in range(len(part))
                for s in range(self.seeds)
            ]
            asked = [entry.prompt for entry in part]
            groups = roll_out(model, policy, asked, self.seeds, steps, seeds, STILL, 0.0, ROWS)
            specs = [entry.spec for entry in part for _ in range(self.seeds)]
            for name, detector in self.detectors.items():
                found = zip(specs, detector.detect(groups.images), strict=True)
                right = np.array([score(spec, detection).strict for spec, detection in found], dtype=float)
                told.setdefault(name, []).extend(right.reshape(len(part), self.seeds))
            for at in range(len(part)):
                rows = slice(at * self.seeds, (at + 1) * self.seeds)
                for name, value in guards.of_group(groups.images[rows], groups.tokens[rows]).items():
                    told.setdefault(name, []).append(value)
        return {name: np.array(values) for name, values in told.items()}

    def line(
        self, cell: dict[str, np.ndarray], first: dict[str, np.ndarray], model: dict[str, np.ndarray]
    ) -> dict[str, object]:
        """The figures of a cell, and its paired differences to the first one and to the old model, same schedule."""
        categories = np.array([entry.category for entry in self.entries])
        told: dict[str, object] = {}
        for name in self.detectors:
            told[name] = self._six(cell[name].mean(axis=1), categories)
            told[f"{name} gain"] = self._six((cell[name] - first[name]).mean(axis=1), categories)
            told[f"{name} gain of the model"] = self._six((cell[name] - model[name]).mean(axis=1), categories)
        by = {name: cell["a"][categories == name] for name in CATEGORIES}
        told["a by category"] = {name: round(float(values.mean()), 4) for name, values in by.items()}
        rest = [name for name in cell if name not in self.detectors]
        return told | {name: round(float(cell[name].mean()), 4) for name in rest}

    def _six(self, values: np.ndarray, categories: np.ndarray) -> dict[str, float]:
        return interval([values[categories == name] for name in SIX])


def cells(
    bench: Bench,
    models: dict[str, MaskedImageModel],
    policies: dict[str, SchedulePolicy],
    steps: Sequence[int],
) -> Iterator[dict[str, object]]:
    """One line a cell; the first of models and policies are the old ones."""
    for count in steps:
        old: dict[str, dict[str, np.ndarray]] = {}  # of each schedule under the old model
        for which, model in models.items():
            for whose, policy in policies.items():
                measured = bench.measure(model, policy, count)
                old.setdefault(whose, measured)
                told = bench.line(measured, next(iter(old.values())), old[whose])
                yield {"steps": count, "model": which, "schedule": whose, **told}


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("candidate", type=Path)
    parser.add_argument("--against", default="baseline", help="whose weights are the old model")
    parser.add_argument(
        "--schedule", default="late", help="the old schedule: a form, or a folder of <steps>.json"
    )
    parser.add_argument("--split", default="test")
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8])
    parser.add_argument("--seeds", type=int, default=4)
    asked = parser.parse_args()
    registry, precision = Registry(), probe().name
    new = registry.at(asked.candidate)
    bases = [schedules.resolve(asked.schedule, steps) for steps in asked.steps]
    policies = {
        "old": SchedulePolicy(PolicyConfig(), bases),  # untrained, so it is that schedule
        "new": registry.trained(new).policy,
    }
    models = {
        "old": registry.load(registry.resolve(asked.against), precision),
        "new": registry.load(new, precision),
    }
    bench = Bench(prompts.load(asked.split), asked.seeds, {name: Detector.load(name) for name in "ab"})
    for line in cells(bench, models, policies, asked.steps):
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
