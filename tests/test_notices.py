"""What the page says in words."""

from __future__ import annotations

import pytest

from cogrpo.emoji.grammar import parse
from ui import notices


def told(prompt: str) -> str:
    parsed = parse(prompt)
    return notices.reading(prompt, [vars(word) for word in parsed.unknown], parsed.notes)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ("a blue dog", "'blue' was left out: dogs come in one colour only."),
        ("a dog on a red background", "There is no red background;"),
        (
            "a dog on a pink background and a cat on a yellow background",
            "A picture has one background: pink.",
        ),
    ],
)
def test_a_colour_that_is_left_out_is_explained_once(prompt: str, reason: str) -> None:
    said = told(prompt).replace("&#x27;", "'")
    assert said.count(reason) == 1 and "never seen" not in said


def test_words_that_no_note_explains_were_never_seen() -> None:
    said = told("a blue dog and a zebra")
    assert "never seen in training, so left out: ‘zebra’." in said
    assert "<u>blue</u>" in said and "<u>zebra</u>" in said


def test_a_prompt_that_is_understood_needs_no_word() -> None:
    assert told("two dogs") == ""


def test_newcomers_are_told_of_learning_only_where_something_was_learned() -> None:
    sentence = "it is learned together with the model"
    assert sentence in notices.how_to_read(learned=True)
    assert sentence not in notices.how_to_read(learned=False)
