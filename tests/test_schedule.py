import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from cogrpo import schedules
from cogrpo.schedule import Schedule, ScheduleError, handmade

FORMS = ("arccos", "autonat", "cosine", "cubic", "late", "linear", "meissonic", "sqrt")
ROW = [0.5, 1.0, 2.0, 3.0]


def one_sentence(error: ScheduleError) -> str:
    text = str(error)
    assert text.endswith(".") and "\n" not in text and ". " not in text
    return text


def test_the_predefined_forms_are_listed_with_a_description():
    assert tuple(schedules.available()) == FORMS
    assert all(description.endswith(".") for description in schedules.available().values())


@pytest.mark.parametrize("name", FORMS)
def test_every_form_exists_for_every_number_of_steps(name):
    for steps in range(1, 65):
        table = schedules.build(name, steps).table
        assert table.shape == (steps, 4)
        assert (table[:, 0].diff() <= 0).all() and table[-1, 0] == 0


def test_forms_have_their_textbook_values():
    half = {name: float(schedules.build(name, 2).table[0, 0]) for name in FORMS}
    assert half["cosine"] == pytest.approx(0.5**0.5)
    assert half["linear"] == pytest.approx(0.5)
    assert half["sqrt"] == pytest.approx(1 - 0.5**0.5)
    assert half["arccos"] == pytest.approx(2 / 3)
    published = [0.953, 0.880, 0.794, 0.746, 0.625, 0.407, 0.261]
    assert schedules.build("autonat", 8).table[:-1, 0].tolist() == pytest.approx(published)


def test_columns_come_from_the_models_file():
    table = schedules.build("cosine", 4).table
    progress = torch.tensor([0.25, 0.5, 0.75, 1.0])
    entry = schedules._columns("cosine", "emoji")
    start, *_, end = entry["remask_temperature"]
    assert torch.allclose(table[:, 2], start + (end - start) * progress)
    assert (table[:, 3] == entry["guidance_scale"]).all()


def test_one_file_with_one_function_is_a_schedule(tmp_path, monkeypatch):
    (tmp_path / "late_bloomer.py").write_text(
        '"""Late bloomer: almost everything at the end."""\n\n\n'
        "def remask_ratio(progress):\n    return 1 - progress**3\n"
    )
    monkeypatch.setattr(schedules, "__path__", [*schedules.__path__, str(tmp_path)])
    assert schedules.available()["late_bloomer"] == "Late bloomer: almost everything at the end."
    assert schedules.resolve("late_bloomer", 2).table[0, 0] == pytest.approx(0.875)


@pytest.mark.parametrize(
    "column, value, name",
    [
        (0, -0.1, "remask_ratio"), (0, 1.1, "remask_ratio"), (0, float("nan"), "remask_ratio"),
        (1, 0.04, "sampling_temperature"), (1, 5.1, "sampling_temperature"),
        (2, -1.0, "remask_temperature"), (2, 20.5, "remask_temperature"),
        (3, -0.5, "guidance_scale"), (3, 20.5, "guidance_scale"), (3, float("inf"), "guidance_scale"),
    ],
)  # fmt: skip
def test_a_number_outside_its_range_is_refused_by_name(column, value, name):
    row = list(ROW)
    row[column] = value
    with pytest.raises(ScheduleError) as caught:
        Schedule("mine", torch.tensor([row]))
    assert one_sentence(caught.value).startswith(f"{name}: ")
    assert "allowed is" in str(caught.value)


def test_the_bounds_themselves_are_allowed():
    Schedule("mine", torch.tensor([[1.0, 0.05, 20.0, 20.0], [0.0, 5.0, 0.0, 0.0]]))


def test_rising_r_is_refused_in_a_handmade_table_only():
    rising = [[0.5, 1, 0, 1], [0.6, 1, 0, 1]]
    Schedule("learned", torch.tensor(rising))
    with pytest.raises(ScheduleError, match="^remask_ratio: row 2 rises"):
        handmade("mine", rising)


