"""A verdict as one HTML page that needs nothing beside it: pictures are inside, and there is no script."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, StrictUndefined
from PIL import Image

from cogrpo.gate import Check, Verdict

TEMPLATE = Path(__file__).with_name("gate.html")
WIDTH = 200  # units along a check's interval


@dataclass(frozen=True)
class PicturePair:
    """What both checkpoints drew for one prompt and seed, uint8 [H, W, 3] each."""

    prompt: str
    seed: int
    steps: int
    champion: np.ndarray
    candidate: np.ndarray


@dataclass(frozen=True)
class Bar:
    """An interval drawn on a line of WIDTH units whose middle is no difference; limits: those of the rule."""

    low: float
    high: float
    middle: float
    limits: tuple[float, ...]


def page(verdict: Verdict, pictures: Sequence[PicturePair] = ()) -> str:
    """The page as HTML text. Prompts are shown as text, whatever they hold."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["bar"] = bar
    environment.filters["address"] = address
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    return template.render(verdict=verdict, pictures=pictures, width=WIDTH)


def bar(check: Check) -> Bar:
    rule = check.rule
    limits = [rule.must_rise, -rule.may_fall if rule.may_fall is not None else None, rule.may_rise]
    told = [limit for limit in limits if limit is not None]
    reach = 1.1 * max(abs(value) for value in (check.low, check.high, *told, 1e-12))

    def place(value: float) -> float:
        return round(WIDTH / 2 * (1 + value / reach), 1)

    return Bar(place(check.low), place(check.high), place(check.difference), tuple(map(place, told)))


def png(image: np.ndarray) -> bytes:
    """A picture uint8 [H, W, 3] as a file, always the same bytes."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def address(image: np.ndarray) -> str:
    """A picture as a data address."""
    return "data:image/png;base64," + base64.b64encode(png(image)).decode()
