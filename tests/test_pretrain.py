"""Pretraining: what a batch holds, and that a run goes on after a kill as if nothing had happened."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch

from cogrpo.config import CONFIGS, load_config
from cogrpo.emoji.pretrain import detector, resume, tokenizer
from cogrpo.emoji.pretrain.batch import draw_batch, draw_hidden, hide, tokens_of
from cogrpo.emoji.pretrain.model import Run, advance, entropy_of, naming_loss, rate_share
from cogrpo.emoji.pretrain.model_config import PretrainConfig
from cogrpo.emoji.pretrain.posterior import posterior
from cogrpo.emoji.scene import ObjectSpec, Placed, Relation, Scene, Spec, layouts_of, place, regions_of
from cogrpo.emoji.transformer import NAMED
from cogrpo.emoji.vocabulary import BACKGROUNDS, CLASSES

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
    scenes = [Scene((Placed(5, 0, 0),), 2)] * 800
    hidden = draw_hidden(config, scenes, np.zeros(800, dtype=bool), rng)
    counts = hidden.sum(1)
    assert counts.min() >= 1 and counts.max() == 64
    assert config.all_hidden - 0.04 < (counts == 64).mean() < config.all_hidden + 0.04
    assert (counts >= 56).mean() > config.all_hidden + config.mostly_hidden


def test_objects_are_revealed_one_after_the_other_but_never_where_the_text_is_dropped(config):
    """How much more often two revealed tokens share a region than in random order."""
    scene = Scene((Placed(5, 0, 0), Placed(6, 4, 4)), 2)
    half = config.model_copy(update={"all_hidden": 0.0, "mostly_hidden": 1.0, "by_object": 1.0})
    regions = regions_of(scene)
    together = {}
    for dropped in (False, True):
        hidden = draw_hidden(half, [scene] * 2000, np.full(2000, dropped), np.random.default_rng(0))
        shown = [regions[~row] for row in hidden if (~row).sum() >= 2]
        together[dropped] = np.mean([len(set(row)) == 1 for row in shown])
    assert together[False] > together[True] + 0.1


def mixture_by_hand(spec: Spec, tokens: np.ndarray, hidden: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Every scene of a caption painted, those that hold the revealed tokens averaged, [64, codes]."""
    mass = np.zeros((64, CODES))
    names = list(BACKGROUNDS)
    backgrounds = [names.index(spec.background)] if spec.background else range(9)
    options = [group.classes for group in spec.objects for _ in range(group.count)]
    layouts = layouts_of(tuple(group.count for group in spec.objects), spec.relations)
    for background, layout, classes in itertools.product(backgrounds, layouts, itertools.product(*options)):
        placed = tuple(Placed(cls, *corner) for cls, corner in zip(classes, layout, strict=True))
        painted = tokens_of(Scene(placed, background), table).reshape(-1)
        if (painted == tokens)[~hidden].all():
            mass[np.arange(64), painted] += 1
    return mass[hidden] / mass[hidden].sum(1, keepdims=True)


