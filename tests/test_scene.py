import itertools

import numpy as np
import pytest

from cogrpo.emoji.scene import (
    CATEGORIES,
    CELL,
    GRID,
    MOST,
    OPPOSITE,
    SIZE,
    ObjectSpec,
    Placed,
    Relation,
    Scene,
    Spec,
    held_out,
    holds,
    pairs_held_out,
    place,
    render,
    sample_spec,
    satisfies,
)
from cogrpo.emoji.vocabulary import BACKGROUNDS, CLASSES, FAMILIES


def scenes(count: int, split: str = "train"):
    rng = np.random.default_rng(7)
    for category in CATEGORIES:
        for _ in range(count):
            spec = sample_spec(category, rng, split)
            yield spec, place(spec, rng)


def test_objects_are_on_the_grid_and_never_overlap():
    for _, scene in scenes(150):
        for item in scene.objects:
            assert 0 <= item.row <= GRID - SIZE and 0 <= item.col <= GRID - SIZE
        for a, b in itertools.combinations(scene.objects, 2):
            assert abs(a.row - b.row) >= SIZE or abs(a.col - b.col) >= SIZE


def test_a_placed_spec_is_satisfied():
    for spec, scene in scenes(150, "test"):
        assert len(scene.objects) == spec.total <= MOST
        assert satisfies(spec, scene)


def test_every_corner_is_used():
    rng = np.random.default_rng(1)
    corners = {
        (item.row, item.col) for _ in range(600) for item in place(Spec((ObjectSpec("dog"),)), rng).objects
    }
    assert len(corners) == (GRID - SIZE + 1) ** 2


def test_a_wrong_scene_is_not_satisfied():
    dog, cat = (FAMILIES[noun][""] for noun in ("dog", "cat"))
    spec = Spec((ObjectSpec("dog"), ObjectSpec("cat")), (Relation(0, "left", 1),), "white")
    right = (Placed(dog, 0, 0), Placed(cat, 0, 4))
    assert satisfies(spec, Scene(right, 0)) and satisfies(spec, Scene(right[::-1], 0))
    assert not satisfies(spec, Scene(right, 1))
    assert not satisfies(spec, Scene(right[:1], 0))
    assert not satisfies(spec, Scene((*right, Placed(dog, 4, 0)), 0))
    assert not satisfies(spec, Scene((Placed(cat, 0, 0), Placed(dog, 0, 4)), 0))


def test_colours_of_a_family_are_told_apart():
    red, blue = FAMILIES["heart"]["red"], FAMILIES["heart"]["blue"]
    spec = Spec((ObjectSpec("heart"), ObjectSpec("heart", "red")))
    for classes in ((red, blue), (blue, red), (red, red)):
        assert satisfies(spec, Scene(tuple(Placed(c, 0, 4 * n) for n, c in enumerate(classes)), 0))
    assert not satisfies(spec, Scene((Placed(blue, 0, 0), Placed(blue, 0, 4)), 0))


def test_groups_that_may_share_objects_are_told_apart_in_any_way_that_fits():
    dog = FAMILIES["dog"][""]
    beside = Spec((ObjectSpec("dog"), ObjectSpec("dog")), (Relation(0, "left", 1),))
    row, column = (Placed(dog, 0, 0), Placed(dog, 0, 4)), (Placed(dog, 0, 0), Placed(dog, 4, 0))
    assert all(satisfies(beside, Scene(order, 0)) for order in (row, row[::-1]))
    assert not any(satisfies(beside, Scene(order, 0)) for order in (column, column[::-1]))


@pytest.mark.parametrize("kind", OPPOSITE)
def test_relations_are_genevals(kind):
    at = Placed(0, 2, 2)
    for row, col in itertools.product(range(5), repeat=2):
        other = Placed(0, row, col)
        assert holds(kind, at, other) == holds(OPPOSITE[kind], other, at)
        angle = np.degrees(np.arctan2(row - 2, col - 2))  # of the other, 0 is right, 90 is below
        towards = {"left": 0, "right": 180, "above": 90, "below": -90}[kind]
        away = abs((angle - towards + 180) % 360 - 180)
        assert holds(kind, at, other) == ((row, col) != (2, 2) and away < 59.9)


def test_relations_that_contradict_have_no_layout():
    objects = (ObjectSpec("dog"), ObjectSpec("cat"))
    with pytest.raises(ValueError, match="layout"):
        place(Spec(objects, (Relation(0, "left", 1), Relation(1, "left", 0))), np.random.default_rng(0))


def test_held_out_pairs_are_unordered_one_in_ten_and_only_in_test():
    names = [emoji.name for emoji in CLASSES]
    pairs = list(itertools.combinations(names, 2))
    assert all(held_out(a, b) == held_out(b, a) for a, b in pairs[:500])
    assert 0.08 < np.mean([held_out(a, b) for a, b in pairs]) < 0.12
    rng = np.random.default_rng(2)
    for category in ("two", "position", "attribution", "dense"):
        for _ in range(60):
            assert pairs_held_out(sample_spec(category, rng, "train")) == 0
            assert pairs_held_out(sample_spec(category, rng, "validation")) == 0
            assert pairs_held_out(sample_spec(category, rng, "test")) > 0


def test_groups_of_a_sampled_spec_can_be_told_apart():
    for spec, _ in scenes(100):
        for a, b in itertools.combinations(spec.objects, 2):
            assert a.noun != b.noun or (a.colour and b.colour and a.colour != b.colour)


def test_an_unknown_category_is_refused():
    with pytest.raises(ValueError, match="category: unknown 'triple'"):
        sample_spec("triple", np.random.default_rng(0), "train")


def test_a_scene_is_painted_where_it_says():
    sprites = np.zeros((len(CLASSES), SIZE * CELL, SIZE * CELL, 4), np.uint8)
    sprites[5] = (200, 10, 20, 255)
    sprites[6] = (200, 10, 20, 0)
    picture = render(Scene((Placed(5, 1, 4), Placed(6, 4, 0)), 2), sprites)
    assert picture.shape == (GRID * CELL, GRID * CELL, 3) and picture.dtype == np.uint8
    inside = np.zeros(picture.shape[:2], bool)
    inside[CELL : CELL * 5, CELL * 4 :] = True
    assert (picture[inside] == (200, 10, 20)).all()
    assert (picture[~inside] == list(BACKGROUNDS.values())[2]).all()


def test_half_transparent_pixels_are_blended():
    sprites = np.full((len(CLASSES), SIZE * CELL, SIZE * CELL, 4), (0, 0, 0, 127), np.uint8)
    picture = render(Scene((Placed(0, 0, 0),), 0), sprites)
    assert (picture[0, 0] == np.round(np.array(BACKGROUNDS["white"]) * (128 / 255))).all()
