import itertools
from dataclasses import replace

import numpy as np
import pytest

from cogrpo.emoji import judge as judging
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.grammar import PromptError, parse
from cogrpo.emoji.scene import BACKGROUND_NAMES, CATEGORIES, Placed, place, sample_spec
from cogrpo.emoji.verifier import BELOW_STRICT, STRAY_LIMIT, Detection, score
from cogrpo.emoji.vocabulary import CLASSES, FAMILIES

PINK = BACKGROUND_NAMES.index("pink")
INDEX = {emoji.name: emoji.index for emoji in CLASSES}


def seen(*objects: tuple[str, int, int], background: int = PINK, stray: float = 0.0) -> Detection:
    return Detection(tuple(Placed(INDEX[name], row, col) for name, row, col in objects), background, stray)


def judge(prompt: str, detection: Detection):
    return score(parse(prompt).spec, detection)


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_right_picture_is_strict_whatever_the_order_of_detection(category):
    rng = np.random.default_rng(1)
    for _ in range(100):
        spec = sample_spec(category, rng, "test")
        scene = place(spec, rng)
        shuffled = tuple(scene.objects[i] for i in rng.permutation(len(scene.objects)))
        verdict = score(spec, Detection(shuffled, scene.background, STRAY_LIMIT))
        assert verdict.strict and verdict.soft == 1
        assert all(credit == 1 for _, credit in verdict.clauses)


@pytest.mark.parametrize("category", CATEGORIES)
def test_near_misses_are_never_strict_and_soft_is_below_one(category):
    rng = np.random.default_rng(2)
    for _ in range(100):
        spec = replace(sample_spec(category, rng, "test"), background="white")
        scene = place(spec, rng)
        objects = scene.objects
        other = next(
            c for c in rng.permutation(len(CLASSES)) if all(c not in g.classes for g in spec.objects)
        )
        wrong = [
            Detection(objects[1:], 0, 0),
            Detection((*objects, objects[0]), 0, 0),
            Detection((replace(objects[0], cls=int(other)), *objects[1:]), 0, 0),
            Detection(objects, 3, 0),
            Detection(objects, 0, STRAY_LIMIT * 1.0001),
        ]
        for detection in wrong:
            verdict = score(spec, detection)
            assert not verdict.strict and 0 <= verdict.soft <= BELOW_STRICT < 1


def test_a_picture_without_its_objects_earns_nothing():
    assert judge("a dog on a pink background", seen()).soft == 0
    assert judge("a dog on a pink background", seen(("cat", 0, 0))).soft == 0


def test_better_pictures_earn_more():
    prompt = "two dogs above a cat on a pink background"
    steps = [
        seen(("dog", 0, 0), background=0, stray=0.5),
        seen(("dog", 0, 0), background=0),
        seen(("dog", 0, 0)),
        seen(("dog", 0, 0), ("cat", 4, 0)),
        seen(("dog", 0, 0), ("dog", 4, 4), ("cat", 4, 0)),
        seen(("dog", 0, 0), ("dog", 0, 4), ("cat", 4, 0)),
    ]
    scores = [judge(prompt, step).soft for step in steps]
    assert scores == sorted(scores) and len(set(scores)) == len(scores) and scores[-1] == 1


def test_a_relation_that_fails_costs_more_than_the_background():
    right = seen(("dog", 0, 0), ("cat", 4, 0))
    mirrored = seen(("cat", 0, 0), ("dog", 4, 0))
    prompt = "a dog above a cat on a pink background"
    assert judge(prompt, mirrored).soft < judge(prompt, replace(right, background=0)).soft < 1
    assert ("the dog above the cat", 0.0) in judge(prompt, mirrored).clauses


def test_the_right_noun_in_a_wrong_colour_is_half_a_match():
    prompt = "a red heart"
    assert judge(prompt, seen(("blue heart", 0, 0))).soft == pytest.approx(0.5)
    assert judge(prompt, seen(("blue circle", 0, 0))).soft == 0
    swapped = judge("a red heart and a blue book", seen(("blue heart", 0, 0), ("red book", 4, 4)))
    assert not swapped.strict and swapped.soft == pytest.approx(0.5)


def test_extra_objects_cost():
    dogs = [("dog", row, col) for row, col in ((0, 0), (0, 4), (4, 0), (4, 4))]
    softs = [judge("a dog", seen(*dogs[:n])).soft for n in (1, 2, 3, 4)]
    assert softs == pytest.approx([1, 2 / 3, 1 / 2, 2 / 5])
    assert ("no other object", 0.25) in judge("a dog", seen(*dogs)).clauses


def test_any_colour_of_a_family_will_do_where_none_is_named():
    for cls in FAMILIES["heart"].values():
        assert score(parse("a heart").spec, Detection((Placed(cls, 1, 2),), 0, 0)).strict


def test_groups_of_one_kind_are_told_apart_by_where_they_stand():
    for prompt in ("a dog left of a dog", "a heart left of a red heart"):
        nouns = ("dog", "dog") if "dog" in prompt else ("red heart", "red heart")
        for order in itertools.permutations([(nouns[0], 0, 0), (nouns[1], 0, 4)]):
            assert judge(prompt, seen(*order)).strict
        assert not judge(prompt, seen((nouns[0], 0, 0), (nouns[1], 4, 0))).strict


def test_more_than_four_detected_objects_are_scored_too():
    crowd = seen(*(("dog", row, col) for row in range(3) for col in range(3)))
    assert 0 < judge("two dogs", crowd).soft < 0.5


def test_verify_reads_the_prompt_and_asks_detector_a(monkeypatch):
    image, pictures = np.zeros((128, 128, 3), np.uint8), []

    class Eye:
        def detect(self, images):
            pictures.append(images)
            return [seen(("dog", 0, 0))]

    monkeypatch.setattr(Detector, "load", {"a": Eye()}.__getitem__)
    monkeypatch.setattr(judging, "_judge", judging.Judge)
    assert judging.verify(image, "a puppy on a pink background") == 1
    assert np.array_equal(pictures[0].numpy(), image[None])
    assert judging.verify(image, "a cat") == 0
    with pytest.raises(PromptError):
        judging.verify(image, "a zebra")
