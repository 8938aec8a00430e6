"""What stands between the form and the engine, with a mock model: restoring a recipe, what is told of the engine."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from mock_model import MockRegistry

from cogrpo.engine import Generation
from cogrpo.recipe import Request, read_png, write_png
from ui import notices, table_text
from ui.generation import Generations, Refused, Settings

TABLE = [[0.8, 1.5, 4, 2], [0.3, 1, 2, 3], [0, 0.7, 0, 5]]


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(tmp_path, MockRegistry(tmp_path), limit=10**6)


def painted(generations: Generations, request: Request) -> Generation:
    *_, generation = generations.engine.generate([request])
    return generation


def restored(generations: Generations, made: Generation, path: Path) -> Generation:
    """By way of a PNG, as somebody who drops it and presses 'Use these settings' and Generate."""
    path.write_bytes(write_png(made.image, made.recipe))
    form = generations.restored(generations.read_recipe(path))
    return painted(generations, form.request())


@pytest.mark.parametrize("guidance", ["auto", 4])
def test_a_recipe_with_a_table_paints_the_same_picture_when_its_file_is_gone(
    generations: Generations, tmp_path: Path, guidance: object
) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(TABLE))
    made = painted(generations, Request("a dog", 3, 3, str(file), guidance))
    file.unlink()
    again = restored(generations, made, tmp_path / "kept.png")
    assert np.array_equal(again.image, made.image)
    assert again.recipe == made.recipe
    assert generations.engine.replay(tmp_path / "kept.png") == "identical"


def test_an_interpolated_table_is_restored_as_it_was_used(generations: Generations, tmp_path: Path) -> None:
    file = tmp_path / "mine.json"
    file.write_text(json.dumps(TABLE))
    made = painted(generations, Request("a dog", 3, 7, str(file)))
    assert made.recipe.interpolated
    again = restored(generations, made, tmp_path / "kept.png")
    assert again.recipe.schedule_table == made.recipe.schedule_table
    assert np.array_equal(again.image, made.image)


@pytest.mark.parametrize("guidance", ["auto", 2.5])
def test_a_name_that_still_means_the_same_numbers_is_restored_as_a_name(
    generations: Generations, guidance: object
) -> None:
    recipe = generations.engine.prepare(Request("a dog", steps=5, schedule="linear", guidance=guidance))
    assert table_text.write(recipe) == "linear"


def test_a_name_that_means_other_numbers_now_is_restored_by_its_numbers(generations: Generations) -> None:
    recipe = generations.engine.prepare(Request("a dog", steps=2, schedule="linear"))
    other = recipe.model_copy(update={"schedule_table": ((0.9, 1, 1, 1), (0, 1, 0, 1))})
    schedule = table_text.read(table_text.write(other))
    assert (schedule.name, schedule.table.tolist()) == (
        "linear",
        [list(row) for row in np.float32(other.schedule_table).tolist()],
    )


def test_weights_are_restored_by_hash_where_their_name_means_others(generations: Generations) -> None:
    told = generations.engine.prepare(Request("a dog", steps=2)).model_dump(mode="json")
    assert generations.restored(told).checkpoint == "champion"
    told["checkpoint_sha256"] = "ab" * 32
    assert generations.restored(told).checkpoint == "emoji:" + "ab" * 6


@pytest.mark.parametrize(
    "text",
    [
        "{", '{"table": 7}', '{"table": [[0.5, 1, 1]]}', '{"table": [[0.1, 1, 1, 1], [0.5, 1, 1, 1]]}',
        '{"table": [[0, 1, 0, 1]], "name": ""}', '{"table": [[0, 1, 0, 1]], "name": 3}',
        '{"table": [[0, 1, 0, 21]]}', '{"table": [[0, 1, 0, NaN]]}', "{" + " " * 2_000_000,
        json.dumps({"table": [[0, 1, 0, 1]], "name": "a\nb"}),
    ],
)  # fmt: skip
def test_a_bad_table_text_is_refused_in_one_sentence(generations: Generations, text: str) -> None:
    form = Settings("a dog", 0, 2, text, "auto", "champion")
    with pytest.raises(Refused, match=r"^[a-z_]+: [^\n]*\.$"):
        next(generations.files(form, threading.Event()))


def test_the_page_says_that_the_numbers_of_the_file_will_be_used(generations: Generations) -> None:
    told = generations.engine.prepare(Request("a dog", steps=3)).model_dump(mode="json")
    assert "its 3 rows stand in this file" in notices.recipe_table(told, "kept.png", own_table=True)
    assert "rows" not in notices.recipe_table(told, "kept.png")


def test_files_of_a_decode_are_kept_and_tidied(generations: Generations, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(generations.retention, "tidy", lambda: calls.append(1))
    form = Settings("a dog", 0, 3, "cosine", "", "champion")
    *_, (image, trace, recipe) = generations.files(form, threading.Event())
    assert calls == [1]
    assert read_png(Path(image).read_bytes())[1].model_dump(mode="json") == recipe
    assert generations.read_recipe(Path(trace)) == recipe


def test_what_is_told_of_the_engine_is_the_engines(generations: Generations) -> None:
    generations.engine.device, generations.engine.precision = "cuda", "bfloat16"
    health = generations.health()
    assert (health["device"], health["precision"]) == ("cuda", "bfloat16")
    assert generations.device() == "CUDA, bfloat16"
