"""A schedule as one text, for a form field that knows names only: its name, or its numbers as JSON."""

from __future__ import annotations

import json
from dataclasses import replace

from cogrpo import schedules
from cogrpo.recipe import Recipe
from cogrpo.schedule import ScheduleError

LONGEST_NAME = 100


def read(text: object) -> object:
    """`{"name": ..., "table": [[r, tau_s, tau_r, s], ...]}` as a Schedule; all else as it came.

    Raises ScheduleError.
    """
    if not isinstance(text, str) or not text.lstrip().startswith("{"):
        return text
    if len(text) > schedules.LARGEST_FILE:
        raise ScheduleError("schedule: this table is too large; allowed are 64 rows of 4 numbers.")
    schedule = schedules.parse(text, "table.json")
    name = json.loads(text).get("name", schedule.name)
    if not isinstance(name, str) or not name.isprintable() or not 1 <= len(name) <= LONGEST_NAME:
        raise ScheduleError(f"schedule: its name must be 1 to {LONGEST_NAME} printable characters.")
    return replace(schedule, name=name)


def write(recipe: Recipe) -> str:
    """What gives the numbers of this recipe again: the schedule's name where that is enough, else the table."""
    try:
        schedule = schedules.resolve(recipe.schedule, recipe.steps, recipe.model, folders=())
    except ScheduleError:  # the name of a file, or a form that is not installed here
        return _table(recipe)
    if recipe.guidance != "auto":
        schedule = schedule.with_guidance(recipe.guidance)
    same = schedule.table.tolist() == [list(row) for row in recipe.schedule_table]
    return recipe.schedule if same else _table(recipe)


def _table(recipe: Recipe) -> str:
    return json.dumps({"name": recipe.schedule, "table": recipe.schedule_table})
