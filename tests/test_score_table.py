"""Score tables for the gate, of a model with known logits."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_trainer import Bright, Learner

from cogrpo import schedules
from cogrpo.emoji import prompts
from cogrpo.evaluation import score_table
from cogrpo.evaluation.score_table import Bench, Player
from cogrpo.guards import GROUP, PICTURE
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.mixer import Mixer

SEEDS = range(1000, 1003)
ENTRIES = prompts.load("validation")[::30]  # 12: a block of 8 and a rest


class DarkSeer:
    """In place of detector B: 'finds' the mean of a picture's red."""

    def detect(self, images):
        return list(images[..., 0].float().mean((1, 2)))


def player(form: str = "cosine", sha256: str = "a", body: str = "table") -> Player:
    bases, model = [schedules.build(form, steps) for steps in (2, 3)], Learner()
    return Player(sha256 * 64, model, SchedulePolicy(PolicyConfig(body=body, width=8), bases, model.features))


def bench(*steps: int) -> Bench:
    mixer = Mixer([Bright()], {"verifier": 1.0}, ScoreCache())
    return Bench(mixer, DarkSeer(), ENTRIES, SEEDS, steps, block_rows=4)


@pytest.fixture(autouse=True)
def strict(monkeypatch):
    monkeypatch.setattr(score_table, "score", lambda spec, found: SimpleNamespace(strict=bool(found > 25)))


def test_two_numbers_of_steps_stand_side_by_side_in_sorted_order():
    own = player()
    told, pictures = bench(3, 2).table(own, own)
    assert told.draws == tuple((seed, steps) for steps in (2, 3) for seed in SEEDS)
    assert pictures.shape == (12, 6, 8, 8, 3)
    assert set(told.scores) == {"verifier", "detector_b", *PICTURE, "clamped", "kl"}
    assert set(told.groups) == set(GROUP)
    for place, steps in enumerate((2, 3)):
        alone, apart = bench(steps).table(own, own)
        columns = slice(3 * place, 3 * place + 3)
        assert np.array_equal(pictures[:, columns], apart)
        for name in told.scores:
            assert np.array_equal(np.array(told.scores[name])[:, columns], np.array(alone.scores[name])), name
        for name in told.groups:
            assert np.array_equal(told.by_prompt(name, steps), alone.by_prompt(name, steps)), name
        assert told.schedules[steps] == alone.schedules[steps]
    assert (told.by_prompt("diversity", 2) != told.by_prompt("diversity", 3)).any()


def test_each_picture_has_a_seed_of_its_own(monkeypatch):
    asked, real = [], score_table.roll_out

    def spy(model, policy, prompts, group, steps, seeds, *others):
        asked.extend((prompt, seeds[place]) for place, prompt in enumerate(np.repeat(prompts, group)))
        return real(model, policy, prompts, group, steps, seeds, *others)

    monkeypatch.setattr(score_table, "roll_out", spy)
    own = player()
    told, _ = bench(3).table(own, own)
    assert len({seed for _, seed in asked}) == len(asked) == 36
    assert asked == [(told.prompts[p], told.seed(p, draw)) for p in range(12) for draw in range(3)]


def test_each_plays_its_own_mean_schedule_and_only_another_model_diverges():
    champion, other = player(), player("linear", "b")
    for each, form in ((champion, "cosine"), (other, "linear")):
        told, _ = bench(2, 3).table(each, champion)
        for steps in (2, 3):
            (table,) = told.schedules[steps]
            expected = schedules.build(form, steps).table[:-1]
            assert torch.equal(torch.tensor(table, dtype=torch.float32)[:-1], expected)
        assert max(map(max, told.scores["kl"])) == pytest.approx(0, abs=1e-6), "the same weights"
    with torch.no_grad():
        other.model.own.add_(torch.randn(other.model.own.shape))
    told, _ = bench(2, 3).table(other, champion)
    assert np.mean(told.scores["kl"]) > 0.01


def test_a_policy_that_reads_the_state_plays_another_schedule_for_each_prompt():
    own = player(body="state")
    torch.nn.init.normal_(own.policy.body.layers[-1].weight, generator=torch.Generator().manual_seed(0))
    told, _ = bench(3).table(own, own)
    first = {tuple(np.round(table[0], 4)) for table in told.schedules[3]}
    assert len(first) == len(ENTRIES), "the first step sees the prompt alone, not the seed"
