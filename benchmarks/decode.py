"""Decode with its full trace against the same forward passes in a bare loop, and pictures a second by batch size.

`python -m benchmarks.decode` prints one JSON line a measurement. Both sides run in one process, in turn, on the same
tensors, weights and threads: at least seven pairs after a warm-up, median ratio with a 95 % bootstrap interval.
"""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Sequence

import numpy as np
import torch

from cogrpo import schedules
from cogrpo.decode import BLOCK_ROWS, decode
from cogrpo.device import DTYPES, probe
from cogrpo.engine import Engine, Generation
from cogrpo.models.base import Condition, MaskedImageModel, Prediction
from cogrpo.models.emoji import WEIGHTS, EmojiModel
from cogrpo.recipe import Request

STEPS = 8
PAIRS = 9
PROMPTS = ("a dog", "two cats", "a red heart and a blue square", "a tree on a black background")


class Recorder:
    """A model that notes the inputs of each forward pass."""

    def __init__(self, model: MaskedImageModel) -> None:
        self.grid, self.vocab_size, self.model = model.grid, model.vocab_size, model
        self.calls: list[tuple[tuple, dict]] = []

    def forward(self, *inputs, **options) -> Prediction:
        self.calls.append((inputs, options))
        return self.model.forward(*inputs, **options)


def run(model: MaskedImageModel | Recorder, condition: Condition) -> None:
    table = schedules.build("cosine", STEPS)
    rows = len(condition)
    for _ in decode(model, condition, [table] * rows, list(range(rows)), BLOCK_ROWS):
        pass


def seconds(function, *arguments) -> float:
    start = time.perf_counter()
    function(*arguments)
    return time.perf_counter() - start


def compared(pairs: Sequence[tuple[float, float]]) -> dict[str, float]:
    """Median of ours / theirs, with its 95 % bootstrap interval."""
    ratios = np.array([ours / theirs for ours, theirs in pairs])
    draws = np.median(np.random.default_rng(0).choice(ratios, (2000, len(ratios))), axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return {"ratio": float(np.median(ratios)), "low": float(low), "high": float(high)}


def show(name: str, **figures) -> None:
    rounded = {key: round(value, 3) if isinstance(value, float) else value for key, value in figures.items()}
    print(json.dumps({"benchmark": name, **rounded}), flush=True)


def show_machine() -> None:
    machine = probe()
    show("machine", precision=machine.name, threads=machine.threads, gflops=dict(machine.gflops))


def overhead(model: EmojiModel, rows: int) -> dict[str, float]:
    condition = model.condition([PROMPTS[row % len(PROMPTS)] for row in range(rows)])
    recorder = Recorder(model)
    run(recorder, condition)

    @torch.no_grad()
    def bare() -> None:
        for inputs, options in recorder.calls:
            model.forward(*inputs, **options)

    pairs = [(seconds(run, model, condition), seconds(bare)) for _ in range(PAIRS)]
    return {"decode_ms": 1e3 * float(np.median([ours for ours, _ in pairs])), **compared(pairs)}


def throughput(engine: Engine, rows: int) -> dict[str, float]:
    requests = [Request(PROMPTS[row % len(PROMPTS)], seed=row, steps=STEPS) for row in range(rows)]
    sizes: list[int] = []

    def generate() -> None:
        made = [item for item in engine.generate(requests) if isinstance(item, Generation)]
        sizes.extend(len(item.trace.to_bytes()) for item in made)

    generate()
    spent = [seconds(generate) for _ in range(PAIRS)]
    return {"pictures_per_second": rows / float(np.median(spent)), "trace_bytes": float(np.mean(sizes))}


def main() -> None:
    show_machine()
    for precision in DTYPES:
        model = EmojiModel.load(WEIGHTS / "model.safetensors", precision)
        for rows in (16, 1):
            show("decode / forward passes", precision=precision, rows=rows, **overhead(model, rows))
    # A block serves one picture and many alike, so its size is a compromise: BLOCK_ROWS.
    for block_rows in (1, 2, BLOCK_ROWS, 8):
        engine = Engine(block_rows=block_rows)
        for rows in (1, 4, 16):
            told = throughput(engine, rows)
            show("pictures", precision=engine.precision, block_rows=block_rows, rows=rows, **told)
    show("memory", peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
