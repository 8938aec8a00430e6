"""Training the dual encoder: each caption of a batch has near-misses beside it, all with pictures of their own.

The loss is CLIP's, both ways, over all pairs of the batch; a caption that is true of another picture too is left out
of that picture's sum. A second lesson, what covers each cell, helps the image side over its first minutes.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo.config import Config
from cogrpo.emoji.captions import caption
from cogrpo.emoji.detector import NOTHING
from cogrpo.emoji.dual_encoder import PAD, UNKNOWN, WIDTH, DualEncoder, DualNetwork, Pieces
from cogrpo.emoji.near_misses import near_miss
from cogrpo.emoji.pretrain import resume
from cogrpo.emoji.scene import (
    CATEGORIES,
    CELL,
    GRID,
    Scene,
    Spec,
    pairs_held_out,
    place,
    regions_of,
    render,
    sample_spec,
    satisfies,
)
from cogrpo.emoji.sprites import load_sprites

VOCABULARY_FROM = 20_000  # captions
LOG_EVERY = 100  # updates
CALIBRATED_ON = 1024  # scenes, each with its caption and a near-miss


class DualEncoderConfig(Config):
    seed: int
    families: int
    members: int
    updates: int
    rate: float
    weight_decay: float
    temperature: float
    cells: float
    unknown: float
    strayed: float
    noise: float


class Batch(NamedTuple):
    pictures: Tensor  # uint8 [B, 128, 128, 3]
    captions: list[str]
    true: Tensor  # [B, B] bool: whether picture i shows caption j
    cells: Tensor  # int64 [B, 64]: the class that covers each cell, NOTHING where empty


def learn_pieces(rng: np.random.Generator) -> Pieces:
    """The vocabulary of training captions."""
    return Pieces.learn(
        caption(sample_spec(CATEGORIES[i % len(CATEGORIES)], rng, "train"), rng)
        for i in range(VOCABULARY_FROM)
    )


def family(size: int, rng: np.random.Generator) -> list[Spec]:
    """A training caption's meaning and size - 1 different near-misses that training may show."""
    members = [sample_spec(CATEGORIES[rng.integers(len(CATEGORIES))], rng, "train")]
    while len(members) < size:
        edited = near_miss(members[0], rng)
        if edited not in members and not pairs_held_out(edited):
            members.append(edited)
    return members


def draw(specs: list[Spec], sprites: np.ndarray, rng: np.random.Generator) -> Batch:
    scenes = [place(spec, rng) for spec in specs]
    true = [
        [spec.total == len(scene.objects) and satisfies(spec, scene) for spec in specs] for scene in scenes
    ]
    pictures = np.stack([render(scene, sprites) for scene in scenes])
    return Batch(
        torch.from_numpy(pictures),
        [caption(spec, rng) for spec in specs],
        torch.tensor(true),
        torch.from_numpy(np.stack([_cells(scene) for scene in scenes])),
    )


def _cells(scene: Scene) -> np.ndarray:
    """The class of each cell, NOTHING where empty, int [64]."""
    return np.array([NOTHING, *(item.cls for item in scene.objects)])[regions_of(scene)]


def spoil(pictures: Tensor, config: DualEncoderConfig, rng: np.random.Generator) -> Tensor:
    """Pixels in 0..1 with noise, some with up to 2 x 2 cells of the next picture, as an imperfect sample has."""
    pixels = pictures.clone()
    for row in (rng.random(len(pictures)) < config.strayed).nonzero()[0]:
        (top, left), (height, width) = rng.integers(GRID, size=2) * CELL, rng.integers(1, 3, size=2) * CELL
        block = np.s_[top : top + height, left : left + width]
        pixels[row][block] = pictures[row - 1][block]
    noise = torch.from_numpy(rng.random(pixels.shape, dtype=np.float32) - 0.5)
    return pixels.float() / 255 + config.noise * noise


def contrast(images: Tensor, texts: Tensor, true: Tensor, temperature: float) -> Tensor:
    """CLIP's loss of unit vectors [B, D], in nats; other pairs that are `true` [B, B] do not count as wrong."""
    rows = torch.arange(len(images))
    also_true = true & ~torch.eye(len(images), dtype=torch.bool)
    logits = (images @ texts.T / temperature).masked_fill(also_true, -torch.inf)
    return (F.cross_entropy(logits, rows) + F.cross_entropy(logits.T, rows)) / 2


