"""Pictures as the published rewards were trained to see them.

Both packages prepare pictures with torchvision; the arithmetic here is the same to the last bit (docs/rewards.md) and
stands on PIL and torch alone. It is done on the CPU, so a network sees the same numbers wherever it runs.
"""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

MEAN = (0.48145466, 0.4578275, 0.40821073)  # of red, green and blue, of CLIP
DEVIATION = (0.26862954, 0.26130258, 0.27577711)


def centre_crop(images: Tensor, size: int) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, size, size]: shorter side to `size` by PIL's bicubic, middle cut out."""
    height, width = images.shape[1:3]
    short = min(height, width)
    tall, wide = int(size * height / short), int(size * width / short)
    top, left = round((tall - size) / 2), round((wide - size) / 2)
    resized = [
        Image.fromarray(image.numpy()).resize((wide, tall), Image.Resampling.BICUBIC)
        for image in images.cpu()
    ]
    pixels = torch.from_numpy(np.stack(resized))[:, top : top + size, left : left + size]
    return _normal(_real(pixels))


def letterbox(images: Tensor, size: int) -> Tensor:
    """uint8 [B, H, W, 3] -> float32 [B, 3, size, size]: longer side to `size`, black beside the shorter.

    Resized as real numbers, antialiased, not cut to 0..1.
    """
    height, width = images.shape[1:3]
    scale = size / max(height, width)
    tall, wide = round(height * scale), round(width * scale)
    pixels = _real(images.cpu())
    if scale != 1:
        pixels = functional.interpolate(pixels, (tall, wide), mode="bicubic", antialias=True)
    above, before = (size - tall) // 2, (size - wide) // 2
    return _normal(functional.pad(pixels, (before, size - wide - before, above, size - tall - above)))


def _real(pixels: Tensor) -> Tensor:
    return pixels.movedim(3, 1).contiguous().float() / 255


def _normal(pixels: Tensor) -> Tensor:
    mean, deviation = (torch.tensor(each).view(3, 1, 1) for each in (MEAN, DEVIATION))
    return (pixels - mean) / deviation
