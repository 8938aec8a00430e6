"""Pretraining: what a batch holds, and that a run goes on after a kill as if nothing had happened."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cogrpo.config import CONFIGS, load_config
from cogrpo.emoji.pretrain.model import (
    PretrainConfig,
    Run,
    advance,
    draw_batch,
    draw_hidden,
    rate_share,
    tokens_of,
)
from cogrpo.emoji.scene import Placed, Scene
from cogrpo.emoji.vocabulary import CLASSES

CODES = 9 + 16 * len(CLASSES)


@pytest.fixture
def config() -> PretrainConfig:
    shipped = load_config(CONFIGS / "emoji" / "model.yaml", PretrainConfig)
    return shipped.model_copy(update={"width": 16, "blocks": 1, "heads": 2, "batch": 4})


@pytest.fixture
def table() -> np.ndarray:
    """A code of its own for every patch of every class."""
    return np.broadcast_to(np.arange(9, CODES).reshape(1, -1, 4, 4), (9, len(CLASSES), 4, 4))


def test_the_tokens_of_a_scene_stand_where_its_objects_stand(table):
    tokens = tokens_of(Scene((Placed(5, 0, 0), Placed(7, 4, 3)), background=2), table)
    assert (tokens[:4, :4] == table[2, 5]).all() and (tokens[4:, 3:7] == table[2, 7]).all()
    assert (tokens == 2).sum() == 64 - 32


def test_masks_hide_at_least_one_token_and_sometimes_all(config):
    rng = np.random.default_rng(0)
    counts = torch.cat([draw_hidden(config, rng).sum(1) for _ in range(200)])
    assert counts.min() >= 1 and counts.max() == 64
    assert 0.06 < (counts == 64).float().mean() < 0.14


def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(config, table, tmp_path):
    whole = Run(config, CODES)
    losses = [advance(whole, config, table, "float32") for _ in range(4)]
    first = Run(config, CODES)
    for _ in range(2):
        advance(first, config, table, "float32")
    first.save(tmp_path / "state.pt")
    second = Run(config, CODES)
    second.load(tmp_path / "state.pt")
    assert [advance(second, config, table, "float32") for _ in range(2)] == losses[2:]
    for a, b in zip(whole.average.parameters(), second.average.parameters(), strict=True):
        assert torch.equal(a, b)


def test_every_parameter_is_trained(config, table):
    run = Run(config, CODES)
    before = [parameter.clone() for parameter in run.network.parameters()]
    for _ in range(6):
        advance(run, config.model_copy(update={"warmup": 1, "caption_drop": 0.5}), table, "float32")
    still = [
        name
        for (name, parameter), old in zip(run.network.named_parameters(), before, strict=True)
        if torch.equal(parameter, old)
    ]
    assert still == []


def test_batches_hold_what_was_asked(config, table):
    specs, tokens = draw_batch(config, table, np.random.default_rng(0))
    assert len(specs) == 4 and tokens.shape == (4, 64)
    assert all((row >= 9).sum() == 16 * spec.total for row, spec in zip(tokens, specs, strict=True))


def test_the_rate_warms_up_holds_and_falls_to_zero(config):
    last = config.scenes // config.batch
    assert rate_share(0, config) == 1 / config.warmup
    assert rate_share(last // 2, config) == 1
    assert rate_share(last, config) == 0
