"""How the small world's things are put in words."""

from __future__ import annotations

from cogrpo.emoji.scene import OPPOSITE, Kind, ObjectSpec, Spec
from cogrpo.emoji.vocabulary import CLASSES

PLURALS = {emoji.noun: emoji.plural for emoji in CLASSES}
NUMERALS = ("no", "a", "two", "three", "four")
PIECES = {  # what is counted of a noun that is no countable word, one and many
    "scissors": ("pair of scissors", "pairs of scissors"),
    "jeans": ("pair of jeans", "pairs of jeans"),
    "fries": ("portion of fries", "portions of fries"),
    "grape": ("bunch of grapes", "bunches of grapes"),
    "corn": ("ear of corn", "ears of corn"),
    "bread": ("loaf of bread", "loaves of bread"),
    "cheese": ("piece of cheese", "pieces of cheese"),
    "broccoli": ("head of broccoli", "heads of broccoli"),
    "coffee": ("cup of coffee", "cups of coffee"),
    "beer": ("mug of beer", "mugs of beer"),
}
PHRASE_OF: dict[Kind, str] = {"left": "left of", "right": "right of", "above": "above", "below": "below"}


def name(group: ObjectSpec) -> str:
    """'a red heart', 'three dogs', 'a pair of scissors'."""
    colour = f"{group.colour} " if group.colour else ""
    one, many = PIECES.get(group.noun, (group.noun, PLURALS[group.noun]))
    if group.count == 1:
        return with_article(colour + one)
    number = NUMERALS[group.count] if group.count < len(NUMERALS) else str(group.count)
    return f"{number} {colour}{many}"


def with_article(words: str) -> str:
    """'a dog', 'an owl', 'a unicorn'."""
    return f"{'an' if words[0] in 'aeiou' and not words.startswith('uni') else 'a'} {words}"


def definite(group: ObjectSpec) -> str:
    """'the red heart', 'the dogs'."""
    colour = f"{group.colour} " if group.colour else ""
    return f"the {colour}{PLURALS[group.noun] if group.count > 1 else group.noun}"


def ties(spec: Spec) -> list[list[tuple[Kind, int]]]:
    """For each group its relations to groups before it, as (kind, other): the tree is ('above', 0)."""
    found: list[list[tuple[Kind, int]]] = [[] for _ in spec.objects]
    for relation in spec.relations:
        if relation.subject > relation.object:
            found[relation.subject].append((relation.kind, relation.object))
        else:
            found[relation.object].append((OPPOSITE[relation.kind], relation.subject))
    return found


def to_text(spec: Spec) -> str:
    """The canonical caption: 'a dog left of a cat, a tree above the dog, on a pink background'."""
    clauses: list[str] = []
    for index, (group, tied) in enumerate(zip(spec.objects, ties(spec), strict=True)):
        if index == 1 and len(tied) == 1:
            clauses[0] += f" {PHRASE_OF[OPPOSITE[tied[0][0]]]} {name(group)}"
            continue
        standing = [f"{PHRASE_OF[kind]} {definite(spec.objects[other])}" for kind, other in tied]
        clauses.append(" ".join((name(group), " and ".join(standing))).strip())
    text = (", " if spec.relations else " and ").join(clauses)
    return f"{text}, on {with_article(spec.background)} background" if spec.background else text
