"""From a prompt to the items of the lexicon in it, with their places in the prompt."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass, field, replace
from typing import Any

from cogrpo.emoji.lexicon import CHARACTERS, LONGEST, PHRASES

# Its groups, by number: a word, the end of a sentence, a comma, an ampersand, another character.
_TOKEN = re.compile(r"([^\W_]+)(?:['’](?:s|d|m|re|ve|ll)\b)?|([.!?;\n])|([,:|()/]|\s[-–—]\s)|([&+])|(\S)")
AFTER_ADJECTIVE = ("noun", "colour", "shade", "ground", "ones")


@dataclass(frozen=True)
class Item:
    """A phrase of the lexicon, or an unknown word, at characters start to end of the prompt.

    value: what the lexicon says it stands for; of an unknown word, what to suggest, or None to search for it.
    noted: of an unknown word, whether a note says why it is left out.
    """

    kind: str
    value: Any
    text: str
    start: int
    end: int
    noted: bool = False

    def left_out(self, *suggestions: str, noted: bool = False) -> Item:
        """The same words, known but of no use where they stand."""
        return replace(self, kind="unknown", value=suggestions, noted=noted)


@dataclass
class Reading:
    """What the passes find besides the parts."""

    background: str | None = None
    unknown: list[Item] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def scan(prompt: str) -> list[Item]:
    """Cut into items, the longest phrases first. Marks without meaning are skipped, hyphens join words."""
    tokens = [match for match in _TOKEN.finditer(prompt) if match.lastindex != 5 or _is_symbol(match[5])]
    words = [(match[1] or match[0]).lower() for match in tokens]
    items: list[Item] = []
    at = 0
    while at < len(tokens):
        match, width = tokens[at], 1
        kind, value = "unknown", None
        if match.lastindex == 1:
            for length in range(min(LONGEST, len(words) - at), 0, -1):
                found = PHRASES.get(tuple(words[at : at + length]))
                if found:
                    (kind, value), width = found, length
                    break
            else:
                if words[at].isdecimal() and len(words[at]) < 10:
                    kind, value = "number", int(words[at])
        elif match.lastindex == 5:
            if match[5] in CHARACTERS:
                kind, value = "noun", CHARACTERS[match[5]]
        else:
            kind = ("stop", "comma", "and")[match.lastindex - 2]
        end = tokens[at + width - 1].end(tokens[at + width - 1].lastindex)
        items.append(Item(kind, value, prompt[match.start() : end], match.start(), end))
        at += width
    return _settle(items)


def _is_symbol(character: str) -> bool:
    return unicodedata.category(character) == "So"


def _settle(items: list[Item]) -> list[Item]:
    """Decide the words whose kind depends on their neighbours: 'dark', 'orange', 'the other', 'one'."""
    settled = items[:]
    for at in range(len(items) - 1, -1, -1):
        item = items[at]
        after = settled[at + 1].kind if at + 1 < len(items) else "stop"
        if item.kind == "shade" and after not in ("colour", "shade", "ground", "scenery"):
            settled[at] = replace(item, kind="unknown")
        elif item.kind == "colour" and item.text.lower() == "orange" and _is_fruit(settled, at):
            settled[at] = replace(item, kind="noun", value=PHRASES[("tangerine",)][1])
        elif item.kind == "other" and after == "noun":
            settled[at] = replace(item, kind="the")
        elif item.text.lower() == "one" and after != "noun" and at and items[at - 1].kind == "colour":
            settled[at] = replace(item, kind="ones")
    return settled


def _is_fruit(items: list[Item], at: int) -> bool:
    after = items[at + 1].kind if at + 1 < len(items) else "stop"
    if after in AFTER_ADJECTIVE:
        return False
    if after == "unknown" and not items[at + 1].text.endswith("ing"):
        return False
    before = items[at - 1].kind if at else "stop"
    return before not in ("is", "that", "colour", "shade") and not (
        before not in ("a", "the", "number") and colour_follows(items, at + 1)
    )


def colour_follows(items: list[Item], at: int) -> bool:
    """Whether a colour in wait of its noun finds one: 'red [, a blue and two green hearts]'."""
    if at >= len(items) or items[at].kind not in ("and", "comma"):
        return False
    seen = False
    for item in items[at : at + 24]:
        if item.kind == "colour":
            seen = True
        elif item.kind == "noun":
            return seen
        elif item.kind not in ("and", "comma", "a", "the", "number", "shade"):
            return False
    return False
