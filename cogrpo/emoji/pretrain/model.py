"""Training the masked transformer: predict the hidden tokens of random scenes (MaskGIT, arXiv 2202.04200)."""

from __future__ import annotations

import json
import time
from copy import deepcopy
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from cogrpo.emoji.conditioning import encode_specs
from cogrpo.emoji.pretrain.batch import Batch, code_table, draw_batch, hide
from cogrpo.emoji.pretrain.model_config import PretrainConfig
from cogrpo.emoji.pretrain.posterior import choices
from cogrpo.emoji.scene import sample_spec
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.emoji.transformer import NAMED, PARTS, RARE, TEXT, MaskedTransformer, TransformerConfig
from cogrpo.models.emoji import WEIGHTS, save_network


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

    Seen through scenes alone, which code belongs to which part of what is learned slowly. 0 where no text is seen.
    """
    if batch.drop.all():
        return names.new_zeros(())
    where, weight, parts = [], [], 0
    for row in (~batch.drop).nonzero()[:, 0].tolist():
        backgrounds, objects = choices(batch.specs[row])
        codes = [backgrounds[:, None]]  # [kinds, parts] of the background, then of each object
        codes += [table[np.ix_(backgrounds, classes)].reshape(-1, PARTS) for classes in objects]
        first = 0
        for each in codes:
            part = np.arange(first, first + each.shape[1])
            where.append(((row * NAMED + part) * names.shape[-1] + each).ravel())
            weight.append(np.full(each.size, 1 / len(each)))
            first += each.shape[1]
        parts += first
    chosen = names.flatten()[torch.from_numpy(np.concatenate(where))]
    return -((chosen + RARE).log() * torch.from_numpy(np.concatenate(weight)).float()).sum() / parts


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
