"""Scenes of the embedded world: what a caption asks for (`Spec`) and where things stand (`Scene`).

A picture is 8 x 8 tokens. An object covers 4 x 4 of them, its corner lies on the token grid, and objects never
overlap: two of them are therefore always a whole object apart in one axis at least.
"""

from __future__ import annotations

import itertools
import zlib
from dataclasses import dataclass
from functools import lru_cache
from math import hypot
from typing import Literal

import numpy as np

from cogrpo.emoji.vocabulary import BACKGROUNDS, CLASSES, COLOURED, FAMILIES, PLAIN

GRID = 8  # tokens along a side of the picture
SIZE = 4  # tokens along a side of an object
CELL = 16  # pixels along a side of a token
MOST = 4  # objects that fit without overlap
BACKGROUND_NAMES = tuple(BACKGROUNDS)
CATEGORIES = ("single", "two", "count", "colour", "position", "attribution", "dense")

Kind = Literal["left", "right", "above", "below"]
OPPOSITE: dict[Kind, Kind] = {"left": "right", "right": "left", "above": "below", "below": "above"}


@dataclass(frozen=True)
class Placed:
    """An object of class `cls` whose top-left token is (row, column), both 0 to 4."""

    cls: int
    row: int
    col: int


@dataclass(frozen=True)
class Scene:
    objects: tuple[Placed, ...]
    background: int  # index into BACKGROUND_NAMES


@dataclass(frozen=True)
class ObjectSpec:
    """`count` objects of one noun. `colour` is None for a plain noun, or where any colour of the family will do."""

    noun: str
    colour: str | None = None
    count: int = 1

    @property
    def label(self) -> str:
        return f"{self.colour or ''} {self.noun}".strip()

    @property
    def classes(self) -> tuple[int, ...]:
        family = FAMILIES[self.noun]
        return (family[self.colour],) if self.colour else tuple(family.values())


@dataclass(frozen=True)
class Relation:
    """Every object of group `subject` stands `kind` of every object of group `object` (indices into Spec.objects)."""

    subject: int
    kind: Kind
    object: int


@dataclass(frozen=True)
class Spec:
    """The meaning of a caption."""

    objects: tuple[ObjectSpec, ...]
    relations: tuple[Relation, ...] = ()
    background: str | None = None

    @property
    def total(self) -> int:
        return sum(group.count for group in self.objects)


def regions_of(scene: Scene) -> np.ndarray:
    """Which object covers each position, from 1, or 0 for the background, int [64]."""
    grid = np.zeros((GRID, GRID), dtype=int)
    for index, item in enumerate(scene.objects):
        grid[item.row : item.row + SIZE, item.col : item.col + SIZE] = index + 1
    return grid.reshape(-1)


def holds(kind: Kind, a: Placed, b: Placed) -> bool:
    """Whether `a` is `kind` of `b`: GenEval's rule, the unit vector between the centres leans that way by over .5."""
    down, across = b.row - a.row, b.col - a.col
    length = hypot(down, across)
    lean = {"left": across, "right": -across, "above": down, "below": -down}[kind]
    return length > 0 and lean / length > 0.5


def satisfies(spec: Spec, scene: Scene) -> bool:
    """The strict truth of a caption: exact objects, every relation, and the background where one was named. Where
    groups may share objects ('a dog left of a dog'), one way to tell them apart is enough."""
    if len(scene.objects) != spec.total or (
        spec.background not in (None, BACKGROUND_NAMES[scene.background])
    ):
        return False
    return any(_in_order(spec, objects) for objects in itertools.permutations(scene.objects))


def _in_order(spec: Spec, objects: tuple[Placed, ...]) -> bool:
    """Whether the first objects are the first group, the next ones the second, and all relations hold."""
    rest = iter(objects)
    groups = [tuple(itertools.islice(rest, group.count)) for group in spec.objects]
    named = all(
        item.cls in wanted.classes
        for wanted, group in zip(spec.objects, groups, strict=True)
        for item in group
    )
    return named and all(
        holds(relation.kind, a, b)
        for relation in spec.relations
        for a, b in itertools.product(groups[relation.subject], groups[relation.object])
    )


def held_out(a: str, b: str) -> bool:
    """Whether no training caption may name the labels `a` and `b` together (one pair in ten, fixed by a hash)."""
    return zlib.crc32("|".join(sorted((a, b))).encode()) % 10 == 0


def pairs_held_out(spec: Spec) -> int:
    return sum(held_out(a.label, b.label) for a, b in itertools.combinations(spec.objects, 2))


@lru_cache
def _layouts(count: int) -> np.ndarray:
    """All ordered layouts of `count` objects without overlap, int [L, count, 2] of (row, column)."""
    if count == 0:
        return np.zeros((1, 0, 2), dtype=int)
    fewer, corners = _layouts(count - 1), np.array(list(itertools.product(range(GRID - SIZE + 1), repeat=2)))
    apart = np.abs(fewer[:, None] - corners[:, None]).max(-1) >= SIZE  # [L, 25, count - 1]
    layout, corner = apart.all(-1).nonzero()
    return np.concatenate([fewer[layout], corners[corner][:, None]], axis=1)