SPECS = [
    Spec((ObjectSpec("cat"),)),
    Spec((ObjectSpec("heart"),), (), "pink"),
    Spec((ObjectSpec("heart", None, 2),), (), "pink"),
    Spec((ObjectSpec("heart", "red"), ObjectSpec("cat")), (), "grey"),
    Spec((ObjectSpec("cat"), ObjectSpec("dog", None, 2)), (Relation(0, "left", 1),), "grey"),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
@pytest.mark.parametrize("shown", [0, 1, 3, 12])
def test_the_posterior_is_what_all_scenes_of_the_caption_say(spec, shown, table):
    rng = np.random.default_rng(shown)
    shared = table.copy()
    shared[:, :, 0, 0] = np.arange(9)[
        :, None
    ]  # an empty corner, as many sprites have: the background's own code
    tokens = tokens_of(place(spec, rng), shared).reshape(-1)
    hidden = rng.permutation(64) >= shown
    mixture = posterior(spec, tokens, hidden, shared)
    dense = np.zeros((64, CODES))
    np.add.at(dense, (mixture.positions, mixture.codes), mixture.weights)
    np.testing.assert_allclose(
        dense[hidden], mixture_by_hand(spec, tokens, hidden, shared), rtol=1e-9, atol=1e-12
    )
    assert not dense[~hidden].any()


def test_the_posterior_refuses_tokens_that_no_scene_of_the_caption_holds(table):
    tokens = tokens_of(Scene((Placed(5, 0, 0),), 2), table).reshape(-1)
    with pytest.raises(ValueError, match="No scene"):
        posterior(Spec((ObjectSpec(CLASSES[7].noun),)), tokens, np.zeros(64, dtype=bool), table)


def test_the_least_loss_is_the_entropy_of_the_mixtures(config, table):
    batch = draw_batch(
        config.model_copy(update={"batch": 64, "caption_drop": 0.0}), table, CODES, np.random.default_rng(0)
    )
    p = torch.zeros(64 * 64 * CODES).index_add(0, batch.where, batch.weight).reshape(64, 64, CODES)
    assert torch.allclose(p.sum(-1)[batch.hidden], torch.tensor(1.0), atol=1e-5)
    by_hand = torch.special.entr(p).sum() / batch.hidden.sum()
    assert entropy_of(batch) == pytest.approx(by_hand.item(), abs=1e-5)


def test_names_are_right_where_every_part_of_every_object_is(config, table):
    """One cat on grey is known in all parts; of two hearts of any colour each part has as many codes as colours."""
    specs = [Spec((ObjectSpec("cat"),), (), "grey"), Spec((ObjectSpec("heart", None, 2),), (), "grey")]
    batch = hide(config, specs, np.zeros(2, dtype=bool), table, CODES, np.random.default_rng(0))
    grey = list(BACKGROUNDS).index("grey")
    names = torch.zeros(2, NAMED, CODES)
    names[:, 0, grey] = 1
    parts = 0
    for row, spec in enumerate(specs):
        group = spec.objects[0]
        codes = torch.from_numpy(table[grey][list(group.classes)].reshape(-1, 16))
        for slot in range(group.count):
            for part in range(16):
                names[row, 1 + 16 * slot + part, codes[:, part]] = 1 / len(codes)
        parts += 1 + 16 * group.count
    least = 32 * np.log(len(ObjectSpec("heart").classes)) / parts
    assert naming_loss(names, batch, table).item() == pytest.approx(least, abs=1e-3)
    assert naming_loss(names.roll(16, 1), batch, table).item() > least + 1


def test_a_batch_without_any_text_is_learned_from(config, table):
    run = Run(config, CODES)
    assert np.isfinite(advance(run, config.model_copy(update={"caption_drop": 1.0}), table, "float32"))
    assert run.update == 1


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
    batch = draw_batch(config, table, CODES, np.random.default_rng(0))
    assert len(batch.specs) == 4 and batch.tokens.shape == (4, 64)
    for row, spec in zip(batch.tokens, batch.specs, strict=True):
        assert (row >= 9).sum() == 16 * spec.total


def test_the_rate_warms_up_holds_and_falls_to_zero(config):
    last = config.scenes // config.batch
    assert rate_share(0, config) == 1 / config.warmup
    assert rate_share(last // 2, config) == 1
    assert rate_share(last, config) == 0


@pytest.mark.parametrize("part", ["tokenizer", "detector_a", "detector_b"])
def test_a_short_training_that_was_killed_ends_with_the_same_weights(part, tmp_path, monkeypatch):
    sprites = np.random.default_rng(0).integers(0, 256, (len(CLASSES), 64, 64, 4), dtype=np.uint8)
    monkeypatch.setattr(detector, "load_sprites", lambda: sprites)
    monkeypatch.setattr(tokenizer, "load_sprites", lambda: sprites)
    monkeypatch.setattr(detector, "SAVE_EVERY", 2)

    def train(out: Path, folder: Path) -> bytes:
        if part == "tokenizer":
            shipped = load_config(CONFIGS / "emoji" / "tokenizer.yaml", tokenizer.TokenizerConfig)
            small = shipped.model_copy(update={"batches": 51, "scenes": 1, "codes": 32, "restart_until": 20})
            tokenizer.train(small, out, folder)
        else:
            shipped = load_config(CONFIGS / "emoji" / f"{part}.yaml", detector.DetectorConfig)
            small = shipped.model_copy(update={"batch": 1, "updates": 4})
            detector.train(part[-1], small, out, folder, "float32")
        return out.read_bytes()

    whole = train(tmp_path / "whole", tmp_path / "a")
    saved, saves = resume.save, []

    def killed(path: Path, update: int, parts: dict) -> None:
        saved(path, update, parts)
        saves.append(update)
        if len(saves) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(resume, "save", killed)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "again", tmp_path / "b")
    assert train(tmp_path / "again", tmp_path / "b") == whole
    assert saves[1] > saves[0] > 0, "it went on, it did not begin anew"
