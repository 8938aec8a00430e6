"""Sampling temperature, re-mask temperature and guidance of a predefined schedule, searched on the validation prompts.

`python -m cogrpo.evaluation.tune cosine linear` goes through one column after the other, keeps what scores best, and
prints one JSON line a setting and one with the best of each form, for `configs/schedules/emoji.yaml`. The score is the
strict score by detector A, mean over the step counts.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from cogrpo import schedules
from cogrpo.decode import decode
from cogrpo.emoji import prompts
from cogrpo.emoji.judge import Judge
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.engine import Engine
from cogrpo.models.base import MaskedImageModel
from cogrpo.recipe import Request

ROWS = 32  # rows a block: nothing here has to be the same bits as in the app
GRID: Mapping[str, Sequence[object]] = {
    "guidance_scale": (1.0, 1.5),
    "sampling_temperature": (0.5, 0.7, 0.85, 1.0),
    "remask_temperature": ([4.0, 0.0], [8.0, 0.0], 8.0, 16.0),
}
START = {"sampling_temperature": 0.7, "remask_temperature": [8.0, 0.0], "guidance_scale": 1.0}


@dataclass(frozen=True)
class Bench:
    """What every setting is measured on."""

    model: MaskedImageModel
    judge: Judge
    entries: Sequence[PromptEntry]
    steps: Sequence[int]
    seeds: Sequence[int]

    def strict(self, form: str, columns: Mapping[str, object]) -> dict[int, float]:
        """Steps -> strict score, mean over prompts and seeds."""
        return {count: self._strict(schedules.build(form, count, columns=columns)) for count in self.steps}

    def _strict(self, schedule: schedules.Schedule) -> float:
        # A seed of its own for each picture: with one for all prompts they would share their noise, and their luck.
        count = len(self.entries)
        jobs = [
            (entry, count * seed + place) for place, entry in enumerate(self.entries) for seed in self.seeds
        ]
        right = []
        for start in range(0, len(jobs), ROWS):
            part = jobs[start : start + ROWS]
            condition = self.model.condition([entry.prompt for entry, _ in part])
            *_, last = decode(self.model, condition, [schedule] * len(part), [seed for _, seed in part], ROWS)
            pictures = self.model.images(last.sampled).numpy()
            verdicts = self.judge.score(pictures, [entry.spec for entry, _ in part])
            right += [verdict.strict for verdict in verdicts]
        return float(np.mean(right))


def search(bench: Bench, form: str, show) -> dict[str, object]:
    """One column after the other from `START`; a later value replaces an earlier one only where it scores more."""
    best, score = dict(START), None
    for column, values in GRID.items():
        for value in values:
            columns = {**best, column: value}
            if score is not None and columns == best:
                continue
            by_steps = bench.strict(form, columns)
            mean = float(np.mean(list(by_steps.values())))
            show({"form": form, **columns, "strict": by_steps, "mean": round(mean, 4)})
            if score is None or mean > score:
                best, score = columns, mean
    return best | {"mean": score}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("forms", nargs="*", default=sorted(schedules.available()))
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="take every n-th prompt")
    asked = parser.parse_args()
    engine = Engine()
    model = engine.model(engine.prepare(Request("a dog", checkpoint="baseline")))
    entries = prompts.load("validation")[:: asked.every]
    bench = Bench(model, Judge(), entries, asked.steps, range(asked.seeds))
    for form in asked.forms:
        best = search(bench, form, lambda line: print(json.dumps(line), flush=True))
        print(json.dumps({"best": form, **best}), flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
