"""Measures that nobody rewards: what a reward leaves out is where it gets hacked.

Pure functions of finished pictures, uint8 [B, H, W, 3], and of their tokens, int [B, N]. A picture's measures are
told one by one; a group's (the pictures of one prompt) once for the group.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601
EDGE = 0.1  # step of brightness between neighbours, of a range of 1, that counts as an edge
LEVELS = 8  # of each colour channel in `colour_entropy`
THUMBNAIL = 16  # pixels along a side in `near_duplicates`
ALIKE = 4 / 255  # mean difference of two thumbnails under which a picture is a copy


def saturation(images: Tensor) -> Tensor:
    """Mean HSV saturation [B], 0 to 1."""
    pixels = images.float()
    high, low = pixels.amax(-1), pixels.amin(-1)
    return ((high - low) / high.clamp(min=1)).mean((1, 2))


def brightness(images: Tensor) -> Tensor:
    """Mean luma [B], 0 to 1."""
    return _luma(images).mean((1, 2))


def edge_density(images: Tensor) -> Tensor:
    """Share [B] of pixels at an edge to the right or below, 0 to 1."""
    luma = _luma(images)
    right, down = luma.diff(dim=2).abs()[:, :-1], luma.diff(dim=1).abs()[:, :, :-1]
    return (torch.maximum(right, down) > EDGE).float().mean((1, 2))


def colour_entropy(images: Tensor) -> Tensor:
    """Entropy [B] in bits of the colours of a picture, each channel in 8 levels: 0 to 9."""
    level = images.long() * LEVELS // 256
    colour = (level[..., 0] * LEVELS + level[..., 1]) * LEVELS + level[..., 2]
    return torch.stack([_bits(row) for row in colour.flatten(1)])


def token_entropy(images: Tensor, tokens: Tensor) -> float:
    """Entropy in bits of the tokens that a group uses."""
    return float(_bits(tokens.flatten()))


def diversity(images: Tensor, tokens: Tensor) -> float:
    """Mean share of positions at which two pictures of the group differ in token, 0 to 1; 0 for a group of one."""
    differ = (tokens[:, None] != tokens[None]).float().mean(-1)  # [B, B]
    pairs = len(tokens) * (len(tokens) - 1)
    return float(differ.sum() / pairs) if pairs else 0.0


def distinct_layouts(images: Tensor, tokens: Tensor) -> float:
    """Share of the group's pictures that a set of their different layouts would hold, 0 to 1.

    A layout is which positions hold another token than the picture's most frequent one: that is the background's.
    """
    layouts = tokens != tokens.mode(dim=1, keepdim=True).values
    return len(layouts.unique(dim=0)) / len(tokens)


def near_duplicates(images: Tensor, tokens: Tensor) -> float:
    """Share of the group's pairs that look alike, 0 to 1; 0 for a group of one.

    Of pairs: the share of pictures with a twin grows with the size of the group, and no margin would serve every gate.
    """
    pixels = images.float().permute(0, 3, 1, 2) / 255
    thumbnails = F.adaptive_avg_pool2d(pixels, THUMBNAIL).flatten(1)
    alike = F.pdist(thumbnails, p=1) / thumbnails.shape[1] < ALIKE
    return float(alike.float().mean()) if len(images) > 1 else 0.0


PICTURE: dict[str, Callable[[Tensor], Tensor]] = {
    function.__name__: function for function in (saturation, brightness, edge_density, colour_entropy)
}
GROUP: dict[str, Callable[[Tensor, Tensor], float]] = {
    function.__name__: function for function in (token_entropy, diversity, distinct_layouts, near_duplicates)
}


def of_pictures(images: Tensor) -> dict[str, Tensor]:
    """Every measure of a picture, name -> [B]."""
    return {name: function(images) for name, function in PICTURE.items()}


def of_group(images: Tensor, tokens: Tensor) -> dict[str, float]:
    """Every measure of a group: images uint8 [B, H, W, 3] and tokens [B, N] of one prompt."""
    return {name: function(images, tokens) for name, function in GROUP.items()}


def _luma(images: Tensor) -> Tensor:
    return images.float() @ torch.tensor(LUMA) / 255


def _bits(values: Tensor) -> Tensor:
    """Entropy in bits of the values' frequencies."""
    share = values.unique(return_counts=True)[1].float() / len(values)
    return -(share * share.log2()).sum()
