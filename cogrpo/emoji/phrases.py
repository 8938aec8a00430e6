"""The parts of a prompt: noun phrases, relations and the marks that join them, for `reader` to interpret."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from cogrpo.emoji.background import take_background
from cogrpo.emoji.items import Item, Reading, colour_follows, scan

_MARKS = ("and", "comma", "stop", "with", "that", "there")


@dataclass(frozen=True)
class NounPhrase:
    """noun: '' for a pronoun, and for what the lexicon does not know. number: None where none was said."""

    noun: str = ""
    colours: tuple[Item, ...] = ()
    number: int | None = None
    about: bool = False  # the number was vague: several, many
    plural: bool = False
    determiner: str = ""  # 'the', 'a' or ''
    pronoun: str = ""  # 'it', 'they', 'other' or ''
    partitive: bool = False  # 'one red' of 'three hearts, one red': some of those named before
    negated: bool = False
    text: str = ""


@dataclass(frozen=True)
class Part:
    """kind: 'noun', 'relation', 'relation to it', 'place', or a mark: and, comma, stop, with, that, there."""

    kind: str
    value: Any = None
    text: str = ""
    negated: bool = False


class _Gatherer:
    """Turns items to parts. `held` is the noun phrase in the making."""

    def __init__(self, items: list[Item], reading: Reading) -> None:
        self.items, self.reading = items, reading
        self.parts: list[Part] = []
        self.waiting: list[int] = []  # parts that are colours in wait of the noun: 'a red and [a blue heart]'
        self.reset()

    def reset(self) -> None:
        self.held = NounPhrase()
        self.strange: Item | None = None

    def run(self) -> list[Part]:
        for at, item in enumerate(self.items):
            self.take(item, at)
        self.flush(len(self.items))
        return self.parts

    def take(self, item: Item, at: int) -> None:
        match item.kind:
            case "noun":
                self.close(item.value.noun, item)
            case "ones":
                before = [part for part in self.parts if part.kind in ("noun", "comma")][-1:]
                among = bool(before) and (before[0].kind == "comma" or before[0].value.partitive)
                self.held = replace(self.held, partitive=among)
                self.close(self.last_noun(), item)
            case "colour":
                self.held = replace(self.held, colours=(*self.held.colours, item))
            case "number" | "about":
                if item.value == 0:
                    self.held = replace(self.held, negated=True)
                else:
                    self.held = replace(self.held, number=item.value, about=item.kind == "about")
            case "the" | "a" | "some":
                self.held = replace(self.held, determiner=item.kind)
            case "no":
                self.held = replace(self.held, negated=True)
            case "unknown":
                self.reading.unknown.append(item)
                self.strange = item
            case "it" | "they" | "other":
                self.flush(at)
                self.parts.append(Part("noun", NounPhrase(pronoun=item.kind, text=item.text), item.text))
            case "unshown" | "front":
                self.flush(at)
                self.reading.unknown.append(replace(item, value=None))
                self.parts.append(Part("comma"))
            case "on" | "relation" | "relation to it" | "place":
                negated = self.held.negated
                self.flush(at)
                kind, value = ("relation", ("above",)) if item.kind == "on" else (item.kind, item.value)
                self.parts.append(Part(kind, value, item.text, negated))
            case kind if kind in _MARKS:
                self.flush(at)
                self.parts.append(Part(kind, text=item.text))
            # The rest means nothing here: 'is', 'in', shades and fillers.

    def last_noun(self) -> str:
        nouns = [part.value.noun for part in self.parts if part.kind == "noun" and part.value.noun]
        return nouns[-1] if nouns else ""

    def close(self, noun: str, item: Item) -> None:
        """End the noun phrase in the making at its noun, which the waiting colours share."""
        held, name = self.held, item.value if item.kind == "noun" else None
        plural = bool(name and name.plural) and not self.waiting
        if name and name.colour:
            own = Item("colour", name.colour, name.colour, item.start, item.end)
            held = replace(held, colours=(own, *held.colours))
        shared = [self.parts[n].value.number for n in self.waiting]
        if shared and shared[0] == len(shared) + 1 and not any(shared[1:]) and held.number is None:
            self.parts[self.waiting[0]] = Part("noun", replace(self.parts[self.waiting[0]].value, number=1))
        for n in self.waiting:
            self.parts[n] = Part("noun", replace(self.parts[n].value, noun=noun))
        self.waiting = []
        self.parts.append(Part("noun", replace(held, noun=noun, plural=plural, text=item.text), item.text))
        self.reset()

    def flush(self, at: int) -> None:
        """The noun phrase in the making ends without a noun."""
        held, strange = self.held, self.strange
        last = self.parts[-1] if self.parts else Part("stop")
        self.reset()
        if held.colours and not strange and colour_follows(self.items, at):
            self.waiting.append(len(self.parts))
            self.parts.append(Part("noun", held))
        elif held.number and not strange and self.last_noun() and (held.colours or self.tells_where(at)):
            self.parts.append(Part("noun", replace(held, noun=self.last_noun(), partitive=True)))
        elif held.colours and not strange and not held.determiner and (said := self.just_named()):
            noun = self.parts[said].value
            self.parts[said] = Part("noun", replace(noun, colours=noun.colours + held.colours), noun.text)
        elif strange and (
            held.determiner or held.number or held.colours or last.kind not in ("noun", "that")
        ):
            self.reading.unknown += (colour.left_out() for colour in held.colours)
            self.parts.append(Part("noun", NounPhrase(text=strange.text), strange.text))
        else:
            self.reading.unknown += (colour.left_out() for colour in held.colours)

    def tells_where(self, at: int) -> bool:
        return at < len(self.items) and self.items[at].kind in ("relation", "place")

    def just_named(self) -> int | None:
        """Which part, counted from the end, 'red' in 'a heart [that] is red' or 'a heart, red' speaks of."""
        at = -2 if self.parts and self.parts[-1].kind in ("that", "comma") else -1
        named = len(self.parts) >= -at and self.parts[at].kind == "noun" and self.parts[at].value.noun
        return at if named else None


def parts(prompt: str) -> tuple[list[Part], Reading]:
    """The parts of a prompt in its order, and the background, unknown words and notes found on the way."""
    reading = Reading()
    items = take_background(scan(prompt), reading)
    return _Gatherer(items, reading).run(), reading
