"""Scores what a detector saw in a picture against what the caption asked for, strictly and in parts.

    soft = objects x weighted mean of (each relation, weight 2; background if named; cleanliness)

`objects` is an F1: 2 x matched / (asked for + seen), where an object of the right noun in a wrong colour is
half a match. Without its objects a picture earns nothing, however clean it is. soft is 1 exactly where strict
holds.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from cogrpo.emoji.scene import BACKGROUND_NAMES, MOST, Placed, Relation, Scene, Spec, holds, satisfies
from cogrpo.emoji.vocabulary import CLASSES
from cogrpo.emoji.wording import PHRASE_OF, definite, name, with_article

STRAY_LIMIT = 0.02  # above it a picture is not clean: one token of the 48 beside a single object is .021
WRONG_COLOUR = 0.5  # credit of the right noun in a wrong colour
RELATION_WEIGHT = 2.0
BELOW_STRICT = 0.999  # the most that a picture can earn that is not strictly right


@dataclass(frozen=True)
class Detection:
    """What a detector saw. stray: share (0 to 1) of the picture beside the objects that is not background."""

    objects: tuple[Placed, ...]
    background: int  # index into scene.BACKGROUND_NAMES
    stray: float


@dataclass(frozen=True)
class Verdict:
    """clauses: what was asked for, piece by piece, each with its credit in [0, 1]."""

    strict: bool
    soft: float
    clauses: tuple[tuple[str, float], ...]


def score(spec: Spec, detection: Detection) -> Verdict:
    """Where groups may share objects ('a dog left of a dog'), the reading kindest to the picture counts."""
    clean = detection.stray <= STRAY_LIMIT
    strict = clean and satisfies(spec, Scene(detection.objects, detection.background))
    few = len(detection.objects) <= MOST
    orders = itertools.permutations(detection.objects) if few else (detection.objects,)
    readings = (_score(spec, order, detection, strict) for order in orders)
    return max(readings, key=lambda reading: (reading.soft, sum(credit for _, credit in reading.clauses)))


def _score(spec: Spec, seen: tuple[Placed, ...], detection: Detection, strict: bool) -> Verdict:
    clean = detection.stray <= STRAY_LIMIT
    groups, near, _ = share_out(spec, seen)
    matched = [len(own) + WRONG_COLOUR * len(other) for own, other in zip(groups, near, strict=True)]
    objects = 2 * sum(matched) / (spec.total + len(seen))
    rest = [(_said(spec, r), RELATION_WEIGHT, _held(r, spec, groups)) for r in spec.relations]
    if spec.background:
        same = float(BACKGROUND_NAMES[detection.background] == spec.background)
        rest.append((f"on {with_article(spec.background)} background", 1.0, same))
    rest.append(("nothing stray", 1.0, 1.0 if clean else STRAY_LIMIT / detection.stray))
    mean = sum(weight * credit for _, weight, credit in rest) / sum(weight for _, weight, _ in rest)
    clauses = [
        (name(group), credit / group.count) for group, credit in zip(spec.objects, matched, strict=True)
    ]
    clauses.append(("no other object", min(1.0, spec.total / max(1, len(seen)))))
    clauses += [(text, credit) for text, _, credit in rest]
    soft = 1.0 if strict else min(BELOW_STRICT, objects * mean)
    return Verdict(strict, soft, tuple(clauses))


def share_out(
    spec: Spec, seen: Sequence[Placed]
) -> tuple[list[list[Placed]], list[list[Placed]], list[Placed]]:
    """For each group the objects that are just what it asks for; for each group those of its noun in a wrong colour, as
    far as it lacks some; and the objects that nobody asked for."""
    rest = list(seen)
    groups: list[list[Placed]] = [[] for _ in spec.objects]
    # The groups that accept fewest classes choose first.
    for index in sorted(range(len(groups)), key=lambda i: len(spec.objects[i].classes)):
        group = spec.objects[index]
        groups[index] = [item for item in rest if item.cls in group.classes][: group.count]
        for item in groups[index]:
            rest.remove(item)
    near: list[list[Placed]] = []
    for group, own in zip(spec.objects, groups, strict=True):
        alike = [item for item in rest if CLASSES[item.cls].noun == group.noun][: group.count - len(own)]
        near.append(alike)
        for item in alike:
            rest.remove(item)
    return groups, near, rest


def _held(relation: Relation, spec: Spec, groups: list[list[Placed]]) -> float:
    """The share of the pairs asked for that are there and stand as they should."""
    wanted = spec.objects[relation.subject].count * spec.objects[relation.object].count
    pairs = itertools.product(groups[relation.subject], groups[relation.object])
    return sum(holds(relation.kind, a, b) for a, b in pairs) / wanted


def _said(spec: Spec, relation: Relation) -> str:
    subject, other = spec.objects[relation.subject], spec.objects[relation.object]
    return f"{definite(subject)} {PHRASE_OF[relation.kind]} {definite(other)}"
