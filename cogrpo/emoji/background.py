"""The background that a prompt asks for: 'on a pink background', 'against pink', 'the background is sand'."""

from __future__ import annotations

from cogrpo.emoji.items import AFTER_ADJECTIVE, Item, Reading
from cogrpo.emoji.lexicon import NEAR_BACKGROUND, NEAREST_BACKGROUND
from cogrpo.emoji.vocabulary import BACKGROUNDS

_LONGEST = 8  # items of a phrase that names a background
_NEEDS_NO_COLOUR = ("background", "backgrounds", "backdrop", "bg")
_BEFORE_BACKGROUND = ("on", "in", "front", "with", "relation")


def take_background(items: list[Item], reading: Reading) -> list[Item]:
    """Set reading.background, and return the items that do not speak of it."""
    taken: set[int] = set()
    for at, item in enumerate(items):
        after = items[at + 1].kind if at + 1 < len(items) else "stop"
        if at in taken or item.kind not in ("ground", "scenery", "colour"):
            continue
        first = _before(items, at)
        led = first > 0 and items[first - 1].kind in _BEFORE_BACKGROUND
        colours = [n for n in range(first, at) if items[n].kind in ("colour", "scenery")]
        used = list(range(first - led, at + 1))
        if item.kind == "ground":
            if not colours:
                colours = _after(items, at)
                used += range(at + 1, colours[0] + 1) if colours else ()
            if not colours:
                reading.unknown += (items[n].left_out() for n in range(first, at) if items[n].kind == "shade")
                if item.text.lower() not in _NEEDS_NO_COLOUR:
                    reading.unknown.append(item.left_out("background"))
        elif item.kind == "scenery":
            if after == "ground":
                continue
            if not led:
                reading.unknown.append(item.left_out(f"on {item.text}"))
                colours = []
            else:
                colours = colours or [at]
        elif led and items[first - 1].kind in ("on", "front") and not _names(items, at, first):
            colours = [at]
        else:
            continue
        reading.unknown += (items[n] for n in used if items[n].kind == "unknown")
        taken.update(used)
        for n in colours[:1]:
            _set_background(items[n], reading)
        reading.unknown += (items[n].left_out() for n in colours[1:])
    return [item for at, item in enumerate(items) if at not in taken]


def _before(items: list[Item], at: int) -> int:
    """The first item of the phrase that ends at the background word."""
    first, strangers = at, 0
    while first and at - first < _LONGEST:
        kind = items[first - 1].kind
        strangers += kind == "unknown"
        if kind not in ("colour", "shade", "a", "the", "scenery", "unknown", "is") or strangers > 2:
            break
        first -= 1
    while first < at and items[first].kind in ("unknown", "is"):
        first += 1
    return first


def _after(items: list[Item], at: int) -> list[int]:
    """'the background is light blue', 'background: pink'."""
    for n in range(at + 1, min(at + 6, len(items))):
        if items[n].kind in ("colour", "scenery"):
            return [] if items[n + 1 : n + 2] and items[n + 1].kind in AFTER_ADJECTIVE else [n]
        if items[n].kind not in ("is", "shade", "in", "filler") and items[n].text.strip() not in (":", "-"):
            break
    return []


def _names(items: list[Item], at: int, first: int) -> bool:
    """Whether the colour after 'on' belongs to an object: 'on a red heart'."""
    after = items[at + 1].kind if at + 1 < len(items) else "stop"
    return after in (*AFTER_ADJECTIVE, "unknown") or items[first].kind in ("a", "the")


def _set_background(item: Item, reading: Reading) -> None:
    name = NEAREST_BACKGROUND.get(item.value, item.value)
    if name not in BACKGROUNDS:
        known = ", ".join(BACKGROUNDS)
        reading.notes.append(f"There is no {item.text} background; there are {known}.")
        reading.unknown.append(
            item.left_out(*NEAR_BACKGROUND.get(item.value, ("light blue", "white")), noted=True)
        )
    elif reading.background not in (None, name):
        reading.notes.append(f"A picture has one background: {reading.background}.")
        reading.unknown.append(item.left_out(noted=True))
    else:
        if name != item.value or item.kind == "scenery" and item.text.lower() != name:
            reading.notes.append(f"'{item.text}' is painted as a {name} background.")
        reading.background = name
