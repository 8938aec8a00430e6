"""Training the masked transformer: predict the hidden tokens of random scenes (MaskGIT, arXiv 2202.04200).

A scene's tokens are looked up, not rendered: the tokenizer reads patches one by one, so a table of
(background, class, patch) holds every code. Scenes are therefore never seen twice.
"""

from __future__ import annotations

import json
import time
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cogrpo.config import Config
from cogrpo.emoji.conditioning import encode_specs
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
from cogrpo.emoji.transformer import (
    NAMED,
    PARTS,
    RARE,
    TEXT,
    TOKENS,
    MaskedTransformer,
    TransformerConfig,
)
from cogrpo.models.emoji import WEIGHTS, save_network


class PretrainConfig(Config):
    seed: int
    width: int
    blocks: int
    heads: int
    batch: int
    scenes: int
    decay_share: float
    warmup: int
    muon_rate: float
    adam_rate: float
    weight_decay: float
    average: float
    caption_drop: float
    all_hidden: float
    mostly_hidden: float
    by_object: float
    categories: dict[str, float]
    log_every: int
    save_every: int


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


def mixtures_of(network: MaskedTransformer, batch: Batch) -> tuple[Tensor, Tensor]:
    """Log-probabilities [B, 64, V] of a batch, and what the text names [B, P, V]."""
    text = network.read(encode_specs(batch.specs))
    text = torch.where(batch.drop[:, None, None], network.no_text.expand(len(batch.specs), TEXT, -1), text)
    names = network.names(text)
    return network.answer(batch.tokens, batch.hidden, text, names)[0].log_softmax(-1), names


def loss_of(log_p: Tensor, batch: Batch) -> Tensor:
    """Mean cross-entropy to the mixtures over hidden positions, in nats."""
    # All positions, not the hidden ones alone: their number varies, and each new shape is compiled anew in bf16.
    return -(log_p.flatten()[batch.where] * batch.weight).sum() / batch.hidden.sum()


def naming_loss(names: Tensor, batch: Batch, table: np.ndarray) -> Tensor:
    """Mean cross-entropy of the named parts to the codes that the table holds for them, in nats.

    Seen through scenes alone, which code belongs to which part of what is learned slowly.
    """
    where, weight, parts = [], [], 0
    for row, spec in enumerate(batch.specs):
        if batch.drop[row]:
            continue
        known = (
            range(len(BACKGROUND_NAMES))
            if spec.background is None
            else [BACKGROUND_NAMES.index(spec.background)]
        )
        objects = [group for group in spec.objects for _ in range(group.count)]
        codes = [np.array(known)[:, None]]  # [kinds, parts] of the background, then of each object
        codes += [table[np.ix_(known, group.classes)].reshape(-1, PARTS) for group in objects]
        first = 0
        for each in codes:
            part = np.arange(first, first + each.shape[1])
            where.append(((row * NAMED + part) * names.shape[-1] + each).ravel())
            weight.append(np.full(each.size, 1 / len(each)))
            first += each.shape[1]
        parts += first
    chosen = names.flatten()[torch.from_numpy(np.concatenate(where))]
    return -((chosen + RARE).log() * torch.from_numpy(np.concatenate(weight)).float()).sum() / max(parts, 1)


def entropy_of(batch: Batch) -> float:
    """The least that `loss_of` can reach on a batch whose text is all seen, in nats."""
    _, inverse = batch.where.unique(return_inverse=True)
    p = torch.zeros(len(batch.where)).index_add(0, inverse, batch.weight)
    return (-p * p.clamp(min=1e-30).log()).sum().item() / batch.hidden.sum().item()


