"""Emoji as pictures, drawn by Pillow from the Noto Color Emoji font. Needed for training only."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cogrpo.emoji.scene import CELL, SIZE
from cogrpo.emoji.vocabulary import CLASSES

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")  # Debian's fonts-noto-color-emoji
STRIKE = 109  # the only bitmap size that the font holds
BOX = 60  # longest side of an object in pixels, centred in its 64


def load_sprites(font: Path = FONT) -> np.ndarray:
    """All classes as uint8 [classes, 64, 64, 4], straight alpha. Raises FileNotFoundError without the font."""
    if not font.is_file():
        raise FileNotFoundError(
            f"{font} is missing: install Debian's fonts-noto-color-emoji to train or to test scenes."
        )
    face = ImageFont.truetype(str(font), STRIKE)
    return np.stack([_sprite(face, emoji.emoji) for emoji in CLASSES])


def _sprite(face: ImageFont.FreeTypeFont, character: str) -> np.ndarray:
    canvas = Image.new("RGBA", (2 * STRIKE, 2 * STRIKE))
    ImageDraw.Draw(canvas).text((STRIKE // 4, STRIKE // 4), character, font=face, embedded_color=True)
    glyph = canvas.crop(canvas.getbbox())
    scale = BOX / max(glyph.size)
    glyph = glyph.resize((round(glyph.width * scale), round(glyph.height * scale)), Image.Resampling.LANCZOS)
    side = SIZE * CELL
    sprite = Image.new("RGBA", (side, side))
    sprite.paste(glyph, ((side - glyph.width) // 2, (side - glyph.height) // 2))
    return np.asarray(sprite)
