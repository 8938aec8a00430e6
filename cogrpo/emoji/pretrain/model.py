"""Training the masked transformer: predict the hidden tokens of random scenes (MaskGIT, arXiv 2202.04200).

A scene's tokens are looked up, not rendered: the tokenizer reads patches one by one, so a table of
(background, class, patch) holds every code. Scenes are therefore never seen twice.
"""

from __future__ import annotations

import json
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo.config import Config
from cogrpo.emoji.conditioning import encode_specs
from cogrpo.emoji.scene import BACKGROUND_NAMES, GRID, SIZE, Placed, Scene, Spec, place, render, sample_spec
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.emoji.transformer import TEXT, TOKENS, MaskedTransformer, TransformerConfig
from cogrpo.models.emoji import WEIGHTS, save_network

UNTAUGHT = -100  # cross_entropy's ignore_index


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


def draw_batch(
    config: PretrainConfig, table: np.ndarray, rng: np.random.Generator
) -> tuple[list[Spec], Tensor]:
    """Specs and tokens [B, 64] of fresh scenes."""
    names, weights = list(config.categories), np.array(list(config.categories.values()))
    chosen = rng.choice(names, config.batch, p=weights / weights.sum())
    specs = [sample_spec(category, rng, "train") for category in chosen]
    tokens = np.stack([tokens_of(place(spec, rng), table).reshape(-1) for spec in specs])
    return specs, torch.from_numpy(tokens)


def draw_hidden(config: PretrainConfig, rng: np.random.Generator) -> Tensor:
    """Which tokens are hidden, bool [B, 64]."""
    kind = rng.random(config.batch)
    count = rng.integers(1, TOKENS, config.batch)
    count = np.where(
        kind < config.all_hidden + config.mostly_hidden, rng.integers(40, TOKENS, config.batch), count
    )
    count = np.where(kind < config.all_hidden, TOKENS, count)
    order = rng.random((config.batch, TOKENS)).argsort(-1).argsort(-1)
    return torch.from_numpy(order < count[:, None])


def loss_of(
    network: MaskedTransformer, specs: list[Spec], tokens: Tensor, hidden: Tensor, drop: Tensor
) -> Tensor:
    """Mean cross-entropy over hidden positions, in nats. drop [B] bool: rows that see no text."""
    text = network.read(encode_specs(specs))
    text = torch.where(drop[:, None, None], network.no_text.expand(len(specs), TEXT, -1), text)
    states = network.hidden_states(tokens, hidden, text)
    # All positions, not the hidden ones alone: their number varies, and each new shape is compiled anew in bf16.
    logits = network.head(states).float().flatten(0, 1)
    return F.cross_entropy(logits, torch.where(hidden, tokens, UNTAUGHT).flatten(), ignore_index=UNTAUGHT)


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
    specs, tokens = draw_batch(config, table, run.rng)
    hidden = draw_hidden(config, run.rng)
    drop = torch.from_numpy(run.rng.random(config.batch) < config.caption_drop)
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
        loss = loss_of(run.network, specs, tokens, hidden, drop)
    loss.backward()
    nn.utils.clip_grad_norm_(run.network.parameters(), 1.0)
    for optimiser in run.optimisers:
        optimiser.step()
    run.update += 1
    keep = min(config.average, run.update / (run.update + 10))
    with torch.no_grad():
        for kept, new in zip(run.average.parameters(), run.network.parameters(), strict=True):
            kept.lerp_(new, 1 - keep)
    return loss.item()


@torch.no_grad()
def validate(network: MaskedTransformer, config: PretrainConfig, table: np.ndarray) -> dict[str, float]:
    """Loss in nats on 128 fixed scenes with all, 60 % and 20 % of the tokens hidden."""
    rng = np.random.default_rng(1)
    specs, tokens = draw_batch(config.model_copy(update={"batch": 128}), table, rng)
    order = torch.from_numpy(rng.random((128, TOKENS)).argsort(-1).argsort(-1))
    seen = torch.zeros(128, dtype=torch.bool)
    return {
        f"loss at {share}": round(loss_of(network, specs, tokens, order < share * TOKENS, seen).item(), 4)
        for share in (1.0, 0.6, 0.2)
    }


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
