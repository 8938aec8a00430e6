"""From a prompt to the Spec that conditions the model. `parse` never fails while one object of it is known.

Relations are brought to one form, whatever the wording: the later group is the subject ('a tree above the
dog'), except where there are two single objects, whose first is the subject. That is how `scene.sample_spec`
writes them, so that 'a dog left of a cat' and 'a dog, and to the right of it a cat' are one Spec.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cogrpo.emoji.items import Item
from cogrpo.emoji.lexicon import PHRASES
from cogrpo.emoji.phrases import parts
from cogrpo.emoji.reader import Claim, Group, Reader
from cogrpo.emoji.scene import MOST, OPPOSITE, ObjectSpec, Relation, Spec, place
from cogrpo.emoji.suggestions import suggest
from cogrpo.emoji.wording import PHRASE_OF, definite, name, to_text

__all__ = ["Parsed", "PromptError", "Unknown", "parse", "to_text"]

SUGGESTED = 24  # different unknown words of a prompt for which near ones are searched


@dataclass(frozen=True)
class Unknown:
    """A word that was left out, at characters start to end of the prompt, and the nearest known words.

    noted: whether one of the notes says why.
    """

    word: str
    start: int
    end: int
    suggestions: tuple[str, ...]
    noted: bool


@dataclass(frozen=True)
class Parsed:
    spec: Spec
    unknown: tuple[Unknown, ...]
    notes: tuple[str, ...]


class PromptError(ValueError):
    """No object of the prompt is known. `suggestions`: known nouns near its words."""

    def __init__(self, message: str, suggestions: tuple[str, ...]) -> None:
        super().__init__(message)
        self.suggestions = suggestions


def parse(prompt: str) -> Parsed:
    """What a prompt asks for. Raises PromptError where it names no object of the embedded world."""
    found, reading = parts(prompt)
    reader = Reader(found, reading)
    reader.read()
    unknown = _unknown(reading.unknown)
    if not reader.groups:
        raise _refusal(prompt, unknown)
    claims = reader.claims + _sides(reader)
    groups, claims = _merge(reader.groups, claims)
    groups, claims = _first_four(groups, claims, reader)
    objects = tuple(ObjectSpec(group.noun, group.colour, group.count) for group in groups)
    spec = Spec(objects, _relations(objects, claims, reader), reading.background)
    return Parsed(spec, unknown, tuple(reading.notes))


def _sides(reader: Reader) -> list[Claim]:
    """'a dog on the left and a cat' puts the dog left of the cat."""
    claims = []
    for kind in OPPOSITE:
        here = {group for group, side in reader.places if side == kind}
        there = {group for group, side in reader.places if side == OPPOSITE[kind]}
        rest = set(range(len(reader.groups))) - here
        if here and not rest and not there - here:
            reader.note(f"'{kind}' was left out: a place is understood only between two different objects.")
        others = sorted((there or rest) - here)
        claims += [Claim(a, kind, b, True) for a in sorted(here)[:MOST] for b in others[:MOST]]
    return claims


def _merge(groups: list[Group], claims: list[Claim]) -> tuple[list[Group], list[Claim]]:
    """'a dog and a dog' are two dogs, where no relation tells one from the other."""
    ties: list[set[tuple[str, int]]] = [set() for _ in groups]
    for claim in (*claims, *(claim.turned() for claim in claims)):
        ties[claim.subject].add((claim.kind, claim.object))
    kept: dict[tuple[str, frozenset[tuple[str, int]]], int] = {}
    merged: list[Group] = []
    new: list[int] = []
    for group, tie in zip(groups, ties, strict=True):
        place_of = kept.setdefault((group.label, frozenset(tie)), len(merged))
        if place_of == len(merged):
            merged.append(group)
        else:
            merged[place_of].count += group.count
        new.append(place_of)
    return merged, [Claim(new[c.subject], c.kind, new[c.object], c.firm) for c in claims]


def _first_four(groups: list[Group], claims: list[Claim], reader: Reader) -> tuple[list[Group], list[Claim]]:
    kept: list[Group] = []
    left_out: list[str] = []
    room = MOST
    for group in groups:
        taken = min(group.count, room)
        room -= taken
        if taken:
            kept.append(Group(group.noun, group.colour, taken))
        if taken < group.count and len(left_out) < 2 * MOST:
            left_out.append(name(ObjectSpec(group.noun, group.colour, group.count - taken)))
    if left_out:
        reader.note(f"Only four objects fit; left out: {', '.join(left_out)}.")
    return kept, [claim for claim in claims if max(claim.subject, claim.object) < len(kept)]


def _relations(objects: tuple[ObjectSpec, ...], claims: list[Claim], reader: Reader) -> tuple[Relation, ...]:
    """The claims that hold together, the firm ones first, in the form that the module's docstring tells."""
    first_is_subject = [group.count for group in objects] == [1, 1]
    taken: set[Relation] = set()
    for claim in sorted(claims, key=lambda claim: not claim.firm):
        turn = (claim.subject < claim.object) != first_is_subject
        one_form = claim.turned() if turn else claim
        relation = Relation(one_form.subject, one_form.kind, one_form.object)
        if relation in taken:
            continue
        if _fits(tuple(group.count for group in objects), taken | {relation}):
            taken.add(relation)
        elif claim.firm:
            subject, other = definite(objects[claim.subject]), definite(objects[claim.object])
            said = f"{subject} {PHRASE_OF[claim.kind]} {other}"
            reader.note(f"'{said}' does not fit with the rest and was left out.")
    return tuple(sorted(taken, key=lambda relation: (relation.subject, relation.object, relation.kind)))


def _fits(counts: tuple[int, ...], relations: set[Relation]) -> bool:
    anything = tuple(ObjectSpec("dog", None, count) for count in counts)
    try:
        place(Spec(anything, tuple(sorted(relations, key=str))), np.random.default_rng(0))
    except ValueError:
        return False
    return True


def _unknown(items: list[Item]) -> tuple[Unknown, ...]:
    found = {(item.start, item.end): item for item in items}
    searched: set[str] = set()
    unknown = []
    for (start, end), item in sorted(found.items()):
        near = item.value
        if near is None and len(searched) < SUGGESTED:
            searched.add(item.text)
        if near is None:
            near = suggest(item.text) if item.text in searched else ()
        unknown.append(Unknown(item.text, start, end, near, item.noted))
    return tuple(unknown)


def _refusal(prompt: str, unknown: tuple[Unknown, ...]) -> PromptError:
    near = [word for each in unknown for word in each.suggestions]
    nouns = [word for word in near if PHRASES.get(tuple(word.split()), ("",))[0] == "noun"]
    suggestions = tuple(dict.fromkeys(nouns))[:5] or ("dog", "red heart", "tree", "pizza", "rocket")
    told = "The prompt names no object that this model knows" if prompt.strip() else "The prompt is empty"
    *others, last = suggestions
    return PromptError(f"{told}; try {', '.join(others)}{' or ' if others else ''}{last}.", suggestions)
