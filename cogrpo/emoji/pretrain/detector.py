"""Training the two detectors on rendered scenes, some spoiled by cells from another scene: a block of them, or a few
here and there.

A spoiled object counts as an object while all of its 16 cells are in place, as none from 14 down; between, A is not
taught either way.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from cogrpo.config import Config
from cogrpo.emoji.detector import CORNERS, NETWORKS, NOTHING, PARTS, Detector
from cogrpo.emoji.pretrain import resume
from cogrpo.emoji.scene import CATEGORIES, CELL, GRID, SIZE, Scene, place, render, sample_spec
from cogrpo.emoji.sprites import load_sprites

UNTAUGHT = -100  # cross_entropy's ignore_index
WHOLE, BROKEN = 16, 14
FEW = 4  # cells that stand alone
SAVE_EVERY = 250  # updates


class DetectorConfig(Config):
    seed: int
    batch: int
    updates: int
    rate: float
    weight_decay: float
    spoiled: float
    jitter: float
    noise: float


class Sample(NamedTuple):
    picture: np.ndarray  # uint8 [128, 128, 3]
    classes: np.ndarray  # int [8, 8], NOTHING where empty
    parts: np.ndarray  # int [8, 8], UNTAUGHT where empty
    corners: np.ndarray  # int [5, 5]
    background: int


def _cells(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Class, part and object number of each cell, int [8, 8]; number -1 where empty."""
    classes, parts = np.full((GRID, GRID), NOTHING), np.full((GRID, GRID), UNTAUGHT)
    numbers = np.full((GRID, GRID), -1)
    for number, item in enumerate(scene.objects):
        square = np.s_[item.row : item.row + SIZE, item.col : item.col + SIZE]
        classes[square], numbers[square] = item.cls, number
        parts[square] = np.arange(PARTS).reshape(SIZE, SIZE)
    return classes, parts, numbers


def draw(
    config: DetectorConfig, sprites: np.ndarray, rng: np.random.Generator, split: str = "train"
) -> Sample:
    scene = place(sample_spec(CATEGORIES[rng.integers(len(CATEGORIES))], rng, split), rng)
    picture = render(scene, sprites)
    classes, parts, numbers = _cells(scene)
    placed = [scene.objects]
    if rng.random() < config.spoiled:
        other = place(sample_spec(CATEGORIES[rng.integers(len(CATEGORIES))], rng, split), rng)
        spoiled = _some_cells(rng)
        pixels = spoiled.repeat(CELL, 0).repeat(CELL, 1)
        picture[pixels] = render(other, sprites)[pixels]
        for mine, theirs in zip((classes, parts, numbers), _cells(other), strict=True):
            mine[spoiled] = theirs[spoiled]
        numbers[spoiled] += (numbers[spoiled] >= 0) * len(scene.objects)
        placed.append(other.objects)
    corners = np.full((CORNERS, CORNERS), NOTHING)
    for number, item in enumerate(item for objects in placed for item in objects):
        here = int((numbers == number).sum())
        if here > BROKEN:
            corners[item.row, item.col] = item.cls if here >= WHOLE else UNTAUGHT
    return Sample(picture, classes, parts, corners, scene.background)


def _some_cells(rng: np.random.Generator) -> np.ndarray:
    """A block of up to 5 x 5 cells, or up to `FEW` cells anywhere, bool [8, 8]."""
    chosen = np.zeros((GRID, GRID), dtype=bool)
    if rng.random() < 0.5:
        top, left = rng.integers(GRID, size=2)
        height, width = rng.integers(1, 6, size=2)
        chosen[top : top + height, left : left + width] = True
    else:
        chosen.flat[rng.choice(chosen.size, rng.integers(1, FEW + 1), replace=False)] = True
    return chosen


def augment(pixels: Tensor, config: DetectorConfig, generator: torch.Generator) -> Tensor:
    colour = 1 + config.jitter * (2 * torch.rand(len(pixels), 1, 1, 3, generator=generator) - 1)
    return pixels * colour + config.noise * torch.randn(pixels.shape, generator=generator)


def loss_of(name: str, network: torch.nn.Module, pixels: Tensor, batch: list[Sample]) -> Tensor:
    background = torch.tensor([sample.background for sample in batch])
    target = {
        field: torch.from_numpy(np.stack([getattr(s, field) for s in batch])) for field in Sample._fields[1:4]
    }
    if name == "a":
        corners, told = network(pixels)
        return F.cross_entropy(corners.float(), target["corners"]) + 0.1 * F.cross_entropy(
            told.float(), background
        )
    classes, parts, told = network(pixels)
    return (
        F.cross_entropy(classes.float(), target["classes"])
        + F.cross_entropy(parts.float(), target["parts"], ignore_index=UNTAUGHT)
        + 0.1 * F.cross_entropy(told.float(), background)
    )


def train(name: str, config: DetectorConfig, out: Path, folder: Path, precision: str) -> None:
    """Learn and write `out`, going on from `folder/state.pt` where there is one; a line every `SAVE_EVERY` updates.
    Ten to fifteen minutes on one thread with bf16."""
    torch.manual_seed(config.seed)
    rng, sprites, generator = np.random.default_rng(config.seed), load_sprites(), torch.Generator()
    generator.manual_seed(config.seed)
    network = NETWORKS[name]()
    optimiser = torch.optim.AdamW(network.parameters(), config.rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, config.updates, pct_start=0.1)
    state = folder / "state.pt"
    parts = {
        "network": network,
        "optimiser": optimiser,
        "schedule": schedule,
        "rng": rng,
        "generator": generator,
    }
    for update in range(resume.load(state, parts) + 1, config.updates + 1):
        batch = [draw(config, sprites, rng) for _ in range(config.batch)]
        pixels = torch.from_numpy(np.stack([sample.picture for sample in batch])).float() / 255
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = loss_of(name, network, augment(pixels, config, generator), batch)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if update % SAVE_EVERY == 0:
            resume.save(state, update, parts)
            print(f"update {update} loss {loss.item():.4f}", flush=True)
    Detector(name, network).save(
        out, {"seed": str(config.seed), "scenes": str(config.updates * config.batch)}
    )