@lru_cache(maxsize=4096)
def layouts_of(counts: tuple[int, ...], relations: tuple[Relation, ...]) -> np.ndarray:
    """The layouts that `place` draws from, int [L, objects, 2] of (row, column): objects in the order of the groups,
    each relation plain to see, a whole object apart in its axis."""
    layouts = _layouts(sum(counts))
    starts = np.cumsum((0, *counts))
    fits = np.ones(len(layouts), dtype=bool)
    for relation in relations:
        axis, sign = {"left": (1, 1), "right": (1, -1), "above": (0, 1), "below": (0, -1)}[relation.kind]
        for a in range(starts[relation.subject], starts[relation.subject + 1]):
            for b in range(starts[relation.object], starts[relation.object + 1]):
                fits &= sign * (layouts[:, b, axis] - layouts[:, a, axis]) >= SIZE
    return layouts[fits]


def place(spec: Spec, rng: np.random.Generator) -> Scene:
    """A scene that the spec describes, each layout equally likely. Raises ValueError where none exists."""
    layouts = layouts_of(tuple(group.count for group in spec.objects), spec.relations)
    if not len(layouts):
        raise ValueError("No layout satisfies these relations.")
    corners = layouts[rng.integers(len(layouts))]
    classes = [rng.choice(group.classes) for group in spec.objects for _ in range(group.count)]
    objects = tuple(
        Placed(int(c), int(row), int(col)) for c, (row, col) in zip(classes, corners, strict=True)
    )
    names = BACKGROUND_NAMES
    background = names.index(spec.background) if spec.background else int(rng.integers(len(names)))
    return Scene(objects, background)


def _random_object(rng: np.random.Generator, coloured: bool | None = None, count: int = 1) -> ObjectSpec:
    """`coloured`: True for a family with its colour named, False for a plain noun or a family of any colour."""
    if coloured is None:
        coloured = rng.random() < 0.2
    if coloured:
        emoji = CLASSES[rng.choice([c for noun in COLOURED for c in FAMILIES[noun].values()])]
        return ObjectSpec(emoji.noun, emoji.colour, count)
    nouns = PLAIN if rng.random() < 0.95 else COLOURED
    return ObjectSpec(str(rng.choice(nouns)), None, count)


DENSE_COUNTS = ((1, 1, 1), (1, 1, 1, 1), (2, 1), (1, 2), (2, 2), (3, 1), (1, 3), (2, 1, 1), (1, 1, 2))


def _draw(category: str, rng: np.random.Generator) -> Spec:
    background = str(rng.choice(BACKGROUND_NAMES)) if rng.random() < 0.5 else None
    match category:
        case "single":
            return Spec((_random_object(rng, coloured=False),), (), background)
        case "count":
            return Spec((_random_object(rng, count=int(rng.integers(2, MOST + 1))),), (), background)
        case "colour":
            return Spec((_random_object(rng, coloured=True),), (), background)
        case "two" | "position" | "attribution":
            coloured = True if category == "attribution" else None
            objects = (_random_object(rng, coloured), _random_object(rng, coloured))
            kinds = tuple(OPPOSITE)
            relations = (Relation(0, kinds[rng.integers(4)], 1),) if category == "position" else ()
            return Spec(objects, relations, background)
        case "dense":
            counts = DENSE_COUNTS[rng.integers(len(DENSE_COUNTS))]
            objects = tuple(_random_object(rng, count=count) for count in counts)
            return Spec(objects, _read_off(counts, rng), background)
    raise ValueError(f"category: unknown {category!r}; one of {', '.join(CATEGORIES)}")


def _read_off(counts: tuple[int, ...], rng: np.random.Generator) -> tuple[Relation, ...]:
    """Relations that are true together, because they are read off one random layout; each group after the
    first is tied to an earlier one wherever the layout lets it."""
    layouts = _layouts(sum(counts))
    corners = layouts[rng.integers(len(layouts))]
    groups = np.split(corners, np.cumsum(counts)[:-1])
    relations = []
    for subject in range(1, len(groups)):
        true = []
        for other in range(subject):
            gap = groups[other][None] - groups[subject][:, None]  # [subjects, others, 2]
            for kind, axis, sign in (("left", 1, 1), ("right", 1, -1), ("above", 0, 1), ("below", 0, -1)):
                if (sign * gap[..., axis] >= SIZE).all():
                    true.append(Relation(subject, kind, other))
        if true:
            relations.append(true[rng.integers(len(true))])
    return tuple(relations)


def sample_spec(
    category: str, rng: np.random.Generator, split: Literal["train", "validation", "test"]
) -> Spec:
    """A random caption's meaning. Test specs of several groups hold a pair that no training caption holds;
    training and validation specs hold none of those pairs. Groups of one spec have different nouns or colours."""
    while True:
        spec = _draw(category, rng)
        labels = [group.label for group in spec.objects]
        nouns_clash = len(set(labels)) < len(labels) or any(
            a.noun == b.noun and not (a.colour and b.colour)
            for a, b in itertools.combinations(spec.objects, 2)
        )
        if nouns_clash or (category == "dense" and not spec.relations):
            continue
        if len(labels) == 1 or (pairs_held_out(spec) > 0) == (split == "test"):
            return spec


def render(scene: Scene, sprites: np.ndarray) -> np.ndarray:
    """Paint a scene. sprites: uint8 [classes, 64, 64, 4], straight alpha. Returns uint8 [128, 128, 3]."""
    side = GRID * CELL
    picture = np.empty((side, side, 3), np.float32)
    picture[:] = BACKGROUNDS[BACKGROUND_NAMES[scene.background]]
    for item in scene.objects:
        sprite = sprites[item.cls].astype(np.float32)
        alpha = sprite[..., 3:] / 255
        top, left, edge = item.row * CELL, item.col * CELL, SIZE * CELL
        window = picture[top : top + edge, left : left + edge]
        window[:] = sprite[..., :3] * alpha + window * (1 - alpha)
    return picture.round().astype(np.uint8)
