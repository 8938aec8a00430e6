"""What the checks of a picture found, in plain words: 'asked for two dogs, found one'."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from cogrpo.emoji.scene import BACKGROUND_NAMES, ObjectSpec, Placed, Spec
from cogrpo.emoji.verifier import STRAY_LIMIT, Detection, Verdict, score, share_out
from cogrpo.emoji.vocabulary import CLASSES
from cogrpo.emoji.wording import PHRASE_OF, definite, name, with_article

_COUNTS = ("none", "one", "two", "three")


def verdict(spec: Spec, detection: Detection) -> dict[str, Any]:
    """What the verifier says of a picture, ready for JSON."""
    told = score(spec, detection)
    return {
        "strict": bool(told.strict),
        "soft": round(float(told.soft), 4),
        "clauses": told.clauses,
        "failed": failed(spec, detection, told),
    }


def failed(spec: Spec, detection: Detection, verdict: Verdict) -> list[str]:
    """What is not as the prompt asks. A relation that lacks one of its objects goes without saying.

    verdict: the verifier's, whose clauses begin with the groups and the number of objects; the relations follow.
    """
    groups, near, rest = share_out(spec, detection.objects)
    whole = [len(own) == group.count for group, own in zip(spec.objects, groups, strict=True)]
    told = [_group(spec.objects[n], groups[n], near[n]) for n, complete in enumerate(whole) if not complete]
    asked = {index for group in spec.objects for index in group.classes}
    if more := [item for item in rest if item.cls in asked]:
        told.append(f"found {_listed(more)} too many")
    if others := [item for item in rest if item.cls not in asked]:
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


def _group(group: ObjectSpec, own: list[Placed], near: list[Placed]) -> str:
    return f"asked for {name(group)}, found {_listed(own + near) if near else _COUNTS[len(own)]}"


def _listed(seen: Sequence[Placed]) -> str:
    """'a red heart and two dogs'"""
    kinds = (CLASSES[item.cls] for item in seen)
    counted = Counter((emoji.noun, emoji.colour or None) for emoji in kinds)
    return " and ".join(name(ObjectSpec(noun, colour, count)) for (noun, colour), count in counted.items())
