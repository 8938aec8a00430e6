"""A decode as a GIF: what the viewer's picture shows, hidden cells hatched, at the viewer's pace."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from cogrpo.trace import Trace

GROWTH = 3  # whole factor, without blur
PACE, REST = 250, 1500  # ms
GROUND, LINE, GAP = (238, 240, 243), (130, 138, 150), 9  # as in static/tokens.css, light


def animate(trace: Trace, pictures: Sequence[bytes]) -> bytes:
    """pictures: the PNG of each step's whole guess."""
    frames = [_frame(picture, trace.kept_step > t, trace.grid) for t, picture in enumerate(pictures)]
    blank = _frame(pictures[0], np.ones_like(trace.kept_step, bool), trace.grid)
    file = io.BytesIO()
    durations = [*[PACE] * len(frames), REST]
    blank.save(file, "GIF", save_all=True, append_images=frames, duration=durations, loop=0, optimize=False)
    return file.getvalue()


def _frame(picture: bytes, hidden: np.ndarray, grid: tuple[int, int]) -> Image.Image:
    image = Image.open(io.BytesIO(picture)).convert("RGB")
    size = (image.width * GROWTH, image.height * GROWTH)
    pixels = np.asarray(image.resize(size, Image.Resampling.NEAREST))
    cover = hidden.reshape(grid).repeat(size[1] // grid[0], axis=0).repeat(size[0] // grid[1], axis=1)
    y, x = np.indices(cover.shape)
    hatch = np.where(((x + y) % GAP == 0)[..., None], LINE, GROUND).astype(np.uint8)
    frame = Image.fromarray(np.where(cover[..., None], hatch, pixels))
    return frame.quantize(128, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
