"""Many decodes in a row with the shipped weights: every one replays to the bit, and memory stays level."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from cogrpo import schedules
from cogrpo.engine import Engine, Generation
from cogrpo.recipe import Request

PROMPTS = (
    "a dog",
    "two cats on sand",
    "a red heart above a blue square",
    "three trees",
    "a fox left of an owl",
)


@pytest.mark.slow
def test_a_hundred_random_recipes_replay_and_memory_stays_level(tmp_path):
    engine, rng = Engine(), np.random.default_rng(0)
    names = list(schedules.available())
    peaks = []
    for number in range(100):
        request = Request(
            PROMPTS[rng.integers(len(PROMPTS))],
            seed=int(rng.integers(2**32)),
            steps=int(rng.integers(1, 25)),
            schedule=names[rng.integers(len(names))],
            guidance=float(rng.choice([0, 1, 1.5, 2, 4])),
        )
        *_, made = engine.generate([request])
        assert isinstance(made, Generation)
        path = tmp_path / f"{number}.trace"
        made.trace.save(path)
        assert engine.replay(path) == "identical", request
        peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    assert peaks[-1] - peaks[20] < 100, "MiB grown after the first twenty"
