"""Reads the parts of a prompt from left to right: which groups of objects there are, and how they stand."""

from __future__ import annotations

from dataclasses import dataclass

from cogrpo.emoji.items import Reading
from cogrpo.emoji.lexicon import OWN
from cogrpo.emoji.phrases import NounPhrase, Part
from cogrpo.emoji.scene import MOST, OPPOSITE, Kind
from cogrpo.emoji.vocabulary import FAMILIES
from cogrpo.emoji.wording import PLURALS

_BEGINS_CLAUSE = ("relation", "relation to it", "place", "with")


@dataclass
class Group:
    noun: str
    colour: str | None
    count: int

    @property
    def label(self) -> str:
        return f"{self.colour or ''} {self.noun}".strip()


@dataclass(frozen=True)
class Claim:
    """A relation between groups as read. One that is not `firm` is kept where it fits: in 'a dog and a cat
    above a tree' the cat surely is, and the dog may be.
    """

    subject: int
    kind: Kind
    object: int
    firm: bool

    def turned(self) -> Claim:
        return Claim(self.object, OPPOSITE[self.kind], self.subject, self.firm)


class Reader:
    """Walks over the parts and keeps what a reader keeps in mind.

    run: the groups being listed now ('a dog and a cat'). subject: those that the last relation spoke of, to
    which another may be added ('..., and above a tree'). topics: what 'it' may mean, the latest at the end.
    """

    def __init__(self, parts: list[Part], reading: Reading) -> None:
        self.parts, self.reading = parts, reading
        self.groups: list[Group] = []
        self.by_noun: dict[str, list[int]] = {}
        self.whole: dict[int, int] = {}  # group that was taken out of another -> what is left of that
        self.claims: list[Claim] = []
        self.places: list[tuple[int, Kind]] = []
        self.run: list[int] = []
        self.subject: list[int] = []
        self.topics: list[int] = []
        self.marks: set[str] = set()  # between the last phrase and this part
        self.fresh = True  # nothing of this sentence has been read
        self.closed = True  # the list has ended: 'and' begins another

    def read(self) -> None:
        at = 0
        while at < len(self.parts):
            part = self.parts[at]
            if part.kind == "stop":
                self.fresh = self.closed = True
                self.subject, self.marks = [], set()
                at += 1
            elif part.kind == "noun":
                at = self.name(at)
            elif part.kind == "place":
                at = self.locate(at)
            elif part.kind in ("relation", "relation to it"):
                at = self.relate(at)
            else:
                if not self.fresh or part.kind == "that":
                    self.marks.add(part.kind)
                at += 1

    def kind(self, at: int) -> str:
        return self.parts[at].kind if at < len(self.parts) else "stop"

    def name(self, at: int) -> int:
        new = self.resolve(self.parts[at].value, [])
        joins = self.marks == {"and"} and not self.closed
        self.run = self.run[1 - MOST :] + new if joins else new
        if self.fresh:
            self.topics += new[:1]
        self.subject, self.marks, self.fresh, self.closed = [], set(), False, False
        return at + 1

    def listed(self, at: int) -> tuple[list[NounPhrase], int]:
        """'a dog and a cat' from part `at` on, without one that begins its own clause; and where it ends."""
        phrases = [self.parts[at].value]
        at += 1
        while (
            self.kind(at) == "and" and self.kind(at + 1) == "noun" and self.kind(at + 2) not in _BEGINS_CLAUSE
        ):
            phrases.append(self.parts[at + 1].value)
            at += 2
        return phrases[:MOST], at

    def resolved(self, phrases: list[NounPhrase], exclude: list[int], are_objects: bool = False) -> list[int]:
        return [group for phrase in phrases for group in self.resolve(phrase, exclude, are_objects)]

    def inverted(self, at: int) -> int:
        """Where the subject is if it comes after its relation ('above the dog [there is] a tree'), else 0."""
        if not (self.fresh or self.marks & {"and", "comma", "with", "there"}):
            return 0
        while self.kind(at) == "there" or (
            self.kind(at) == "comma" and (self.fresh or self.parts[at].text == ":")
        ):
            at += 1
        return at if self.kind(at) == "noun" else 0

    def relate(self, at: int) -> int:
        first, kinds, at = self.parts[at], list(self.parts[at].value), at + 1
        while first.kind == "relation" and (more := self.joined_relation(at)):
            kinds += self.parts[more].value
            at = more + 1
        named: list[NounPhrase] = []
        if first.kind == "relation" and self.kind(at) == "noun":
            named, at = self.listed(at)
        behind = self.inverted(at)
        subjects = [] if behind else self.waiting_subjects()
        objects = self.resolved(named, subjects, are_objects=True) if named else self.it(subjects)
        if behind:
            phrases, at = self.listed(behind)
            subjects = self.resolved(phrases, objects)
        key = subjects[:1] if behind else subjects[-1:]
        if first.negated:
            self.note(f"What is not so cannot be asked for: '{first.text}' was left out.")
        elif not named and (not objects or (first.kind == "relation" and not behind)):
            if first.text.lower() not in ("on", "onto"):
                self.places += [(group, kind) for group in key for kind in kinds]
        elif subjects and objects:
            for kind in kinds:
                self.claims += [
                    Claim(s, kind, o, [s] == key and o == objects[0])
                    for s in subjects
                    for o in objects
                    if s != o
                ]
        else:
            self.note(f"'{first.text}' was left out: it needs two objects that are known.")
        self.topics += key
        self.subject, self.run = subjects, subjects[-1:] if behind or not named else objects[-1:]
        self.marks, self.fresh, self.closed = set(), False, True
        return at

    def joined_relation(self, at: int) -> int:
        """Where the second relation of 'above and to the left of a cat' stands, else 0."""
        start = at
        while self.kind(at) in ("and", "comma"):
            at += 1
        return at if at > start and self.kind(at) == "relation" else 0

    def waiting_subjects(self) -> list[int]:
        """The subjects of a relation that follows them."""
        if self.fresh:
            return self.topics[-1:]
        if "that" in self.marks:
            return self.run[-1:]
        return self.subject if self.marks and self.subject else self.run

    def locate(self, at: int) -> int:
        """'a dog on the left', 'on the left [there is] a dog'."""
        part = self.parts[at]
        behind = self.inverted(at + 1)
        if behind:
            phrases, after = self.listed(behind)
            groups = self.resolved(phrases, [])
            self.run = groups
            self.topics += groups[:1]
        else:
            groups, after = (self.topics[-1:] if self.fresh else self.run), at + 1
        self.places += [(group, kind) for group in groups for kind in part.value]
        self.marks, self.fresh, self.closed = set(), False, True
        return after

    def it(self, exclude: list[int]) -> list[int]:
        return next(([topic] for topic in reversed(self.topics) if topic not in exclude), [])

    def resolve(self, phrase: NounPhrase, exclude: list[int], is_object: bool = False) -> list[int]:
        """The groups that a phrase means: those spoken of before, or a new one. Empty where it is unknown."""
        if phrase.pronoun == "it":
            return self.it(exclude)
        if phrase.pronoun == "they":
            listed = [group for group in self.run if group not in exclude]
            return listed or [group for group in range(len(self.groups)) if group not in exclude][:MOST]
        if phrase.pronoun == "other":
            return list(self.whole.values())[-1:] or self.it(exclude)
        if not phrase.noun:
            return []
        if phrase.negated:
            self.note(f"What is not named is not drawn: '{phrase.text}' was left out.")
            return []
        colour = self.colour(phrase)
        bare = not (phrase.determiner or phrase.number or phrase.plural)
        if phrase.determiner == "the" or bare and is_object:
            known = [n for n in self.by_noun.get(phrase.noun, ()) if n not in exclude]
            if phrase.determiner == "the" and phrase.plural and colour is None and len(known) > 1:
                return known[:MOST]
            meant = [n for n in known if self.groups[n].colour == colour]
            if not meant and phrase.determiner == "the":
                meant = [n for n in known if colour is None or self.groups[n].colour is None]
            if meant:
                group = self.groups[meant[-1]]
                group.colour = group.colour or colour
                return meant[-1:]
        if phrase.partitive and (part := self.part(phrase.noun, colour, phrase.number or 1)):
            return part
        count = phrase.number or 1
        if phrase.about:
            self.note(f"How many is not said exactly: {count} of '{phrase.text}' were taken.")
        elif phrase.plural and not phrase.number and phrase.determiner != "a":
            count = 2
            self.note(f"'{phrase.text}' does not say how many: two were taken.")
        return self.new(phrase.noun, colour, count)

    def new(self, noun: str, colour: str | None, count: int) -> list[int]:
        self.by_noun.setdefault(noun, []).append(len(self.groups))
        self.groups.append(Group(noun, colour, count))
        return [len(self.groups) - 1]

    def part(self, noun: str, colour: str | None, count: int) -> list[int]:
        """Take `count` out of a group named before: 'three hearts: one red'. Empty where none is."""
        for index in reversed(self.by_noun.get(noun, ())):
            group = self.groups[index]
            if index in self.whole or group.colour or group.count < count:
                continue
            if group.count == count:
                group.colour = colour
                return [index]
            group.count -= count
            part = self.new(noun, colour, count)
            self.whole[part[0]] = index
            return part
        return []

    def colour(self, phrase: NounPhrase) -> str | None:
        """The colour of the phrase that its noun comes in; the others are reported."""
        family, chosen = FAMILIES[phrase.noun], None
        for item in phrase.colours:
            colour = item.value.removeprefix("light ")
            if colour in family and chosen in (None, colour):
                chosen = colour
                if colour != item.value:
                    self.note(f"There is no {item.value} {phrase.noun}: {colour} was taken.")
            elif "" not in family or (phrase.noun, colour) not in OWN:
                self.reading.unknown.append(item.left_out(*list(filter(None, family))[:3], noted=True))
                which = "in one colour only" if "" in family else "in " + ", ".join(family)
                self.note(f"'{item.text}' was left out: {PLURALS[phrase.noun]} come {which}.")
        return chosen

    def note(self, text: str) -> None:
        if text not in self.reading.notes:
            self.reading.notes.append(text)
