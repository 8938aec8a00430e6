"""Learning the palette: online k-means on RGBA patches of scenes.

Each scene is painted on two backgrounds; where they differ, the pixel lets the background through (triangulation
matting, Smith and Blinn 1996). That gives every patch its own colour and transparency, free of what lies behind it.
Codes that serve no patch restart from the patches that are explained worst, in proportion to their squared error.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cogrpo.config import Config
from cogrpo.emoji.pretrain import resume
from cogrpo.emoji.scene import BACKGROUND_NAMES, CATEGORIES, SIZE, place, render, sample_spec
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.tokenizer import EMPTY, NO_VOTE, Tokenizer, background_colours, patches

VISIBLE = 0.004  # mean opacity from which a patch is no longer empty
SAME = 0.2  # distance in RGBA under which two codes are one


class TokenizerConfig(Config):
    seed: int
    codes: int
    batches: int
    scenes: int
    decay: float
    dead_below: float
    restart_every: int
    restart_until: int


def matte(first: Tensor, second: Tensor, first_colour: Tensor, second_colour: Tensor) -> Tensor:
    """Two pictures [B, 128, 128, 3] in 0..1 of the same objects over two plain colours [B, 3]: premultiplied colour
    and transparency [B, 128, 128, 4]."""
    a, b = first_colour[:, None, None], second_colour[:, None, None]
    gap = a - b
    through = ((first - second) * gap).sum(-1, keepdim=True) / gap.square().sum(-1, keepdim=True)
    through = through.clamp(0, 1)
    return torch.cat([(first - through * a).clamp(0, 1), through], -1)


def twin_patches(config: TokenizerConfig, rng: np.random.Generator, sprites: np.ndarray) -> Tensor:
    """Non-empty patches [M, 1024] of one batch of scenes."""
    colours, pictures, indices = background_colours(), ([], []), ([], [])
    for number in range(config.scenes):
        scene = place(sample_spec(CATEGORIES[number % len(CATEGORIES)], rng, "train"), rng)
        for side, background in enumerate(rng.choice(len(BACKGROUND_NAMES), 2, replace=False)):
            pictures[side].append(render(replace(scene, background=int(background)), sprites))
            indices[side].append(background)
    first, second = (torch.from_numpy(np.stack(side)).float() / 255 for side in pictures)
    cells = patches(matte(first, second, colours[indices[0]], colours[indices[1]])).flatten(0, 1)
    opacity = 1 - cells.reshape(-1, 256, 4)[..., 3].mean(-1)
    return cells[opacity > VISIBLE]


def object_patches(sprites: np.ndarray) -> Tensor:
    """The sixteen patches of each class as RGBA, [classes, 16, 1024]."""
    straight = torch.from_numpy(sprites.astype(np.float32)) / 255
    alpha = straight[..., 3:]
    side = sprites.shape[1] // SIZE
    cells = torch.cat([straight[..., :3] * alpha, 1 - alpha], -1).reshape(-1, SIZE, side, SIZE, side, 4)
    return cells.transpose(2, 3).reshape(len(sprites), SIZE * SIZE, -1)


def rim_codes(centres: Tensor, sprites: np.ndarray) -> Tensor:
    """The codes that must tell the background: of each class without an empty patch, its emptiest one."""
    cells = object_patches(sprites)
    opacity = 1 - cells.unflatten(-1, (256, 4))[..., 3].mean(-1)
    full = (opacity > VISIBLE).all(-1)
    rim = cells[full, opacity[full].argmin(-1)]
    return torch.cdist(rim, centres).argmin(-1).unique()


def distinct(centres: Tensor) -> Tensor:
    """Centres without those that lie closer than SAME to an earlier one."""
    near = torch.cdist(centres, centres, compute_mode="donot_use_mm_for_euclid_dist") < SAME
    return centres[~near.tril(-1).any(-1)]


def assemble(centres: Tensor, sprites: np.ndarray) -> Tokenizer:
    """The code book: nine empty patches, the rim codes once a background, and all other patches once."""
    rim = rim_codes(centres, sprites)
    plain = torch.ones(len(centres), dtype=torch.bool)
    plain[rim] = False
    flat = background_colours()[:, None].expand(EMPTY, 256, 3)
    empty = torch.cat([flat, torch.zeros(EMPTY, 256, 1)], -1)
    told = torch.arange(EMPTY)
    parts = [empty.flatten(1), centres[rim].repeat(EMPTY, 1), centres[plain]]
    votes = [told, told.repeat_interleave(len(rim)), torch.full((int(plain.sum()),), NO_VOTE)]
    return Tokenizer(torch.cat(parts).unflatten(-1, (256, 4)), torch.cat(votes))


def train(config: TokenizerConfig, out: Path, folder: Path) -> None:
    """Learn and write `out`, going on from `folder/state.pt` where there is one; prints the mean error every 50
    batches. About two minutes on one thread."""
    rng, sprites = np.random.default_rng(config.seed), load_sprites()
    centres = twin_patches(config, rng, sprites)[:1].repeat(config.codes, 1)
    sums, counts = centres.clone(), torch.ones(config.codes)
    state, parts = folder / "state.pt", {"rng": rng, "centres": centres, "sums": sums, "counts": counts}
    for batch in range(resume.load(state, parts), config.batches):
        cells = twin_patches(config, rng, sprites)
        distance, nearest = torch.cdist(cells, centres).min(-1)
        counts.mul_(config.decay).index_add_(0, nearest, torch.full((len(cells),), 1 - config.decay))
        sums.mul_(config.decay).index_add_(0, nearest, (1 - config.decay) * cells)
        seen = counts > 1e-6
        centres[seen] = sums[seen] / counts[seen, None]
        if batch % config.restart_every == 0 and batch < config.restart_until:
            dead = (counts < config.dead_below).nonzero()[:, 0]
            error = distance.double().square().numpy() + 1e-12
            worst = min(len(dead), int((distance > SAME).sum()))
            fresh = rng.choice(len(cells), worst, replace=False, p=error / error.sum())
            chosen = dead[:worst]
            centres[chosen], counts[chosen] = cells[fresh], 0.1
            sums[chosen] = cells[fresh] * 0.1
        if batch % 50 == 0 or batch == config.batches - 1:
            error = distance.square().mean() / cells.shape[1]
            print(
                f"batch {batch} error {error:.3e} codes in use {int((counts > config.dead_below).sum())}",
                flush=True,
            )
            resume.save(state, batch + 1, parts)
    tokenizer = assemble(distinct(centres), sprites)
    tokenizer.save(out, {"seed": str(config.seed), "scenes": str(config.batches * config.scenes)})
    print(f"{tokenizer.vocab_size} codes, {out}")
