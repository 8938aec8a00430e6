"""The words of the embedded world: 134 emoji classes and nine backgrounds (`configs/emoji/nouns.csv`)."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

NOUNS = Path(__file__).parents[2] / "configs" / "emoji" / "nouns.csv"


@dataclass(frozen=True)
class EmojiClass:
    """One kind of object. `colour` is empty where the emoji comes in one colour only."""

    index: int
    noun: str
    colour: str
    emoji: str
    plural: str

    @property
    def name(self) -> str:
        return f"{self.colour} {self.noun}".strip()


def _read(path: Path) -> tuple[EmojiClass, ...]:
    with path.open(encoding="utf-8", newline="") as file:
        return tuple(
            EmojiClass(index, row["noun"], row["colour"], chr(int(row["codepoint"], 16)), row["plural"])
            for index, row in enumerate(csv.DictReader(file))
        )


def _families(classes: tuple[EmojiClass, ...]) -> dict[str, dict[str, int]]:
    families: dict[str, dict[str, int]] = {}
    for emoji in classes:
        families.setdefault(emoji.noun, {})[emoji.colour] = emoji.index
    return families


CLASSES = _read(NOUNS)
FAMILIES = MappingProxyType(_families(CLASSES))  # noun -> {colour, or '' where there is but one: class index}
PLAIN = tuple(noun for noun, colours in FAMILIES.items() if "" in colours)
COLOURED = tuple(noun for noun, colours in FAMILIES.items() if "" not in colours)
COLOURS = tuple(dict.fromkeys(emoji.colour for emoji in CLASSES if emoji.colour))

# Far apart from one another, so that a background is one code and no shade of another.
BACKGROUNDS = MappingProxyType(
    {
        "white": (250, 250, 250),
        "grey": (160, 166, 176),
        "black": (28, 28, 34),
        "light blue": (132, 190, 250),
        "light green": (160, 222, 150),
        "pink": (250, 182, 206),
        "yellow": (253, 226, 110),
        "purple": (190, 160, 236),
        "sand": (226, 202, 160),
    }
)
