"""What is offered for a word that is left out: a correction to who mistyped, nothing to who wrote another word."""

from __future__ import annotations

import pytest

from cogrpo.emoji.grammar import parse
from cogrpo.emoji.suggestions import suggest, words
from cogrpo.emoji.vocabulary import BACKGROUNDS, CLASSES, COLOURS

MISTYPED = {
    "dgo": "dog", "odg": "dog", "cta": "cat", "caats": "cats", "tere": "tree", "DOGG": "dog", "elefant": "elephant",
    "helicoptor": "helicopter", "rokcet": "rocket", "dolfin": "dolphin", "bycicle": "bicycle", "purpel": "purple",
    "abov": "above", "strawbary": "strawberry", "unikorn": "unicorn",
}  # fmt: skip
OTHER_WORDS = (
    "big small large tiny huge giant little tall short long wide thin fat heavy deep high low "
    "happy sad angry sleepy scared bored calm proud lonely nervous funny beautiful pretty ugly cute lovely elegant "
    "hot cold fresh cooked fried old new young fast slow round fluffy shiny striped wooden broken empty whole "
    "some more most much even than very quite she her been do could may wearing running "
    "coat bat rock planet crow moose"
)


@pytest.mark.parametrize(("typed", "meant"), MISTYPED.items())
def test_a_mistyped_word_is_corrected(typed: str, meant: str) -> None:
    assert suggest(typed)[0] == meant


@pytest.mark.parametrize("word", OTHER_WORDS.split())
def test_a_word_that_is_no_mistake_is_only_left_out(word: str) -> None:
    assert suggest(word) == ()


def test_what_is_near_in_meaning_comes_before_what_is_near_in_spelling() -> None:
    assert suggest("bird") == suggest("birds") == ("parrot", "owl", "duck")


def test_words_hold_the_world_and_suggestions_are_known() -> None:
    known = set(words())
    assert {emoji.noun for emoji in CLASSES} | set(COLOURS) | set(BACKGROUNDS) <= known
    for word in (*MISTYPED, "bird", "triangle"):
        assert suggest(word) and set(suggest(word)) <= known


def test_a_size_is_left_out_without_a_question() -> None:
    (unknown,) = parse("a big dog").unknown
    assert (unknown.word, unknown.suggestions) == ("big", ())
