"""Captions that are almost right: the meaning of one, changed in one point."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from cogrpo.emoji.scene import (
    BACKGROUND_NAMES,
    MOST,
    OPPOSITE,
    ObjectSpec,
    Relation,
    Spec,
    layouts_of,
)
from cogrpo.emoji.vocabulary import COLOURED, FAMILIES, PLAIN

EDITS = ("colour", "relation", "add", "remove", "noun", "background")


def near_miss(spec: Spec, rng: np.random.Generator) -> Spec:
    """A random edit of a spec that groups can still be told apart in and that a picture can show."""
    while True:
        edited = edit(EDITS[rng.integers(len(EDITS))], spec, rng)
        if edited is not None and edited != spec and _sound(edited):
            return edited


def edit(kind: str, spec: Spec, rng: np.random.Generator) -> Spec | None:
    """One random edit: two colours swapped or one changed, a relation mirrored, one object more or fewer, another
    noun, another background. None where it does not apply."""
    groups = list(spec.objects)
    at = int(rng.integers(len(groups)))
    group = groups[at]
    match kind:
        case "colour" if group.colour:
            other = int(rng.integers(len(groups)))
            mine, theirs = group.colour, groups[other].colour
            if theirs and theirs != mine and mine in FAMILIES[groups[other].noun]:
                groups[other] = replace(groups[other], colour=mine)
                groups[at] = replace(group, colour=theirs)
            else:
                groups[at] = replace(group, colour=_other(FAMILIES[group.noun], mine, rng))
            if groups[at].colour not in FAMILIES[group.noun]:
                return None
        case "relation" if spec.relations:
            relations = list(spec.relations)
            which = int(rng.integers(len(relations)))
            relations[which] = replace(relations[which], kind=OPPOSITE[relations[which].kind])
            return replace(spec, relations=tuple(relations))
        case "add" if spec.total < MOST:
            if rng.random() < 0.5:
                groups[at] = replace(group, count=group.count + 1)
            else:
                groups.append(ObjectSpec(str(rng.choice(PLAIN))))
        case "remove" if group.count > 1:
            groups[at] = replace(group, count=group.count - 1)
        case "remove" if len(groups) > 1:
            del groups[at]
            return replace(spec, objects=tuple(groups), relations=_without(spec.relations, at))
        case "noun":
            nouns = [n for n in COLOURED if group.colour in FAMILIES[n]] if group.colour else PLAIN
            groups[at] = replace(group, noun=_other(nouns, group.noun, rng))
        case "background" if spec.background:
            return replace(spec, background=_other(BACKGROUND_NAMES, spec.background, rng))
        case _:
            return None
    return replace(spec, objects=tuple(groups))


def _other(options: Sequence[str] | dict[str, int], taken: str, rng: np.random.Generator) -> str:
    rest = [option for option in options if option != taken]
    return rest[rng.integers(len(rest))] if rest else taken


def _without(relations: Sequence[Relation], group: int) -> tuple[Relation, ...]:
    kept = (relation for relation in relations if group not in (relation.subject, relation.object))
    return tuple(
        replace(
            relation, subject=relation.subject - (relation.subject > group),
            object=relation.object - (relation.object > group),
        )
        for relation in kept
    )  # fmt: skip


def _sound(spec: Spec) -> bool:
    """Whether groups have different names, as in `scene.sample_spec`, and some layout satisfies the relations."""
    by_noun: dict[str, list[str | None]] = {}
    for group in spec.objects:
        by_noun.setdefault(group.noun, []).append(group.colour)
    apart = all(
        len(colours) == 1 or (None not in colours and len(set(colours)) == len(colours))
        for colours in by_noun.values()
    )
    return apart and len(layouts_of(tuple(group.count for group in spec.objects), spec.relations)) > 0
