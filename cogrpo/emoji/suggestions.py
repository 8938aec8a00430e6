"""What to offer for a word that the embedded world lacks: what is near in meaning, or what was meant by a mistyped one.

Most words that are left out are words of the language that nothing here can show ('big', 'sad', 'wearing'). An offer
helps nobody who wrote one of them, however near it is to one of ours in spelling.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from functools import lru_cache

from cogrpo.emoji.lexicon import PHRASES
from cogrpo.emoji.vocabulary import BACKGROUNDS, COLOURS
from cogrpo.emoji.wording import PHRASE_OF, PLURALS

# Frequent words whose nearest meaning is not their nearest spelling.
_RELATED = {
    "bird": "parrot, owl, duck", "flower": "tulip, sunflower", "plant": "cactus, tree",
    "animal": "dog, cat", "fruit": "banana, peach, strawberry", "vegetable": "carrot, broccoli",
    "truck": "tractor, bus", "train": "bus, taxi", "horse": "unicorn, cow", "sheep": "cow, pig",
    "chicken": "duck, egg", "insect": "bee", "drink": "coffee, beer", "tea": "coffee",
    "vehicle": "car, bus", "triangle": "square", "box": "gift, square",
    "ball": "football, basketball, circle", "cube": "square", "sun": "sunflower, star",
    "moon": "star, cloud", "phone": "laptop, camera", "table": "chair", "couch": "chair", "watch": "clock",
    "shirt": "jeans, shoe", "pear": "peach, apple", "zebra": "cow, panda", "giraffe": "elephant",
    "shark": "whale, dolphin", "person": "snowman", "man": "snowman", "woman": "snowman",
    "motorcycle": "bicycle", "lamp": "light bulb", "sandwich": "hamburger, bread", "cup": "coffee, trophy",
    "violin": "guitar", "piano": "guitar", "hot dog": "hamburger, dog", "computer mouse": "laptop, mouse",
    "fire truck": "bus, fire", "rose": "tulip", "bench": "chair", "bed": "chair", "sofa": "chair",
    "knife": "scissors", "orange juice": "tangerine", "behind": "left of, right of, above",
    "in front of": "left of, right of, below", "between": "left of, right of", "inside": "above, below",
}  # fmt: skip

# Words of the language that are so near to ours that they would pass for mistyped ones.
_NOT_MISTYPED = (
    "sad scared bored nervous lonely better elegant fresh cooked crooked fried glass whole busy cloudy snowy "
    "none even than she her hers been do could may any sing looks flew back corner side first tonight breath "
    "crow clown coat bat pin plate place planet moose rock tent cart card kite cave chain"
)
_NAMING = ("noun", "colour", "scenery", "number", "about", "relation", "place")
_LONGEST = 30
_ALIKE, _ALIKE_LONG = 0.8, 0.75  # least ratio of difflib: about one letter in five is wrong
_LONG = 6  # letters; such a word may have two wrong ones


@lru_cache
def words() -> tuple[str, ...]:
    """The phrases of the lexicon that name something: objects, colours, numbers, relations, places."""
    return tuple(sorted(" ".join(phrase) for phrase, (kind, _) in PHRASES.items() if kind in _NAMING))


@lru_cache
def _plain_words() -> tuple[str, ...]:
    """The world's own names for things, which are suggested before their synonyms."""
    return (*PLURALS, *PLURALS.values(), *COLOURS, *BACKGROUNDS, *PHRASE_OF.values())


@lru_cache(maxsize=4096)
def suggest(word: str) -> tuple[str, ...]:
    """Known words near an unknown one in meaning, or in spelling where it looks mistyped: at most three."""
    word = word.lower()
    for form in (word, word.removesuffix("s")):
        if form in _RELATED:
            return tuple(_RELATED[form].split(", "))
    if len(word) > _LONGEST or word in _NOT_MISTYPED.split():
        return ()
    return _meant(word, _plain_words()) or _meant(word, words())


def _meant(word: str, known: Sequence[str]) -> tuple[str, ...]:
    """The known words that were meant by a mistyped one. Its first letter is right, or has changed places."""
    near = [each for each in known if each.startswith((word[:1], word[1::-1]))]
    swapped = [each for each in near if sorted(each) == sorted(word)]
    alike = difflib.get_close_matches(word, near, 3, _ALIKE_LONG if len(word) >= _LONG else _ALIKE)
    return tuple(dict.fromkeys(swapped + alike))[:3]
