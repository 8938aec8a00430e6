"""What the checks of a picture found, in plain words: 'asked for two dogs, found one'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from cogrpo.emoji.scene import BACKGROUND_NAMES, ObjectSpec, Spec
from cogrpo.emoji.verifier import STRAY_LIMIT, Detection, Verdict
from cogrpo.emoji.vocabulary import CLASSES, EmojiClass
from cogrpo.emoji.wording import PHRASE_OF, definite, name, with_article

_COUNTS = ("none", "one", "two", "three")


def failed(spec: Spec, detection: Detection, verdict: Verdict) -> list[str]:
    """What is not as the prompt asks. A relation that lacks one of its objects goes without saying.

    verdict: the verifier's, whose clauses begin with the groups and the number of objects; the relations follow.
    """
    groups, rest = _share_out(spec, [CLASSES[item.cls] for item in detection.objects])
    whole = [len(exact) == group.count for group, (exact, _) in zip(spec.objects, groups, strict=True)]
    told = [_group(spec.objects[n], groups[n]) for n, complete in enumerate(whole) if not complete]
    asked = {emoji for group in spec.objects for emoji in group.classes}
    if more := [emoji for emoji in rest if emoji.index in asked]:
        told.append(f"found {_listed(more)} too many")
    if others := [emoji for emoji in rest if emoji.index not in asked]:
        told.append(f"found {_listed(others)}, not asked for")
    first = len(spec.objects) + 1
    for relation, (_, credit) in zip(spec.relations, verdict.clauses[first:], strict=False):
        if credit < 1 and whole[relation.subject] and whole[relation.object]:
            subject, other = spec.objects[relation.subject], spec.objects[relation.object]
            is_not = "is not" if subject.count == 1 else "are not all"
            each = definite(other) if other.count == 1 else f"all {definite(other)}"
            told.append(f"{definite(subject)} {is_not} {PHRASE_OF[relation.kind]} {each}")
    seen = BACKGROUND_NAMES[detection.background]
    if spec.background and seen != spec.background:
        told.append(f"asked for {with_article(spec.background)} background, found {with_article(seen)} one")
    if detection.stray > STRAY_LIMIT:
        told.append("found stray marks beside the objects")
    return told


_Found = tuple[list[EmojiClass], list[EmojiClass]]  # just what was asked for; the same noun in another colour


def _share_out(spec: Spec, seen: list[EmojiClass]) -> tuple[list[_Found], list[EmojiClass]]:
    """For each group what was found of it; and what nobody asked for. As the verifier: the narrowest choose first."""
    rest = list(seen)
    found: list[_Found] = [([], []) for _ in spec.objects]
    order = sorted(range(len(found)), key=lambda index: len(spec.objects[index].classes))
    for near in (False, True):
        for index in order:
            group, (exact, alike) = spec.objects[index], found[index]
            for emoji in list(rest):
                fits = emoji.noun == group.noun if near else emoji.index in group.classes
                if fits and len(exact) + len(alike) < group.count:
                    (alike if near else exact).append(emoji)
                    rest.remove(emoji)
    return found, rest


def _group(group: ObjectSpec, found: _Found) -> str:
    exact, alike = found
    return f"asked for {name(group)}, found {_listed(exact + alike) if alike else _COUNTS[len(exact)]}"


def _listed(seen: Sequence[EmojiClass]) -> str:
    """'a red heart and two dogs'"""
    counted = Counter((emoji.noun, emoji.colour or None) for emoji in seen)
    return " and ".join(name(ObjectSpec(noun, colour, count)) for (noun, colour), count in counted.items())
