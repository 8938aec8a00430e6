"""What a taste is told on: numbers about a picture and its prompt that nobody trains while votes are counted.

Three kinds: plain colours, which tell tastes in what a prompt leaves open from a few dozen votes; what the dual encoder
sees in the picture; and what of that the prompt asks for.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cogrpo.emoji.dual_encoder import SPACE, WEIGHTS, DualEncoder
from cogrpo.rewards.base import blocks, file_version

COLOURS = 8  # mean red, green, blue of the rim and of the whole, saturation, contrast
RIM = 4  # px; what a picture shows there is mostly its background
KINDS = (COLOURS, SPACE, SPACE)  # numbers of each kind, in their order
COUNT = sum(KINDS)


class Features:
    """`version` changes whenever a number could."""

    def __init__(self) -> None:
        self.version = f"1-{file_version(WEIGHTS)}"
        self._encoder = DualEncoder.load(WEIGHTS)

    @torch.no_grad()
    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """uint8 [B, H, W, 3] to float32 [B, COUNT]; the numbers of a picture depend on it and its prompt alone."""
        parts = []
        for index, count in blocks(len(images)):
            pictures = images[index]
            seen = self._encoder.of_images(pictures)
            asked = self._encoder.of_texts([prompts[row] for row in index])
            parts.append(torch.cat([colours(pictures), seen, seen * asked], dim=1)[:count])
        return torch.cat(parts)


def colours(images: Tensor) -> Tensor:
    """uint8 [B, H, W, 3] to [B, COLOURS] in 0..1."""
    pixels = images.float() / 255
    rim = torch.ones(images.shape[1:3], dtype=torch.bool)
    rim[RIM:-RIM, RIM:-RIM] = False
    saturation = (pixels.amax(dim=-1) - pixels.amin(dim=-1)).mean(dim=(1, 2))
    contrast = pixels.mean(dim=-1).std(dim=(1, 2))
    return torch.cat(
        [pixels[:, rim].mean(dim=1), pixels.mean(dim=(1, 2)), saturation[:, None], contrast[:, None]], dim=1
    )
