"""Pictures to tokens and back: vector quantisation of 16 x 16 px patches in RGBA.

A code is a learned patch of an object (premultiplied colour, and how much of the background shows through), so it
is the same whatever lies behind the object. The background itself is told by codes that vote for one of the nine:
the empty patch on each, and, for a class that fills its square so well that it has no empty patch, one patch at its
rim (four blue squares leave no empty cell, and their background must stand in some code).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cogrpo import weights
from cogrpo.emoji.scene import BACKGROUND_NAMES, CELL, GRID
from cogrpo.emoji.vocabulary import BACKGROUNDS

EMPTY = len(BACKGROUND_NAMES)  # codes 0 to 8 are the empty patch on each background
NO_VOTE = -1
KIND = "emoji-tokenizer"


def background_colours() -> Tensor:
    """[9, 3] in 0..1."""
    return torch.tensor([BACKGROUNDS[name] for name in BACKGROUND_NAMES]) / 255


def patches(images: Tensor) -> Tensor:
    """[B, 128, 128, C] to [B, 64, 256 * C]: one row a token, pixels in reading order."""
    batch, _, _, channels = images.shape
    cut = images.reshape(batch, GRID, CELL, GRID, CELL, channels).transpose(2, 3)
    return cut.reshape(batch, GRID * GRID, CELL * CELL * channels)


def unpatch(cells: Tensor) -> Tensor:
    """The inverse of `patches`: [B, 64, 256, C] to [B, 128, 128, C]."""
    batch, _, _, channels = cells.shape
    cut = cells.reshape(batch, GRID, GRID, CELL, CELL, channels).transpose(2, 3)
    return cut.reshape(batch, GRID * CELL, GRID * CELL, channels)


@dataclass(frozen=True)
class Tokenizer:
    """palette [V, 256, 4] float32 in 0..1: premultiplied red, green, blue, and transparency, of each code;
    votes [V] int64: the background that the code tells, or NO_VOTE."""

    palette: Tensor
    votes: Tensor

    @property
    def vocab_size(self) -> int:
        return len(self.palette)

    def over(self, codes: Tensor, background: Tensor) -> Tensor:
        """Codes [...] laid over colours [..., 3]: [..., 256, 3] in 0..1."""
        patch = self.palette[codes]
        return (patch[..., :3] + patch[..., 3:] * background[..., None, :]).clamp(0, 1)

    def background(self, tokens: Tensor) -> Tensor:
        """The background [B] with most votes among tokens [B, N]; white where none votes."""
        return torch.nn.functional.one_hot(self.votes[tokens] + 1, EMPTY + 1)[..., 1:].sum(1).argmax(-1)

    def decode(self, tokens: Tensor) -> Tensor:
        """Tokens [B, 64] to pictures, uint8 [B, 128, 128, 3]."""
        colour = background_colours()[self.background(tokens)]
        return _to_bytes(unpatch(self.over(tokens, colour[:, None].expand(*tokens.shape, 3))))

    def code_images(self, codes: Tensor) -> Tensor:
        """Single codes over white, uint8 [K, 16, 16, 3]."""
        white = torch.ones(*codes.shape, 3)
        return _to_bytes(self.over(codes, white).reshape(-1, CELL, CELL, 3))

    def encode(self, images: Tensor) -> Tensor:
        """Pictures, uint8 [B, 128, 128, 3], to tokens [B, 64]: of the nine backgrounds the one under which the
        nearest codes explain the picture best."""
        costs, tokens = zip(*(self.encode_on(images, index) for index in range(EMPTY)), strict=True)
        best = torch.stack(costs).argmin(0)
        return torch.stack(tokens)[best, torch.arange(len(images))]

    def encode_on(self, images: Tensor, background: int) -> tuple[Tensor, Tensor]:
        """Squared error [B] and nearest tokens [B, 64] of pictures on a known background."""
        allowed = ((self.votes == NO_VOTE) | (self.votes == background)).nonzero()[:, 0]
        codes = self.over(allowed, background_colours()[background].expand(len(allowed), 3)).flatten(1)
        distance, nearest = torch.cdist(patches(images.float() / 255), codes).min(-1)
        return distance.square().sum(-1), allowed[nearest]

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        tensors = {"palette": self.palette, "votes": self.votes.to(torch.int8)}
        weights.save(path, KIND, tensors, notes)

    @classmethod
    def load(cls, path: Path) -> Tokenizer:
        """Raises ValueError where `path` is no tokenizer of this version."""
        tensors, _ = weights.load(path, KIND)
        return cls(tensors["palette"], tensors["votes"].long())


def _to_bytes(pixels: Tensor) -> Tensor:
    return (pixels * 255).round().to(torch.uint8)
