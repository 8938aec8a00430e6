"""Failed checks in plain words."""

from __future__ import annotations

import pytest

from cogrpo.emoji.grammar import parse
from cogrpo.emoji.scene import BACKGROUND_NAMES, Placed
from cogrpo.emoji.verifier import Detection, score
from cogrpo.emoji.vocabulary import FAMILIES
from ui.findings import failed

PLACES = ((0, 0), (0, 4), (4, 0), (4, 4))


def found(prompt: str, *names: str, background: str = "white", stray: float = 0.0) -> list[str]:
    """What is said of a picture with these objects: the first top left, then top right, bottom left, bottom right."""
    objects = []
    for name, (row, col) in zip(names, PLACES, strict=False):
        colour, _, noun = name.rpartition(" ")
        objects.append(Placed(FAMILIES[noun][colour], row, col))
    detection = Detection(tuple(objects), BACKGROUND_NAMES.index(background), stray)
    spec = parse(prompt).spec
    return failed(spec, detection, score(spec, detection))


@pytest.mark.parametrize(
    ("prompt", "names", "told"),
    [
        ("two dogs", ["dog", "dog"], []),
        ("two dogs", ["dog"], ["asked for two dogs, found one"]),
        ("two dogs", [], ["asked for two dogs, found none"]),
        ("two dogs", ["dog"] * 3, ["found a dog too many"]),
        ("a dog", ["cat"], ["asked for a dog, found none", "found a cat, not asked for"]),
        ("a dog", ["dog", "cat", "cat", "key"], ["found two cats and a key, not asked for"]),
        ("a red heart", ["blue heart"], ["asked for a red heart, found a blue heart"]),
        (
            "two red hearts",
            ["red heart", "blue heart"],
            ["asked for two red hearts, found a red heart and a blue heart"],
        ),
        ("a heart and a red heart", ["red heart", "blue heart"], []),
        ("a dog right of a cat", ["dog", "cat"], ["the dog is not right of the cat"]),
        ("a dog right of a cat", ["dog"], ["asked for a cat, found none"]),
        ("a cat above two dogs", ["cat", "dog", "dog"], ["the dogs are not all below the cat"]),
        ("two dogs above a cat", ["dog", "cat", "dog"], ["the cat is not below all the dogs"]),
    ],
)
def test_what_is_missing_wrong_or_too_much_is_said(prompt: str, names: list[str], told: list[str]) -> None:
    assert found(prompt, *names) == told


def test_background_and_stray_marks_are_said_after_the_objects() -> None:
    assert found("a dog on a pink background", "dog", background="light blue", stray=0.1) == [
        "asked for a pink background, found a light blue one",
        "found stray marks beside the objects",
    ]
    assert found("a dog on a pink background", "dog", background="pink") == []