@torch.no_grad()
def calibrate(encoder: DualEncoder, sprites: np.ndarray, rng: np.random.Generator) -> None:
    """Fit `scale` and `shift` by logistic regression on fresh scenes, each with its caption and one near-miss."""
    cosines, labels = [], []
    for _ in range(CALIBRATED_ON // 64):
        batch = draw([spec for _ in range(32) for spec in family(2, rng)], sprites, rng)
        images, texts = encoder.of_images(batch.pictures), encoder.of_texts(batch.captions)
        for shift in (0, 1):  # each picture with its own caption, and with that of the other of its pair
            column = torch.arange(len(images)) ^ shift
            cosines.append((images * texts[column]).sum(-1))
            labels.append(batch.true[torch.arange(len(images)), column].float())
    scale, shift = fit_curve(torch.cat(cosines), torch.cat(labels))
    encoder.network.scale.fill_(scale)
    encoder.network.shift.fill_(shift)


@torch.enable_grad()
def fit_curve(cosine: Tensor, label: Tensor) -> tuple[float, float]:
    """Logistic regression of labels 0 or 1 on cosines, both [n]: the scale and shift of the log-odds."""
    curve = torch.tensor([10.0, -5.0], requires_grad=True)
    optimiser = torch.optim.LBFGS([curve], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        value = F.binary_cross_entropy_with_logits(curve[0] * cosine + curve[1], label)
        value.backward()
        return value

    optimiser.step(loss)
    return tuple(curve.tolist())


def train(config: DualEncoderConfig, out: Path, folder: Path, precision: str) -> None:
    """Learn, calibrate and write `out`, going on from `folder/state.pt` where there is one.

    One JSON line every 100 updates with the loss and the share of pictures that find their caption among the batch's
    (of 72, five of them near-misses)."""
    torch.manual_seed(config.seed)
    rng, sprites = np.random.default_rng(config.seed), load_sprites()
    pieces = learn_pieces(rng)
    network, lesson = DualNetwork(len(pieces)), nn.Linear(WIDTH, NOTHING + 1)
    parameters = [*network.parameters(), *lesson.parameters()]
    optimiser = torch.optim.AdamW(
        parameters, config.rate, weight_decay=config.weight_decay, betas=(0.9, 0.98)
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, config.rate, config.updates, pct_start=0.1)
    started, losses, found = time.monotonic(), [], []
    state = folder / "state.pt"
    parts = {"network": network, "lesson": lesson, "optimiser": optimiser, "schedule": schedule, "rng": rng}
    for update in range(resume.load(state, parts) + 1, config.updates + 1):
        specs = [spec for _ in range(config.families) for spec in family(config.members, rng)]
        batch = draw(specs, sprites, rng)
        numbers = pieces.encode(batch.captions)
        numbers = numbers[:, : int((numbers != PAD).sum(1).max())]
        dropped = torch.from_numpy(rng.random(numbers.shape) < config.unknown) & (numbers != PAD)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            states = network.cells(spoil(batch.pictures, config, rng))
            covered = lesson(states).flatten(0, 1)
            images, texts = network.images(states), network.texts(numbers.masked_fill(dropped, UNKNOWN))
        share = config.cells * (1 - update / config.updates)
        main = contrast(images, texts, batch.true, config.temperature)
        loss = main + share * F.cross_entropy(covered.float(), batch.cells.flatten())
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        schedule.step()
        losses.append(main.item())
        found.append(_found(images.detach() @ texts.detach().T, batch.true))
        if update % LOG_EVERY == 0:
            line = {"update": update, "seconds": round(time.monotonic() - started)}
            line |= {"loss": round(float(np.mean(losses)), 4), "found": round(float(np.mean(found)), 4)}
            print(json.dumps(line), flush=True)
            losses.clear()
            found.clear()
            resume.save(state, update, parts)
    encoder = DualEncoder(network, pieces)
    calibrate(encoder, sprites, rng)
    scenes = config.updates * config.families * config.members
    encoder.save(out, {"seed": str(config.seed), "scenes": str(scenes)})


def _found(cosine: Tensor, true: Tensor) -> float:
    """Share of the pictures whose nearest caption is true of them."""
    return true[torch.arange(len(true)), cosine.argmax(1)].float().mean().item()
