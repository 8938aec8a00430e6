"""The predefined schedules, and how a schedule is found by name or read from a file.

Each module of this folder is one form: its name is the schedule's name, its docstring the description, and
its function `remask_ratio(progress)` gives r for progress (t + 1) / T in (0, 1]. The other three columns of
a form come from `configs/schedules/<model>.yaml`, or for a model of several sizes `<model>-<size>` from the same: a
number, values at evenly spaced progress from 0 to 1 with straight lines between, or `{first: a, last: b}`, a straight
line from the first step to the last.
"""

from __future__ import annotations

import csv
import importlib
import json
import math
import pkgutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import yaml

from cogrpo.schedule import COLUMNS, Schedule, ScheduleError, check_steps, handmade

CONFIGS = Path(__file__).parents[2] / "configs" / "schedules"
LARGEST_FILE = 1_000_000  # bytes
DEFAULT = "default"  # the entry of a form that has none of its own
AUTO, LEARNED = "auto", "learned"


def available() -> dict[str, str]:
    """Name -> description of every form, by name."""
    return {name: _form(name).__doc__.strip() for name in _names()}


def build(
    name: str, steps: int, model: str = "emoji", columns: Mapping[str, object] | None = None
) -> Schedule:
    """The form `name` for `steps` steps of a model; `columns` in place of the model's own entry for it.

    Raises ScheduleError for an unknown name.
    """
    check_steps(steps)
    if name not in _names():
        names = ", ".join(_names())
        raise ScheduleError(f"schedule: {name!r} is unknown; allowed are {names} or a table file.")
    progress = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    ratio = torch.as_tensor(_form(name).remask_ratio(progress), dtype=torch.float64).clone()
    if ratio.shape != progress.shape:
        raise ScheduleError(f"remask_ratio: {name} must return one number a step, from 0 to 1.")
    ratio[-1] = 0  # without effect: the last step fills everything
    entry = columns or _columns(name, model)
    table = [ratio, *(torch.from_numpy(_curve(entry[column], progress.numpy())) for column in COLUMNS[1:])]
    return handmade(name, torch.stack(table, dim=1))


def read(path: Path) -> Schedule:
    """A table file: JSON (rows of four numbers, alone or under "table") or CSV (a heading row or none)."""
    if path.suffix.lower() not in (".json", ".csv"):
        raise ScheduleError(f"schedule: {path.name!r} is not allowed; a table is a .json or .csv file.")
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise ScheduleError(f"schedule: {path.name!r} is too large; allowed are 64 rows of 4 numbers.")
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ScheduleError(f"schedule: {path.name!r} cannot be read as a table of 1 to 64 rows.") from error
    return parse(text, path.name)


def parse(text: str, name: str) -> Schedule:
    """The table in the text of a file called `name` (.json or .csv)."""
    stem = Path(name).stem
    try:
        if name.lower().endswith(".csv"):
            rows = [row for row in csv.reader(text.splitlines()) if row]
            if rows and [cell.strip() for cell in rows[0]] == list(COLUMNS):
                rows = rows[1:]
        else:
            rows = json.loads(text)
            if isinstance(rows, dict):
                rows = rows.get("table")
        table = [_numbers(row) for row in rows]
    except (TypeError, ValueError, RecursionError, csv.Error) as error:
        raise ScheduleError(f"schedule: {name!r} must hold 1 to 64 rows of 4 finite numbers.") from error
    for index, row in enumerate(table):
        if len(row) != len(COLUMNS):
            raise ScheduleError(f"schedule: row {index + 1} has {len(row)} numbers; each row must have 4.")
    return handmade(stem, table if table else torch.empty(0, len(COLUMNS)))


def resolve(
    name: str,
    steps: int,
    model: str = "emoji",
    folders: Sequence[Path] | None = None,
    learned: Schedule | None = None,
) -> Schedule:
    """What a user means by `name`: a form, `learned`, `auto`, or a table in one of `folders` (None: anywhere): its
    file, or a folder of <steps>.json, of which the nearest counts.

    A table with another number of rows is interpolated, and marked so.
    """
    check_steps(steps)
    if name == LEARNED and learned is None:
        raise ScheduleError("schedule: 'learned' is not allowed: this checkpoint has no policy of its own.")
    if name in (AUTO, LEARNED):
        return build("cosine", steps, model) if learned is None else learned.resampled(steps)
    if name in _names() or "\0" in name:  # no path may hold that
        return build(name, steps, model)
    path = Path(name).resolve()
    allowed = folders is None or any(path.is_relative_to(folder.resolve()) for folder in folders)
    if allowed and path.is_dir():
        return _of_folder(path, steps)
    if not name.lower().endswith((".json", ".csv")):
        return build(name, steps, model)
    if not allowed:
        raise ScheduleError(f"schedule: {path.name!r} lies outside the folders that are allowed for tables.")
    return read(path).resampled(steps)


def _of_folder(folder: Path, steps: int) -> Schedule:
    """The table for `steps` among <steps>.json, or the one whose number of steps is nearest as a ratio."""
    known = [int(path.stem) for path in folder.glob("*.json") if path.stem.isdecimal() and int(path.stem)]
    if not known:
        raise ScheduleError(f"schedule: the folder {folder.name!r} holds no table called <steps>.json.")
    nearest = min(sorted(known), key=lambda own: abs(math.log(own / steps)))
    table = read(folder / f"{nearest}.json").table
    return Schedule(folder.name, table).resampled(steps)


def _names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def _form(name: str):
    return importlib.import_module(f"{__name__}.{name}")


def _columns(name: str, model: str) -> Mapping[str, object]:
    names = (model, model.partition("-")[0])
    path = next((path for path in (CONFIGS / f"{name}.yaml" for name in names) if path.is_file()), None)
    if path is None:
        raise ScheduleError(f"schedule: the model {model!r} has no predefined schedules; give a table file.")
    entries = yaml.safe_load(path.read_text(encoding="utf-8"))
    entry = entries.get(name, entries[DEFAULT])
    if set(entry) != set(COLUMNS[1:]):
        keys = ", ".join(COLUMNS[1:])
        raise ScheduleError(f"schedule: {name} in {path.name} must have exactly the keys {keys}.")
    return entry


def _curve(values: object, progress: np.ndarray) -> np.ndarray:
    if isinstance(values, dict):
        return np.linspace(values["first"], values["last"], len(progress))
    points = np.atleast_1d(np.asarray(values, dtype=np.float64))
    return np.interp(progress, np.linspace(0, 1, len(points)), points)


def _numbers(row: Sequence[object]) -> list[float]:
    if isinstance(row, (str, dict)) or any(isinstance(value, bool) for value in row):
        raise TypeError("not a row of numbers")
    return [float(value) for value in row]
