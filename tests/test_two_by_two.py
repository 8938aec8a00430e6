"""The 2 x 2 of models and schedules: paired, every picture with a seed of its own, the old pair first."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from cogrpo import schedules
from cogrpo.emoji import prompts
from cogrpo.emoji.detector import Detector
from cogrpo.evaluation import two_by_two
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.registry import Registry


@pytest.fixture(scope="module")
def base():
    registry = Registry()
    return registry.load(registry.resolve("baseline"), "float32")


def policy(form: str) -> SchedulePolicy:
    return SchedulePolicy(PolicyConfig(), [schedules.build(form, 2, "emoji")])


def six(count: int) -> list:
    """A prompt of each category, dense last."""
    return [entry for entry in prompts.load("validation")[::50]][:count]


def test_the_same_pair_gains_nothing_and_another_schedule_is_paired_with_it(base):
    bench = two_by_two.Bench(six(7), 2, {"a": Detector.load("a")})
    models, policies = {"old": base, "new": base}, {"old": policy("late"), "new": policy("linear")}
    told = list(two_by_two.cells(bench, models, policies, [2]))
    assert [(line["model"], line["schedule"]) for line in told] == [
        ("old", "old"), ("old", "new"), ("new", "old"), ("new", "new"),
    ]  # fmt: skip
    old, new_schedule, new_model, both = told
    assert old["a gain"] == {"mean": 0, "low": 0, "high": 0} and new_model["a"] == old["a"]
    assert both["a"] == new_schedule["a"] and both["diversity"] != old["diversity"]


def test_the_gain_is_that_of_the_six_categories_picture_by_picture():
    entries = [SimpleNamespace(category=name) for name in ("single", "two", "count", "colour", "position")]
    entries += [SimpleNamespace(category="attribution"), SimpleNamespace(category="dense")]
    bench = two_by_two.Bench(entries, 2, {"a": None})
    first = {"a": np.zeros((7, 2)), "diversity": np.full(7, 0.5)}
    cell = {"a": np.array([[1, 1], [1, 0], [0, 0], [0, 0], [0, 0], [0, 0], [1, 1]]), "diversity": np.ones(7)}
    told = bench.line(cell, first, cell)
    assert told["a gain"]["mean"] == told["a"]["mean"] == 0.25  # dense stands beside
    assert told["a gain of the model"]["mean"] == 0
    assert told["a by category"]["dense"] == 1 and told["diversity"] == 1


def test_every_picture_has_a_seed_of_its_own(base, monkeypatch):
    seen: list[int] = []

    def roll_out(model, policy, asked, group, steps, seeds, *rest):
        seen.extend(seeds)
        raise InterruptedError

    monkeypatch.setattr(two_by_two, "roll_out", roll_out)
    monkeypatch.setattr(two_by_two, "PROMPTS_AT_ONCE", 7)
    with pytest.raises(InterruptedError):
        two_by_two.Bench(six(7), 3, {}).measure(base, policy("late"), 2)
    assert len(set(seen)) == 21
