"""The emoji suite: strict and partial score by category, on frozen prompts with machine-readable truth."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from PIL import Image

from cogrpo.emoji.judge import Judge
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.emoji.scene import CATEGORIES
from cogrpo.engine import Engine, Generation
from cogrpo.recipe import Request

SIX = tuple(category for category in CATEGORIES if category != "dense")
RESAMPLES = 2000
SHEET_PICTURES, SHEET_COLUMNS = 60, 10


def evaluate(
    engine: Engine,
    judge: Judge,
    prompts: Sequence[PromptEntry],
    make: Callable[[str, int], Request],
    seeds: int,
    batch: int,
) -> tuple[dict[str, object], Image.Image]:
    """Decode every prompt `seeds` times and score the pictures.

    Each picture has a seed of its own, from 0 on, prompt by prompt: with one for all prompts they would share their
    noise, which a bootstrap over prompts cannot see. `make(prompt, seed)` gives the request. Returns the figures, ready
    for JSON, and a contact sheet of pictures chosen by a fixed random draw.
    """
    jobs = [(index, seed) for index in range(len(prompts)) for seed in range(seeds)]
    chosen = set(np.random.default_rng(0).permutation(len(jobs))[:SHEET_PICTURES].tolist())
    strict = np.zeros((len(prompts), seeds))
    soft = np.zeros((len(prompts), seeds))
    cells, seconds = [], 0.0
    for start in range(0, len(jobs), batch):
        part = jobs[start : start + batch]
        begin = time.perf_counter()
        rows = list(
            _finished(engine, [make(prompts[index].prompt, index * seeds + seed) for index, seed in part])
        )
        seconds += time.perf_counter() - begin
        images = np.stack([row.image for row in rows])
        verdicts = judge.score(images, [prompts[index].spec for index, _ in part])
        for place, ((index, seed), verdict) in enumerate(zip(part, verdicts, strict=True)):
            strict[index, seed], soft[index, seed] = verdict.strict, verdict.soft
            if start + place in chosen:
                cells.append((images[place], verdict.strict))
    categories = np.array([prompt.category for prompt in prompts])
    figures = {
        "prompts": len(prompts),
        "pictures": len(jobs),
        "pictures_per_second": round(len(jobs) / seconds, 3),
        "strict": _by_category(strict.mean(axis=1), categories),
        "partial": _by_category(soft.mean(axis=1), categories),
        "rows": [
            {"prompt": p.prompt, "category": p.category, "strict": a.tolist(), "partial": b.round(4).tolist()}
            for p, a, b in zip(prompts, strict.astype(int), soft, strict=True)
        ],
    }
    return figures, contact_sheet(cells)


def contact_sheet(cells: Sequence[tuple[np.ndarray, bool]]) -> Image.Image:
    """Pictures uint8 [H, W, 3] in rows of ten, framed green where the strict score is 1, else red."""
    height, width, _ = cells[0][0].shape
    gap, columns = 6, min(SHEET_COLUMNS, len(cells))
    lines = -(-len(cells) // columns)
    sheet = np.full((lines * (height + gap), columns * (width + gap), 3), 255, np.uint8)
    for index, (image, right) in enumerate(cells):
        top, left = index // columns * (height + gap), index % columns * (width + gap)
        sheet[top : top + height + gap, left : left + width + gap] = (0, 150, 90) if right else (205, 60, 40)
        sheet[top + gap // 2 : top + gap // 2 + height, left + gap // 2 : left + gap // 2 + width] = image
    return Image.fromarray(sheet)


def interval(groups: Sequence[np.ndarray]) -> dict[str, float]:
    """Mean of the groups' means, with a 95 % percentile bootstrap over the prompts within each group."""
    rng = np.random.default_rng(0)
    draws = np.mean([g[rng.integers(len(g), size=(RESAMPLES, len(g)))].mean(axis=1) for g in groups], axis=0)
    low, high = np.percentile(draws, [2.5, 97.5])
    mean = np.mean([g.mean() for g in groups])
    return {"mean": round(float(mean), 4), "low": round(float(low), 4), "high": round(float(high), 4)}


def _by_category(scores: np.ndarray, categories: np.ndarray) -> dict[str, dict[str, float]]:
    groups = {name: scores[categories == name] for name in CATEGORIES if (categories == name).any()}
    table = {name: interval([group]) for name, group in groups.items()}
    six = [groups[name] for name in SIX if name in groups]
    return {**table, **({"six categories": interval(six)} if six else {})}


def _finished(engine: Engine, requests: Sequence[Request]) -> Iterator[Generation]:
    return (item for item in engine.generate(requests) if isinstance(item, Generation))
