"""What the masked transformer learns from: random scenes, what is hidden of them, and what that can be.

A scene's tokens are looked up, not rendered: the tokenizer reads patches one by one, so a table of
(background, class, patch) holds every code. Scenes are therefore never seen twice.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from cogrpo.emoji.pretrain.model_config import PretrainConfig
from cogrpo.emoji.pretrain.posterior import posterior
from cogrpo.emoji.scene import (
    BACKGROUND_NAMES,
    GRID,
    MOST,
    SIZE,
    Placed,
    Scene,
    Spec,
    place,
    regions_of,
    render,
    sample_spec,
)
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.emoji.transformer import TOKENS


def code_table(tokenizer: Tokenizer) -> np.ndarray:
    """The code of each patch of each class on each background, int [9, classes, 4, 4]."""
    sprites = load_sprites()
    middle = (GRID - SIZE) // 2
    rows = []
    for background in range(len(BACKGROUND_NAMES)):
        scenes = [Scene((Placed(c, middle, middle),), background) for c in range(len(sprites))]
        pictures = torch.from_numpy(np.stack([render(scene, sprites) for scene in scenes]))
        tokens = torch.cat([tokenizer.encode_on(part, background)[1] for part in pictures.split(16)])
        rows.append(tokens.reshape(-1, GRID, GRID)[:, middle : middle + SIZE, middle : middle + SIZE])
    return torch.stack(rows).numpy()


def tokens_of(scene: Scene, table: np.ndarray) -> np.ndarray:
    """The tokens of a scene, int [8, 8]. The code of the empty patch is the background's index."""
    grid = np.full((GRID, GRID), scene.background)
    for item in scene.objects:
        grid[item.row : item.row + SIZE, item.col : item.col + SIZE] = table[scene.background, item.cls]
    return grid


@dataclass(frozen=True)
class Batch:
    """Scenes to learn from. Shapes: B scenes, E entries of all mixtures together."""

    specs: list[Spec]
    tokens: Tensor  # [B, 64] int64
    hidden: Tensor  # [B, 64] bool
    drop: Tensor  # [B] bool: scenes that are seen without their text
    where: Tensor  # [E] int64: (scene, position, code), flattened
    weight: Tensor  # [E] float32


def draw_batch(config: PretrainConfig, table: np.ndarray, vocab_size: int, rng: np.random.Generator) -> Batch:
    """Fresh scenes with what is hidden of them and what that can be."""
    names, weights = list(config.categories), np.array(list(config.categories.values()))
    chosen = rng.choice(names, config.batch, p=weights / weights.sum())
    specs = [sample_spec(category, rng, "train") for category in chosen]
    loose = rng.random(config.batch) < config.loose
    specs = [replace(spec, relations=()) if free else spec for spec, free in zip(specs, loose, strict=True)]
    drop = rng.random(config.batch) < config.caption_drop
    return hide(config, specs, drop, table, vocab_size, rng)


def hide(
    config: PretrainConfig,
    specs: list[Spec],
    drop: np.ndarray,
    table: np.ndarray,
    vocab_size: int,
    rng: np.random.Generator,
) -> Batch:
    scenes = [place(spec, rng) for spec in specs]
    tokens = np.stack([tokens_of(scene, table).reshape(-1) for scene in scenes])
    hidden = draw_hidden(config, scenes, drop, rng)
    where, weight = [], []
    for row, spec in enumerate(specs):
        if drop[row]:
            # The mixture over all captions is not worth its price: the scene that was drawn stands for it.
            positions = hidden[row].nonzero()[0]
            codes, weights = tokens[row, positions], np.ones(len(positions))
        else:
            mixture = posterior(spec, tokens[row], hidden[row], table)
            positions, codes, weights = mixture.positions, mixture.codes, mixture.weights
        where.append((row * TOKENS + positions) * vocab_size + codes)
        weight.append(weights)
    return Batch(
        specs,
        torch.from_numpy(tokens),
        torch.from_numpy(hidden),
        torch.from_numpy(drop),
        torch.from_numpy(np.concatenate(where)),
        torch.from_numpy(np.concatenate(weight)).float(),
    )


def draw_hidden(
    config: PretrainConfig, scenes: list[Scene], drop: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Which tokens are hidden, bool [B, 64].

    Positions are revealed in random order, or object by object as a sampler tends to: then each object, and the
    background, has a random lead. Without text always in random order: there the target is one scene, and an order
    that depends on the scene would tell where things stand.
    """
    rows = len(scenes)
    kind = rng.random(rows)
    shown = rng.integers(1, TOKENS, rows)
    shown = np.where(kind < config.all_hidden + config.mostly_hidden, rng.integers(1, 9, rows), shown)
    shown = np.where(kind < config.all_hidden, 0, shown)
    grouped = (rng.random(rows) < config.by_object) & ~drop
    lead = rng.random((rows, 1 + MOST))
    regions = np.stack([regions_of(scene) for scene in scenes])
    late = rng.random((rows, TOKENS)) + grouped[:, None] * np.take_along_axis(lead, regions, axis=1)
    return late.argsort(-1).argsort(-1) >= shown[:, None]