@pytest.mark.parametrize(
    "name, text",
    [
        ("a.json", "not json"), ("a.json", "[[1, 1, 1]]"), ("a.json", "[]"), ("a.json", "{}"),
        ("a.json", "7"),
        ("a.json", '[["x", 1, 1, 1]]'), ("a.json", "[[true, 1, 1, 1]]"), ("a.json", "[[NaN, 1, 1, 1]]"),
        ("a.json", "[[0.5, 1, Infinity, 1]]"), ("a.json", "[[0.5, 1, 1, 1], [0.6, 1, 1, 1]]"),
        ("a.json", json.dumps([ROW] * 65)), ("a.csv", "0.5,1,1"), ("a.csv", "0.5,1,1,"), ("a.csv", ""),
        ("a.csv", "r,tau,x,y\n0.5,1,1,1"), ("a.json", "[" * 100_000),
    ],
)  # fmt: skip
def test_a_bad_table_file_gives_one_sentence(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(ScheduleError) as caught:
        schedules.resolve(str(path), 4)
    one_sentence(caught.value)


def test_json_and_csv_tables_are_read(tmp_path):
    rows = [[0.75, 1, 2, 3], [0.25, 0.5, 1, 2]]
    (tmp_path / "a.json").write_text(json.dumps({"name": "x", "table": rows}))
    (tmp_path / "b.csv").write_text(
        "remask_ratio,sampling_temperature,remask_temperature,guidance_scale\n0.75,1,2,3\n0.25,.5,1,2\n"
    )
    for name in ("a.json", "b.csv"):
        schedule = schedules.resolve(str(tmp_path / name), 2)
        assert schedule.table.tolist() == rows
        assert schedule.name == name[0] and not schedule.interpolated


def test_a_folder_of_tables_gives_the_one_for_the_steps_or_the_nearest(tmp_path):
    tables = {steps: [[1 - (t + 1) / steps, 1.0, 0.5 * steps, 1.0] for t in range(steps)] for steps in (2, 8)}
    for steps, table in tables.items():
        (tmp_path / f"{steps}.json").write_text(json.dumps(table))
    (tmp_path / "notes.json").write_text("no table")
    for steps in (2, 8):
        found = schedules.resolve(str(tmp_path), steps)
        assert found.table.tolist() == tables[steps] and not found.interpolated
    for steps, own in ((1, 1.0), (3, 1.0), (5, 4.0), (16, 4.0)):
        found = schedules.resolve(str(tmp_path), steps)
        assert found.interpolated and set(found.table[:, 2].tolist()) == {own}
    (tmp_path / "empty").mkdir()
    with pytest.raises(ScheduleError, match="holds no table"):
        schedules.resolve(str(tmp_path / "empty"), 4)
    with pytest.raises(ScheduleError, match="is unknown"):
        schedules.resolve(str(tmp_path), 4, folders=[tmp_path / "empty"])


@pytest.mark.parametrize("path", ["../outside.json", "/etc/hostname.json", "inside/../../outside.json"])
def test_a_path_out_of_the_folders_is_refused(tmp_path, path):
    (tmp_path / "outside.json").write_text(json.dumps([ROW]))
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link.json").symlink_to(tmp_path / "outside.json")
    for name in (str(inside / path), str(inside / "link.json")):
        with pytest.raises(ScheduleError, match="outside the folders"):
            schedules.resolve(name, 1, folders=[inside])


@pytest.mark.parametrize("name", ["nonsense", "", "__init__", "os", "learned"])
def test_an_unknown_name_is_refused_with_the_known_ones(name):
    with pytest.raises(ScheduleError) as caught:
        schedules.resolve(name, 4)
    one_sentence(caught.value)


def test_auto_is_the_learned_schedule_where_there_is_one():
    learned = Schedule("learned", torch.tensor([ROW, ROW]))
    assert schedules.resolve("auto", 4).name == "cosine"
    assert schedules.resolve("auto", 2, learned=learned) is learned


@given(st.sampled_from(FORMS), st.integers(1, 64), st.integers(1, 64))
def test_interpolation_keeps_the_curve_inside_its_ranges(name, made_for, wanted):
    schedule = schedules.build(name, made_for).resampled(wanted)
    assert schedule.steps == wanted
    assert schedule.interpolated == (made_for != wanted)
    assert (schedule.table[:, 0].diff() <= 1e-6).all()


def test_interpolation_is_linear_in_progress():
    schedule = Schedule("mine", torch.tensor([[0.5, 1, 4, 1], [0.0, 3, 2, 2]])).resampled(4)
    assert schedule.table[:, 0].tolist() == [0.75, 0.5, 0.25, 0.0]
    assert schedule.table[:, 1].tolist() == [1, 1, 2, 3]


def test_guidance_replaces_the_column():
    assert (schedules.build("cosine", 5).with_guidance(7).table[:, 3] == 7).all()
    with pytest.raises(ScheduleError, match="^guidance_scale"):
        schedules.build("cosine", 5).with_guidance(float("inf"))


@pytest.mark.parametrize("steps", [0, 65, -1])
def test_steps_outside_1_to_64_are_refused(steps):
    with pytest.raises(ScheduleError, match="^steps: .* 1 to 64"):
        schedules.build("cosine", steps)