def optimisers(network: MaskedTransformer, config: PretrainConfig) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings, head, norms, biases and convolutions."""
    matrices = [p for name, p in network.blocks.named_parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in network.parameters() if id(p) not in chosen]
    return [
        torch.optim.Muon(matrices, lr=config.muon_rate, weight_decay=config.weight_decay),
        torch.optim.AdamW(others, lr=config.adam_rate, betas=(0.9, 0.98), weight_decay=config.weight_decay),
    ]


def rate_share(update: int, config: PretrainConfig) -> float:
    """Warm-up, plateau, linear fall to zero."""
    last = config.scenes // config.batch
    fall = (last - update) / (config.decay_share * last)
    return max(0.0, min(1.0, (update + 1) / config.warmup, fall))


class Run:
    """All the state of a training run; `save` and `load` carry it over a kill, to the bit on one machine."""

    def __init__(self, config: PretrainConfig, vocab_size: int) -> None:
        torch.manual_seed(config.seed)
        shape = TransformerConfig(
            vocab_size=vocab_size, width=config.width, blocks=config.blocks, heads=config.heads
        )
        self.network = MaskedTransformer(shape)
        self.average = deepcopy(self.network).requires_grad_(False)
        self.optimisers = optimisers(self.network, config)
        self.rng = np.random.default_rng(config.seed)
        self.update = 0
        self.seconds = 0.0

    def state(self) -> dict:
        return {
            "network": self.network.state_dict(),
            "average": self.average.state_dict(),
            "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
            "rng": self.rng.bit_generator.state,
            "update": self.update,
            "seconds": self.seconds,
        }

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".writing")
        torch.save(self.state(), temporary)
        temporary.replace(path)

    def load(self, path: Path) -> None:
        state = torch.load(path, weights_only=True)
        self.network.load_state_dict(state["network"])
        self.average.load_state_dict(state["average"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        self.rng.bit_generator.state = state["rng"]
        self.update, self.seconds = state["update"], state["seconds"]


def advance(run: Run, config: PretrainConfig, table: np.ndarray, precision: str) -> float:
    """One update; returns its loss."""
    for optimiser, rate in zip(run.optimisers, (config.muon_rate, config.adam_rate), strict=True):
        optimiser.param_groups[0]["lr"] = rate * rate_share(run.update, config)
        optimiser.zero_grad(set_to_none=True)
    batch = draw_batch(config, table, run.network.config.vocab_size, run.rng)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        log_p, names = mixtures_of(run.network, batch)
    loss = loss_of(log_p, batch)
    (loss + naming_loss(names, batch, table)).backward()
    nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    for optimiser in run.optimisers:
        optimiser.step()
    run.update += 1
    keep = min(config.average, run.update / (run.update + 10))
    with torch.no_grad():
        for kept, new in zip(run.average.parameters(), run.network.parameters(), strict=True):
            kept.lerp_(new, 1 - keep)
    return loss.item()


PAIRED = ("two", "position", "attribution")


@torch.no_grad()
def validate(network: MaskedTransformer, config: PretrainConfig, table: np.ndarray) -> dict[str, float]:
    """How far the network is from the exact answer, KL in nats a hidden position: with nothing revealed and with 1 to
    8 tokens revealed, on 128 fixed scenes each; `pairs`: scenes of two objects that no training caption names
    together."""
    known = [category for category in config.categories for _ in range(128 // len(config.categories))]
    excess = {}
    for split, categories in (("train", known), ("test", PAIRED * (128 // len(PAIRED)))):
        rng = np.random.default_rng(1)
        specs = [sample_spec(category, rng, split) for category in categories]
        for name, all_hidden in (("all hidden", 1), ("most hidden", 0)):
            share = {"all_hidden": all_hidden, "mostly_hidden": 1 - all_hidden}
            seen = np.zeros(len(specs), dtype=bool)
            batch = hide(config.model_copy(update=share), specs, seen, table, network.config.vocab_size, rng)
            name = name if split == "train" else f"{name}, pairs"
            excess[name] = round(loss_of(mixtures_of(network, batch)[0], batch).item() - entropy_of(batch), 4)
    return excess


def train(config: PretrainConfig, out: Path, folder: Path, precision: str) -> None:
    """Train up to `config.scenes`, going on from `folder/state.pt` where there is one; the averaged weights go to
    `out` at every save. One JSON line every `log_every` updates goes to standard output and `folder/log.jsonl`."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = Tokenizer.load(WEIGHTS / "tokenizer.safetensors")
    run, table, state = Run(config, tokenizer.vocab_size), code_table(tokenizer), folder / "state.pt"
    if state.exists():
        run.load(state)
    losses, started = [], time.monotonic() - run.seconds
    while run.update * config.batch < config.scenes:
        losses.append(advance(run, config, table, precision))
        run.seconds = time.monotonic() - started
        if run.update % config.log_every == 0:
            scenes = run.update * config.batch
            line = {"scenes": scenes, "seconds": round(run.seconds), "loss": round(float(np.mean(losses)), 4)}
            if run.update % config.save_every == 0:
                line |= validate(run.average, config, table)
                run.save(state)
                save_network(run.average, out, {"scenes": str(scenes), "seconds": str(round(run.seconds))})
            losses.clear()
            with (folder / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            print(json.dumps(line), flush=True)
    save_network(run.average, out, {"scenes": str(config.scenes), "seconds": str(round(run.seconds))})
