"""What stands between the form and the engine, with a mock model: restoring a recipe, what is told of the engine."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from mock_model import MockRegistry
from sqlalchemy import select

from cogrpo.engine import Generation
from cogrpo.recipe import Request, read_png, write_png
from db.models import Generation as Row
from db.session import Store
from ui import notices, table_text
from ui.generation import Generations, Refused, Settings
from ui.records import Records

TABLE = [[0.8, 1.5, 4, 2], [0.3, 1, 2, 3], [0, 0.7, 0, 5]]


@pytest.fixture
def generations(tmp_path: Path) -> Generations:
    return Generations(Records(None, "nothing is kept here"), MockRegistry(tmp_path))


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


def test_files_for_a_program_last_until_it_has_taken_them(generations: Generations) -> None:
    form = Settings("a dog", 0, 3, "cosine", "", "champion")
    for image, trace, recipe in generations.files(form, threading.Event()):
        if image is not None:
            assert read_png(Path(image).read_bytes())[1].model_dump(mode="json") == recipe
            assert generations.read_recipe(Path(trace)) == recipe
    assert not Path(image).exists() and not Path(trace).exists()


def test_what_is_painted_for_page_and_program_is_recorded(store: Store, tmp_path: Path) -> None:
    generations = Generations(Records(store), MockRegistry(tmp_path))
    form = Settings("a dog", 0, 3, "cosine", "", "champion")
    generations.verdict = lambda generation: {"strict": True, "soft": 0.75, "clauses": [], "failed": []}
    *_, close = generations.stream(form, threading.Event(), "ab" * 16)
    list(generations.files(form, threading.Event()))
    assert (
        set(close["files"]) == {"image", "trace", "shared", "gif"}
        and close["image"] == close["files"]["image"]
    )
    with store.read() as session:
        page, api = session.scalars(select(Row).order_by(Row.id)).all()
    assert (page.id, page.source, page.scores, page.voter_id) == (
        close["generation"],
        "page",
        {"verifier": 0.75},
        1,
    )
    assert (api.source, api.voter_id) == ("api", None)
    assert page.recipe == api.recipe and page.trace_sha256 == api.trace_sha256


def test_where_nothing_is_kept_the_picture_comes_all_the_same(generations: Generations) -> None:
    generations.verdict = lambda generation: {"strict": True, "soft": 1.0, "clauses": [], "failed": []}
    *_, close = generations.stream(Settings("a dog", 0, 3, "cosine", "", "champion"), threading.Event())
    assert (close["files"], close["generation"]) == ({}, None)
    assert "Not kept" in notices.unkept(generations.records.problem)


@pytest.mark.parametrize("guidance", ["", 4])
def test_a_learned_schedule_comes_with_the_same_seed_under_cosine(
    generations: Generations, guidance: object
) -> None:
    generations.verdict = lambda generation: {"strict": True, "soft": 1.0, "clauses": [], "failed": []}
    learned = json.dumps({"name": "learned", "table": TABLE})
    *own, beside = generations.stream(
        Settings("a dog", 7, 3, learned, guidance, "champion"), threading.Event()
    )
    opened = own[0]["recipe"]
    assert beside["type"] == "beside" and beside["id"] == own[0]["id"]
    rival = beside["messages"][0]["recipe"]
    assert [message["type"] for message in beside["messages"]] == ["open", "step", "step", "step", "close"]
    changed = {name for name, value in rival.items() if value != opened[name]}
    assert changed == {"schedule", "schedule_table"} and rival["schedule"] == "cosine"
    assert {row[3] for row in rival["schedule_table"]} == ({4.0} if guidance else {1.5})


def test_what_is_no_learned_schedule_stands_alone(generations: Generations) -> None:
    generations.verdict = lambda generation: {"strict": True, "soft": 1.0, "clauses": [], "failed": []}
    *_, last = generations.stream(Settings("a dog", 7, 3, "linear", "", "champion"), threading.Event())
    assert last["type"] == "close"


def test_what_is_told_of_the_engine_is_the_engines(generations: Generations) -> None:
    generations.engine.device, generations.engine.precision = "cuda", "bfloat16"
    health = generations.health()
    assert (health["device"], health["precision"]) == ("cuda", "bfloat16")
    assert generations.device() == "CUDA, bfloat16"
