"""A picture or a trace as somebody hands it over: read, checked, and what it says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cogrpo.recipe import Recipe, read_file, read_png
from cogrpo.trace import LARGEST_FILE, MAGIC, Trace, TraceError


@dataclass(frozen=True)
class Opened:
    """Either a trace, or the pixels of a PNG, uint8 [H, W, 3]."""

    recipe: Recipe
    trace: Trace | None = None
    image: np.ndarray | None = None


def opened(path: Path) -> Opened:
    """Raises RecipeError or TraceError for a missing, foreign, truncated or tampered file."""
    data = read_file(path, LARGEST_FILE)
    if not data.startswith(MAGIC):
        image, recipe = read_png(data)
        return Opened(recipe, image=image)
    trace = Trace.from_bytes(data)
    recipe = Recipe.read(dict(trace.recipe))
    if recipe.steps != trace.steps:
        raise TraceError(f"trace: its recipe has {recipe.steps} steps and it holds {trace.steps}.")
    return Opened(recipe, trace)
