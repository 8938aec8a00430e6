"""Sampling temperature, re-mask temperature and guidance of a predefined schedule, searched on the validation prompts.

`python -m cogrpo.evaluation.tune cosine linear` goes through one column after the other, keeps what scores best, and
prints one JSON line a setting and one with the best of each form, for `configs/schedules/emoji.yaml`. The score is the
strict score by detector A, mean over the step counts.

`python -m cogrpo.evaluation.tune --by-hand FOLDER --steps 4 8` tunes more finely, and for each number of steps apart:
the exponent p of r = 1 - u^p, too, and guidance that falls. It writes the best table of each as FOLDER/<steps>.json:
what a learned schedule has to be held against (`two_by_two --schedule FOLDER`).
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

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
from cogrpo.schedule import handmade

ROWS = 32  # rows a block: nothing here has to be the same bits as in the app
GRID: Mapping[str, Sequence[object]] = {
    "guidance_scale": (1.0, 1.5),
    "sampling_temperature": (0.5, 0.7, 0.85, 1.0),
    "remask_temperature": ([4.0, 0.0], [8.0, 0.0], 8.0, 16.0),
}
BY_HAND: Mapping[str, Sequence[object]] = {
    "exponent": (5, 7, 9, 12, 16),
    "guidance_scale": (1.0, 1.5, [2.0, 1.0], [2.5, 1.0], [3.0, 1.0]),
    "sampling_temperature": (0.7, 0.85, 1.0, [1.0, 0.7]),
    "remask_temperature": ([4.0, 0.0], [8.0, 0.0], 8.0, 16.0),
}
LATE = {"exponent": 7, "guidance_scale": 1.5, "sampling_temperature": 0.85, "remask_temperature": 16.0}
PASSES = 2  # of a search by hand: what is best in one column depends on the others
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
        return {count: self.share(schedules.build(form, count, columns=columns)) for count in self.steps}

    def share(self, schedule: schedules.Schedule) -> float:
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


def by_hand(steps: int, setting: Mapping[str, object]) -> schedules.Schedule:
    """The table of a setting of BY_HAND."""
    table = schedules.build("late", steps, columns={**setting}).table.clone()
    table[:-1, 0] = 1 - (torch.arange(1, steps) / steps) ** setting["exponent"]
    return handmade("by hand", table)


def search_by_hand(bench: Bench, steps: int, show) -> schedules.Schedule:
    """One column after the other from LATE, as `search`, and so again; each setting is measured once."""
    best, told = dict(LATE), {}
    for column, values in [*BY_HAND.items()] * PASSES:
        for value in values:
            setting = {**best, column: value}
            if (key := json.dumps(setting)) not in told:
                told[key] = bench.share(by_hand(steps, setting))
                show({"by hand": steps, **setting, "strict": round(told[key], 4)})
        best = json.loads(max(told, key=told.get))
    return by_hand(steps, best)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("forms", nargs="*", default=sorted(schedules.available()))
    parser.add_argument("--steps", type=int, nargs="+", default=[4, 8, 16])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--every", type=int, default=1, help="take every n-th prompt")
    parser.add_argument("--by-hand", type=Path, metavar="FOLDER", help="where the tables go")
    asked = parser.parse_args()
    engine = Engine()
    model = engine.model(engine.prepare(Request("a dog", checkpoint="baseline")))
    entries = prompts.load("validation")[:: asked.every]
    bench = Bench(model, Judge(), entries, asked.steps, range(asked.seeds))

    def show(line: dict[str, object]) -> None:
        print(json.dumps(line), flush=True)

    if asked.by_hand:
        asked.by_hand.mkdir(parents=True, exist_ok=True)
        for steps in asked.steps:
            table = search_by_hand(bench, steps, show).table
            (asked.by_hand / f"{steps}.json").write_text(json.dumps(table.tolist()) + "\n")
        return
    for form in asked.forms:
        best = search(bench, form, show)
        print(json.dumps({"best": form, **best}), flush=True)


if __name__ == "__main__":
    with torch.inference_mode():
        main()
