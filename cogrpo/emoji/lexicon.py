"""The words that captions of the embedded world may use, as tables: phrase -> (kind, value).

The longest phrase wins: 'light bulb' is a noun and 'light blue' a colour. Synonyms get plurals by rule.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from cogrpo.emoji.vocabulary import BACKGROUNDS, CLASSES, COLOURS

# What else a noun is called.
SYNONYMS: dict[str, str] = {
    "dog": "puppy, doggy, pup, hound",
    "cat": "kitten, kitty, tabby",
    "rabbit": "bunny, bunny rabbit, hare",
    "bear": "teddy bear, brown bear, grizzly bear, bear cub",
    "panda": "panda bear, giant panda",
    "koala": "koala bear",
    "pig": "piglet, hog",
    "cow": "calf",
    "frog": "toad",
    "monkey": "ape, chimp, chimpanzee",
    "duck": "duckling, mallard",
    "bee": "honeybee, honey bee, bumblebee, bumble bee",
    "ladybug": "ladybird, lady bug",
    "turtle": "tortoise, sea turtle",
    "snake": "serpent",
    "fish": "tropical fish, goldfish, angelfish, clownfish",
    "eggplant": "aubergine, egg plant",
    "grape": "bunch of grapes, cluster of grapes",
    "watermelon": "slice of watermelon, watermelon slice, water melon",
    "tangerine": "mandarin, clementine, mandarin orange, orange fruit",
    "corn": "ear of corn, cob of corn, corn on the cob, corncob, sweetcorn, sweet corn, maize",
    "mushroom": "toadstool",
    "broccoli": "head of broccoli, piece of broccoli",
    "bread": "loaf of bread, slice of bread, bread loaf, piece of bread",
    "cheese": "piece of cheese, slice of cheese, wedge of cheese, cheese wedge, block of cheese",
    "hamburger": "burger, cheeseburger",
    "fries": "french fry, portion of fries",
    "pizza": "slice of pizza, pizza slice, piece of pizza",
    "doughnut": "donut",
    "cookie": "biscuit, chocolate chip cookie",
    "cake": "birthday cake, piece of cake, slice of cake",
    "ice cream": "icecream, ice cream cone, icecream cone, soft serve, scoop of ice cream",
    "coffee": "cup of coffee, mug of coffee, coffee cup, coffee mug",
    "beer": "mug of beer, glass of beer, pint of beer, beer mug, beer glass",
    "car": "automobile, sports car, race car, racecar",
    "bus": "minibus, school bus",
    "taxi": "cab, taxi cab, taxicab",
    "bicycle": "bike, cycle, pushbike",
    "airplane": "plane, aeroplane, jet, aircraft, air plane",
    "helicopter": "chopper",
    "rocket": "rocket ship, spaceship, space rocket, space ship, rocketship",
    "boat": "sailboat, sail boat, sailing boat, ship, yacht, sailing ship",
    "lock": "padlock",
    "guitar": "electric guitar",
    "laptop": "laptop computer, computer, notebook computer",
    "light bulb": "bulb, lightbulb",
    "clock": "alarm clock",
    "umbrella": "parasol",
    "gift": "present, gift box, wrapped gift, wrapped present, giftbox",
    "hat": "top hat, tophat",
    "jeans": "blue jeans",
    "shoe": "sneaker, trainer, running shoe",
    "gem": "gemstone, diamond, jewel",
    "football": "soccer ball, soccerball",
    "basketball": "basket ball",
    "sunflower": "sun flower",
    "tree": "pine tree, evergreen, evergreen tree, fir tree, pine, fir, christmas tree, conifer",
    "fire": "flame, campfire, bonfire",
    "house": "home, cottage",
    "snowman": "snow man",
    "heart": "love heart, heart shape, heart symbol",
    "circle": "disc, disk, dot",
    "book": "textbook, closed book",
}
IRREGULAR = {"calves": "cow", "cacti": "cactus", "octopi": "octopus", "snow men": "snowman", "fishes": "fish"}
# Phrases, some of them plural in form, that mean one object where no number stands before them.
ONE = {
    "scissors": "scissors, pair of scissors, pairs of scissors, shears",
    "jeans": "jeans, pair of jeans, pairs of jeans, trousers, pair of trousers, pants, pair of pants",
    "fries": "fries, french fries, portion of fries, box of fries, bag of fries",
    "grape": "grapes",
    "bread": "loaves of bread",
}
EMOJI_OF = {  # characters that show the same thing as one of ours
    "dog": "🐕🐩", "cat": "🐈😺", "mouse": "🐁🐀", "rabbit": "🐇", "tiger": "🐅", "cow": "🐄", "pig": "🐖",
    "monkey": "🐒", "duck": "🐥", "fish": "🐟", "whale": "🐋", "tree": "🌳🎄", "star": "🌟", "hat": "👒",
    "car": "🏎", "taxi": "🚖", "bus": "🚍", "airplane": "🛩", "boat": "🚤", "house": "🏡", "snowman": "⛄",
    "umbrella": "☔", "lock": "🔐", "heart": "💗💖💓💕", "ice cream": "🍨", "clock": "🕰", "bear": "🧸",
}  # fmt: skip
# The colours that a noun of one colour has anyway: asking for one of them leaves nothing out.
OWN_COLOURS = {
    "yellow": "cat lion bee fish lemon banana pineapple cheese corn taxi helicopter key lock bell trumpet "
    "light_bulb crown trophy star sunflower fire beer fries bread croissant hamburger egg pizza",
    "red": "ladybug crab tomato strawberry cherry fries car guitar rocket clock balloon scissors mushroom "
    "fire",
    "orange": "tiger butterfly crab fox tangerine peach carrot basketball cat boat fire egg gift cheese",
    "brown": "dog bear monkey owl snail lion cow duck croissant pretzel cookie doughnut chair bread "
    "coffee mushroom avocado",
    "green": "frog turtle snake parrot watermelon avocado broccoli tractor cactus tree",
    "blue": "dolphin whale umbrella jeans shoe gem bus airplane bicycle",
    "purple": "eggplant grape umbrella",
    "pink": "pig octopus flamingo unicorn tulip peach",
    "grey": "mouse rabbit koala wolf spider elephant hammer camera penguin",
    "white": "panda cow dog unicorn ice_cream coffee ambulance airplane cloud snowman football cake "
    "rabbit bread",
    "black": "panda penguin spider hat camera football bee",
}
COLOUR_SYNONYMS = {
    "purple": "violet, indigo, lilac, lavender",
    "grey": "gray, light gray, light grey, dark gray, dark grey, silver",
    "red": "crimson, scarlet",
    "yellow": "golden, gold",
    "blue": "navy, azure",
    "green": "emerald",
    "pink": "magenta",
    "light blue": "sky blue, baby blue, pale blue",
    "light green": "mint, mint green, lime green, pale green",
    "sand": "beige, tan, sandy, sand coloured, sand colored",
    "turquoise": "turquoise, teal, cyan",  # none of the world's colours: read as a colour, then left out
}
NEAREST_BACKGROUND = {"blue": "light blue", "green": "light green"}
NEAR_BACKGROUND = {"red": ("pink", "purple"), "orange": ("yellow", "sand"), "brown": ("sand", "grey")}
SCENERY = {  # places that a coloured background can stand for
    "sand": "sand, beach, desert",
    "light green": "grass, lawn, meadow, grassy field",
    "light blue": "sky",
    "white": "snow",
    "black": "night, night sky",
}

NUMBERS = {
    1: "one, single, lone, another, 1x",
    2: "two, pair of, couple of, couple, duo of, 2x",
    3: "three, trio of, 3x",
    4: "four, pairs of, quartet of, 4x",
    **dict(enumerate(("five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"), start=5)),
}
ABOUT = {
    3: "few, several, bunch of, group of, multiple, various",
    4: "many, lots of, lot of, numerous, dozen",
}

_SIDES = (
    "SIDE of, to the SIDE of, on the SIDE of, at the SIDE of, on SIDE of, to SIDE of, to the far SIDE of, "
    "on the SIDE side of, to the SIDE side of, at the SIDE side of, on the SIDE hand side of"
)
RELATIONS = {
    "left": _SIDES.replace("SIDE", "left"),
    "right": _SIDES.replace("SIDE", "right"),
    "above": "above, over, on top of, atop, upon, higher than, at the top of, over the top of",
    "below": "below, under, beneath, underneath, lower than, at the bottom of, down below",
}
# Here the other thing is 'it', the one spoken of before: 'a dog with a cat to its left'.
RELATIONS_TO_IT = {
    side: f"to its {side}, on its {side}, at its {side}, on its {side} side, to its {side} side, "
    f"to the {side}"
    for side in ("left", "right")
}
PLACES = {  # parts of the picture
    "left": "left, left side, left hand side, far left, left half, left edge",
    "right": "right, right side, right hand side, far right, right half, right edge",
    "above": "top, upper half, upper part, top half, top edge",
    "below": "bottom, lower half, lower part, bottom half, bottom edge",
}
WORDS = {  # kinds of the words that join phrases, and of those that mean nothing here
    "and": "and, plus, along with, together with, as well as, accompanied by, next to, right next to, "
    "beside, near, by, close to, alongside, adjacent to, side by side with, by the side of, and also, and "
    "then",
    "with": "with, has, have, having, featuring, containing, including, while, whereas, but, then",
    "that": "that, which, who",
    "is": "is, are, was, were, be, coloured, colored, colour, color, painted",
    "there": "there, we see, you see, we can see, you can see, i see",
    "it": "it, this one, that one",
    "they": "they, them",
    "other": "the other, the others, the other one",
    "the": "the, this, these, those, its, both, all",
    "a": "a, an",
    "some": "some, any",
    "no": "no, zero, without, without any, not, except, nor, neither, excluding",
    "on": "on, onto",
    "in": "in, at, into, within",
    "front": "in front of, against",
    "ground": "background, backgrounds, backdrop, bg, canvas, surface, wall, ground, floor",
    "ones": "ones",
    "unknown": "hot dog, hot dogs, computer mouse, fire hydrant, fire truck, fire engine, bell pepper, "
    "star fish, jelly fish, sea lion, sea horse, guinea pig, tree house, traffic light, house plant, wine "
    "glass",
    "shade": "light, dark, bright, deep, pale, vivid, pastel, solid, plain, pure, soft",
    "unshown": "behind, inside, between, in between, around, through, across, outside, among, wearing, "
    "holding, riding, eating, facing",
    "filler": "photo, photograph, picture, image, emoji, emojis, icon, icons, drawing, illustration, "
    "painting, render, rendering, sketch, scene, of, to, for, please, draw, show, generate, create, make, "
    "paint, give, me, i, want, would, like, can, you, us, see, also, just, only, directly, immediately, "
    "right there, located, placed, positioned, situated, standing, stands, stand, sitting, sits, sit, "
    "lying, lies, lie, resting, rests, hovering, hovers, floating, float, floats, flying, flies, hanging, "
    "hangs, appearing, appears, shown, shows, showing, seen, visible, set, put, exactly, together, "
    "each other, side by side, here, now, too, being, depicting, depicts, displayed, arranged, in total, in "
    "all, nothing else, up, shape, shaped, symbol, hello, hi, my, your, their",
}


@dataclass(frozen=True)
class Name:
    """What a noun stands for. `plural`: more than one is meant where no number says how many."""

    noun: str
    colour: str | None = None
    plural: bool = False


def pluralise(phrase: str) -> str:
    word, *rest = phrase.split(" of ")
    if re.search(r"[^aeiou]y$", word):
        word = word[:-1] + "ies"
    else:
        word += "es" if re.search(r"(s|x|ch|sh)$", word) else "s"
    return " of ".join((word, *rest))


def _phrases() -> dict[tuple[str, ...], tuple[str, Any]]:
    table: dict[tuple[str, ...], tuple[str, Any]] = {}

    def add(kind: str, value: Any, *phrases: str) -> None:
        table.update({tuple(phrase.split()): (kind, value) for phrase in phrases})

    for kind, phrases in WORDS.items():
        add(kind, None, *phrases.split(", "))
    for kind, numbers in (("number", NUMBERS), ("about", ABOUT)):
        for number, phrases in numbers.items():
            add(kind, number, *phrases.split(", "))
    for kind, meanings in (("colour", COLOUR_SYNONYMS), ("scenery", SCENERY)):
        for colour, phrases in meanings.items():
            add(kind, colour, *phrases.split(", "))
    for colour in (*COLOURS, *BACKGROUNDS):
        add("colour" if colour != "sand" else "scenery", colour, colour)
    for kind, phrases in PLACES.items():
        for phrase in phrases.split(", "):
            add("place", (kind,), phrase)
            add(
                "place", (kind,), *(f"{word} {phrase}" for word in ("on the", "at the", "in the", "on", "at"))
            )
    for high, vertical in (("top", "above"), ("upper", "above"), ("bottom", "below"), ("lower", "below")):
        for side in ("left", "right"):
            for name in (f"{high} {side}", f"{high} {side} corner"):
                add("place", (vertical, side), name, f"in the {name}", f"at the {name}", f"on the {name}")
    for kind, phrases in RELATIONS.items():
        for phrase in phrases.split(", "):
            add("relation", (kind,), phrase, f"right {phrase}")
    for kind, phrases in RELATIONS_TO_IT.items():
        add("relation to it", (kind,), *phrases.split(", "))
    # Nouns last: the plurals first, so that a word that is both is the singular.
    for plural, noun in IRREGULAR.items():
        add("noun", Name(noun, plural=True), plural)
    add("noun", Name("tangerine", plural=True), "oranges")
    for noun, phrases in SYNONYMS.items():
        add("noun", Name(noun, plural=True), *map(pluralise, phrases.split(", ")))
    for emoji in CLASSES:
        add("noun", Name(emoji.noun, plural=True), emoji.plural)
    for noun, phrases in SYNONYMS.items():
        add("noun", Name(noun), *phrases.split(", "))
    for emoji in CLASSES:
        add("noun", Name(emoji.noun), emoji.noun)
    for noun, phrases in ONE.items():
        add("noun", Name(noun), *phrases.split(", "))
    return table


PHRASES = _phrases()
LONGEST = max(map(len, PHRASES))
CHARACTERS = {character: Name(noun) for noun, characters in EMOJI_OF.items() for character in characters} | {
    emoji.emoji: Name(emoji.noun, emoji.colour or None) for emoji in CLASSES
}
OWN = {(noun.replace("_", " "), colour) for colour, nouns in OWN_COLOURS.items() for noun in nouns.split()}
