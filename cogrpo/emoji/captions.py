"""Many wordings of one Spec, each of which the grammar reads back as that Spec.

A caption is a body, framed by what it says of the background. In a template {a} and {b} are the first two
groups with their numbers, {k} is how the first stands to the second and {opposite} how the second stands to
the first; {is} agrees with the first group, {there} is 'there is' or 'there are'. No training caption uses a
template of a TEST_ table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from cogrpo.emoji.lexicon import SYNONYMS, pluralise
from cogrpo.emoji.scene import OPPOSITE, Kind, ObjectSpec, Spec
from cogrpo.emoji.wording import NUMERALS, PIECES, PLURALS, ties, with_article

Split = Literal["train", "test"]

LEADS = (
    "",
    "",
    "a photo of ",
    "a picture of ",
    "an emoji of ",
    "an image of ",
    "a drawing of ",
    "please draw ",
)
TEST_LEADS = ("an illustration showing ", "I want to see ", "generate an icon of ", "a scene of ")
ONE = ("{lead}{a}", "{a}", "{there} {a}", "just {a}", "{lead}{a}, please")
TEST_ONE = ("{lead}{a}", "{lead}{a} and nothing else", "can you show me {a}", "here {is} {a}")
TWO = ("{lead}{a} and {b}", "{lead}{a} next to {b}", "{lead}{a} with {b}", "{a}, {b}", "{there} {a} and {b}")
TEST_TWO = (
    "{lead}{a} together with {b}",
    "{a} accompanied by {b}",
    "{there} {a}. {There} {b}",
    "{a} plus {b}",
)
RELATED = (
    "{lead}{a} {k} {b}",
    "{a} {is} {k} {b}",
    "{a} {stands} {k} {b}",
    "{there} {a} {k} {b}",
    "{opposite} {a} {there_too} {b}",
)
RELATED_TO_IT = ("{lead}{a} with {b} {opposite} it", "{a}, and {opposite} it {b}")
TEST_RELATED = (
    "{lead}{a} directly {k} {b}",
    "{a}, {k} {b}",
    "{a} which {is} {k} {b}",
    "{a} {place} and {b} {other_place}",
)
TEST_RELATED_TO_IT = ("{there} {a}. It {is} {k} {b}", "{there} {a}. {Opposite} it {there_too} {b}")
FIRST = ("{there} {a}", "{lead}{a}")
FIRST_TWO = ("{there} {a} and {b}", "{lead}{a} and {b}")
NEXT = ("{a} {is} {k}", "{a} {stands} {k}", "{there} {a} {k}", "{k} {there} {a}", "{k} {is} {a}")
TEST_NEXT = ("you can see {a} {k}", "{k}, {a}", "{k} we see {a}")
LOOSE_NEXT = ("{there} also {a}", "{there} {a} too")
GROUNDS = (
    "{text} on {ground} background",
    "{text} on {ground} background",
    "{text} against {ground} background",
    "{text} in front of {ground} background",
    "{text}, with {ground} background",
    "on {ground} background, {text}",
)
TEST_GROUNDS = (
    "{text}. The background is {bare}",
    "{text}, set against {ground} backdrop",
    "{bare} background: {text}",
)

WAYS: dict[Kind, tuple[str, ...]] = {
    "left": ("left of", "to the left of", "on the left of", "on the left side of"),
    "right": ("right of", "to the right of", "on the right of", "on the right side of"),
    "above": ("above", "over", "on top of", "higher than"),
    "below": ("below", "under", "beneath", "underneath"),
}
CORNERS: dict[Kind, str] = {
    "left": "on the left", "right": "on the right", "above": "at the top", "below": "at the bottom",
}  # fmt: skip
SHADES = {"purple": "violet", "grey": "gray"}
NUMBERS = {
    1: (NUMERALS[1], NUMERALS[1], NUMERALS[1], "one", "a single"),
    2: ("two", "two", "2", "a couple of", "a pair of"),
    3: ("three", "three", "3", "a trio of"),
    4: ("four", "four", "4"),
}


class _Wording:
    """The words chosen for the groups of one caption: a group keeps its noun when it is spoken of again."""

    def __init__(self, spec: Spec, rng: np.random.Generator, split: Split) -> None:
        self.spec, self.rng, self.test = spec, rng, split == "test"
        self.nouns = [self.noun(group) for group in spec.objects]

    def pick(self, options: Sequence[str]) -> str:
        return options[self.rng.integers(len(options))]

    def noun(self, group: ObjectSpec) -> tuple[str, str]:
        """What to call the group when it is introduced and when it is spoken of again."""
        many = group.count > 1
        if group.noun in SYNONYMS and self.rng.random() < 0.3:
            word = self.pick(SYNONYMS[group.noun].split(", "))
            word = pluralise(word) if many else word
            return word, word
        again = PLURALS[group.noun] if many else group.noun
        return (PIECES[group.noun][many] if group.noun in PIECES else again), again

    def colour(self, group: ObjectSpec) -> str:
        if not group.colour:
            return ""
        return (SHADES.get(group.colour, group.colour) if self.rng.random() < 0.2 else group.colour) + " "

    def introduced(self, index: int) -> str:
        """'two puppies', 'a red heart', 'a heart that is red'."""
        group, (noun, _) = self.spec.objects[index], self.nouns[index]
        number, colour = self.pick(NUMBERS[group.count]), self.colour(group)
        if number.endswith("pair of") and group.noun in PIECES:
            number = "two"
        if number == NUMERALS[1]:
            return with_article(colour + noun)
        return f"{number} {colour}{noun}"

    def again(self, index: int) -> str:
        group, (_, noun) = self.spec.objects[index], self.nouns[index]
        return f"the {self.colour(group)}{noun}"

    def there(self, index: int) -> str:
        return "there are" if self.spec.objects[index].count > 1 else "there is"

    def fields(self, index: int) -> dict[str, str]:
        many = self.spec.objects[index].count > 1
        there = self.there(index)
        verbs = ("are", "stand", "float", "sit") if many else ("is", "stands", "floats", "sits")
        lead = self.pick(LEADS + TEST_LEADS if self.test else LEADS)
        return {
            "a": self.introduced(index), "lead": lead, "is": verbs[0], "stands": self.pick(verbs[1:]),
            "there": there, "There": there.capitalize(),
        }  # fmt: skip

    def body(self) -> str:
        spec = self.spec
        if len(spec.objects) == 1:
            return self.pick(TEST_ONE if self.test else ONE).format(**self.fields(0))
        if len(spec.objects) == 2 and len(spec.relations) <= 1:
            return self.pair()
        return self.sentences()

    def pair(self) -> str:
        fields = {**self.fields(0), "b": self.introduced(1)}
        tied = ties(self.spec)[1]
        if not tied:
            return self.pick(TEST_TWO if self.test else TWO).format(**fields)
        opposite = tied[0][0]
        kind = OPPOSITE[opposite]
        templates = TEST_RELATED if self.test else RELATED
        if self.spec.objects[0].count == 1:
            templates += TEST_RELATED_TO_IT if self.test else RELATED_TO_IT
        way = self.pick(WAYS[opposite])
        fields |= {"k": self.pick(WAYS[kind]), "opposite": way, "Opposite": way.capitalize()}
        fields |= {"place": CORNERS[kind], "other_place": CORNERS[opposite], "there_too": self.there(1)}
        return self.pick(templates).format(**fields)

    def sentences(self) -> str:
        """One sentence a group, each telling how it stands to groups that were named before."""
        tied = ties(self.spec)
        if tied[1]:
            first, start = self.pick(FIRST).format(**self.fields(0)), 1
        else:
            first = self.pick(FIRST_TWO).format(**self.fields(0), b=self.introduced(1))
            start = 2
        said = [first]
        for index in range(start, len(tied)):
            fields = self.fields(index)
            if not tied[index]:
                said.append(self.pick(LOOSE_NEXT).format(**fields))
                continue
            ways = [f"{self.pick(WAYS[kind])} {self.again(other)}" for kind, other in tied[index]]
            templates = TEST_NEXT if self.test else NEXT
            said.append(self.pick(templates).format(**fields, k=" and ".join(ways)))
        return ". ".join(sentence[0].upper() + sentence[1:] for sentence in said)


def caption(spec: Spec, rng: np.random.Generator, split: Split = "train") -> str:
    """A random wording of the spec; with split 'test', one of the kind that no training caption has.

    The spec is to be one of `scene.sample_spec`: groups that can be told apart by their names."""
    wording = _Wording(spec, rng, split)
    text = wording.body()
    if spec.background:
        bare = SHADES.get(spec.background, spec.background) if rng.random() < 0.2 else spec.background
        frame = wording.pick(TEST_GROUNDS if split == "test" else GROUNDS)
        inner = text if frame.startswith("{text}") or text.startswith("I ") else text[0].lower() + text[1:]
        text = frame.format(text=inner, ground=with_article(bare), bare=bare)
    if rng.random() < 0.5:
        text = text[0].upper() + text[1:]
    return text + "." if ". " in text and text[-1] not in ".?" else text
