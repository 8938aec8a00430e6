import ast
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mock_model import MockModel, MockRegistry
from safetensors.torch import load_file

import cogrpo.emoji.dual_encoder as module
from cogrpo.config import CONFIGS, load_config
from cogrpo.emoji.dual_encoder import LONGEST, PAD, UNKNOWN, DualEncoder, DualNetwork, Pieces
from cogrpo.emoji.grammar import parse
from cogrpo.emoji.near_misses import EDITS, edit, near_miss
from cogrpo.emoji.pretrain import dual_encoder as pretrain
from cogrpo.emoji.scene import CATEGORIES, ObjectSpec, Relation, Spec, place, sample_spec, satisfies
from cogrpo.emoji.sprites import load_sprites
from cogrpo.engine import Engine
from cogrpo.evaluation import dual_encoder as evaluation

SHIPPED = load_config(CONFIGS / "emoji" / "dual_encoder.yaml", pretrain.DualEncoderConfig)
TINY = SHIPPED.model_copy(update={"families": 2, "members": 3, "updates": 3})


@pytest.fixture(autouse=True)
def one_thread():
    """Two threads that wait for each other on a busy machine take minutes for these small products."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def encoder() -> DualEncoder:
    torch.manual_seed(0)
    pieces = Pieces(["a", "cat", "dog", "left", "of", "red"])
    return DualEncoder(DualNetwork(len(pieces)), pieces)


def pictures(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, 128, 128, 3), generator=generator, dtype=torch.uint8)


def test_words_are_pieces_endings_are_their_own_and_the_rest_is_unknown():
    pieces = Pieces(["bus", "dog", "two"])
    bus, dog, two = (pieces.split(word)[0] for word in ("bus", "dog", "two"))
    s, es = pieces.split("dogs")[1], pieces.split("buses")[1]
    assert pieces.split("Two DOGS, buses!") == [two, dog, s, UNKNOWN, bus, es]
    assert pieces.split("zebras") == [UNKNOWN] == pieces.split("🦓") == pieces.split("")
    assert len({PAD, UNKNOWN, bus, dog, two, s, es}) == 7 == len(pieces)


def test_a_vocabulary_holds_frequent_words_without_the_plurals_that_pieces_can_make():
    pieces = Pieces.learn(["a dog", "two dogs", "a bus"] * 3 + ["a cat"], least=3)
    assert pieces.vocabulary == ("a", "bus", "dog", "two")


def test_long_prompts_are_cut_and_short_ones_padded():
    rows = Pieces(["dog"]).encode(["dog " * 500, "dog"])
    assert rows.shape == (2, LONGEST) and (rows[0] != PAD).all() and (rows[1, 1:] == PAD).all()


def test_padding_changes_nothing(encoder):
    numbers = encoder.pieces.encode(["a red dog left of a cat"])
    long, short = encoder.network.texts(numbers), encoder.network.texts(numbers[:, :7])
    assert torch.allclose(long, short, atol=1e-5)


def test_the_order_of_words_and_the_place_of_things_count(encoder):
    a, b = encoder.of_texts(["a dog left of a cat", "a cat left of a dog"])
    assert not torch.allclose(a, b, atol=1e-4)
    picture = pictures(1)
    mirrored = torch.cat([picture[:, :, 64:], picture[:, :, :64]], dim=2)
    assert not torch.allclose(encoder.of_images(picture), encoder.of_images(mirrored), atol=1e-4)


def test_vectors_are_of_length_1_and_probabilities_follow_the_cosine(encoder):
    images, texts = encoder.of_images(pictures(3)), encoder.of_texts(["a dog", "a cat", "red"])
    assert torch.allclose(images.norm(dim=-1), torch.ones(3)) and torch.allclose(
        texts.norm(dim=-1), torch.ones(3)
    )
    encoder.network.scale.fill_(7.0)
    encoder.network.shift.fill_(-2.0)
    told = encoder.probability(pictures(3), ["a dog", "a cat", "red"])
    assert torch.allclose(told, torch.sigmoid(7 * (images * texts).sum(-1) - 2), atol=1e-6)


def test_the_text_side_reads_words_and_not_the_parse():
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert {name for name in imported if name.startswith("cogrpo")} == {"cogrpo", "cogrpo.emoji.scene"}


def test_the_file_gives_back_the_network_and_is_small(encoder, tmp_path):
    encoder.save(tmp_path / "a", {"seed": "0"})
    once = DualEncoder.load(tmp_path / "a")
    once.save(tmp_path / "b", {"seed": "0"})
    twice = DualEncoder.load(tmp_path / "b")
    texts = ["a dog", "red cat"]
    assert torch.equal(once.probability(pictures(2), texts), twice.probability(pictures(2), texts))
    assert torch.allclose(
        once.probability(pictures(2), texts), encoder.probability(pictures(2), texts), atol=1e-2
    )
    torch.manual_seed(0)
    whole = Pieces([f"word{index}" for index in range(400)])
    DualEncoder(DualNetwork(len(whole)), whole).save(tmp_path / "c", {})
    assert (tmp_path / "c").stat().st_size < 2e6


def test_a_foreign_or_missing_file_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "junk").write_bytes(b"junk")
    for path in (tmp_path / "junk", tmp_path / "none", module.WEIGHTS.with_name("detector_a.safetensors")):
        with pytest.raises(
            ValueError, match=rf"^{path.name}: (cannot be read as weights|holds no emoji-dual-encoder)"
        ):
            DualEncoder.load(path)


def test_each_edit_changes_one_thing():
    spec = Spec(
        (ObjectSpec("heart", "red"), ObjectSpec("book", "blue", 2)), (Relation(0, "left", 1),), "pink"
    )
    rng = np.random.default_rng(0)
    found = {kind: {edited for _ in range(80) if (edited := edit(kind, spec, rng))} for kind in EDITS}
    swapped = (ObjectSpec("heart", "blue"), ObjectSpec("book", "red", 2))
    assert replace(spec, objects=swapped) in found["colour"]
    assert found["relation"] == {replace(spec, relations=(Relation(0, "right", 1),))}
    assert {edited.total for edited in found["add"]} == {4}
    assert {edited.total for edited in found["remove"]} == {2}
    assert all(
        sum(a.noun != b.noun for a, b in zip(edited.objects, spec.objects, strict=True)) == 1
        for edited in found["noun"]
    )
    assert {edited.background for edited in found["background"]} >= {"white", "black"}
    assert all(replace(edited, background="pink") == spec for edited in found["background"])


def test_removing_a_group_takes_its_relations_and_renumbers_the_rest():
    groups = tuple(ObjectSpec(noun) for noun in ("dog", "cat", "tree"))
    spec = Spec(groups, (Relation(1, "left", 0), Relation(2, "above", 1)))
    rng = np.random.default_rng(0)
    found = {edit("remove", spec, rng) for _ in range(50)}
    assert found == {
        Spec(groups[1:], (Relation(1, "above", 0),)),
        Spec((groups[0], groups[2])),
        Spec(groups[:2], (Relation(1, "left", 0),)),
    }


@pytest.mark.parametrize("category", CATEGORIES)
def test_a_near_miss_is_false_of_the_scene_true_of_its_own_and_can_be_said(category):
    rng = np.random.default_rng(1)
    for _ in range(60):
        spec = sample_spec(category, rng, "test")
        edited = near_miss(spec, rng)
        assert not satisfies(edited, place(spec, rng))
        assert satisfies(edited, place(edited, rng))
        assert parse(pretrain.caption(edited, rng)).spec.total == edited.total


def test_a_batch_knows_which_captions_are_true_of_which_pictures():
    rng = np.random.default_rng(0)
    specs = [Spec((ObjectSpec("heart"),)), Spec((ObjectSpec("heart", "red"),)), Spec((ObjectSpec("dog"),))]
    batch = pretrain.draw(specs, load_sprites(), rng)
    assert batch.true.diagonal().all()
    assert batch.true[1].tolist() == [True, True, False] and batch.true[2].tolist() == [False, False, True]
    assert (
        batch.pictures.shape == (3, 128, 128, 3)
        and (batch.cells != pretrain.NOTHING).sum(1).tolist() == [16] * 3
    )


def test_training_never_shows_a_pair_that_is_held_out():
    rng = np.random.default_rng(0)
    for _ in range(50):
        members = pretrain.family(6, rng)
        assert len(set(members)) == 6 and not any(map(pretrain.pairs_held_out, members))


def test_the_loss_is_clips_and_leaves_out_other_captions_that_are_true():
    images = torch.nn.functional.normalize(
        torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=-1
    )
    texts = images.roll(1, 0)
    only = torch.eye(4, dtype=torch.bool)
    logits = images @ texts.T / 0.1
    by_hand = -(logits.log_softmax(1).diagonal().mean() + logits.log_softmax(0).diagonal().mean()) / 2
    assert torch.allclose(pretrain.contrast(images, texts, only, 0.1), by_hand)
    everything = torch.ones(4, 4, dtype=torch.bool)
    assert pretrain.contrast(images, texts, everything, 0.1) == pytest.approx(0, abs=1e-6)


def test_the_curve_is_the_logistic_regression():
    rng = np.random.default_rng(0)
    cosine = torch.from_numpy(rng.uniform(-1, 1, 20_000)).float()
    label = (torch.from_numpy(rng.random(20_000)) < torch.sigmoid(8 * cosine - 3)).float()
    scale, shift = pretrain.fit_curve(cosine, label)
    assert (scale, shift) == (pytest.approx(8, rel=0.05), pytest.approx(-3, rel=0.05))


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(pretrain, "VOCABULARY_FROM", 300)
    monkeypatch.setattr(pretrain, "CALIBRATED_ON", 64)
    monkeypatch.setattr(pretrain, "LOG_EVERY", 1)


def test_training_writes_the_same_file_from_the_same_seed(quick, tmp_path, capsys):
    for name in ("a", "b"):
        pretrain.train(TINY, tmp_path / name, tmp_path / f"run {name}", "float32")
    first, second = load_file(tmp_path / "a"), load_file(tmp_path / "b")
    assert all(torch.equal(first[name], second[name]) for name in first) and set(first) == set(second)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["update"] for line in lines] == [1, 2, 3] * 2
    assert all(0 <= line["found"] <= 1 and line["loss"] > 0 for line in lines)
    pretrain.train(TINY.model_copy(update={"seed": 1}), tmp_path / "c", tmp_path / "run c", "float32")
    assert not torch.equal(load_file(tmp_path / "c")["patch.weight"], first["patch.weight"])


def test_the_network_can_learn_to_tell_a_caption_from_its_near_misses():
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    batch = pretrain.draw(pretrain.family(4, rng), load_sprites(), rng)
    pieces = Pieces.learn(batch.captions, least=1)
    network, numbers = DualNetwork(len(pieces)), pieces.encode(batch.captions)[:, :24]
    optimiser = torch.optim.AdamW(network.parameters(), 5e-4)
    for _ in range(20):
        images = network.images(network.cells(batch.pictures.float() / 255))
        loss = pretrain.contrast(images, network.texts(numbers), batch.true, SHIPPED.temperature)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
    encoder = DualEncoder(network, pieces)
    cosine = encoder.of_images(batch.pictures) @ encoder.of_texts(batch.captions).T
    assert cosine.argmax(1).tolist() == [0, 1, 2, 3]


def test_a_trial_has_twenty_captions_of_which_the_first_alone_is_true(monkeypatch):
    def often_true(spec, rng):
        return replace(spec, background=None) if rng.random() < 0.5 else near_miss(spec, rng)

    monkeypatch.setattr(evaluation, "near_miss", often_true)
    for trial in evaluation.trials(14, np.random.default_rng(2)):
        assert len(trial.captions) == 20 and satisfies(trial.spec, trial.scene)
        assert parse(trial.captions[0]).spec.total == trial.spec.total
        assert not any(satisfies(parse(text).spec, trial.scene) for text in trial.captions[1:])


def test_a_caption_with_few_near_misses_makes_a_trial_too(monkeypatch):
    few = Spec((ObjectSpec("apple", "red", 4),))  # one more colour, three apples, four other red things
    drawn, draw = iter([few]), evaluation.sample_spec
    monkeypatch.setattr(evaluation, "sample_spec", lambda *asked: next(drawn, None) or draw(*asked))
    (trial,) = evaluation.trials(1, np.random.default_rng(0))
    assert trial.spec == few and len(set(trial.captions)) == 20


class Clairvoyant:
    """Finds the right caption of every picture whose red channel is even."""

    def of_images(self, images):
        self.even = (images[:, 0, 0, 0] % 2 == 0).float()
        return torch.ones(len(images), 2)

    def of_texts(self, texts):
        vectors = torch.zeros(len(self.even), 20, 2)
        vectors[:, 0, 0], vectors[:, 7, 1] = 1, 2 * (1 - self.even)
        return vectors.flatten(0, 1)


def test_a_find_is_the_right_caption_nearest_of_twenty():
    asked = evaluation.trials(20, np.random.default_rng(3))
    shown = torch.zeros(20, 8, 8, 3, dtype=torch.uint8)
    shown[:, 0, 0, 0] = torch.arange(20)
    assert evaluation.found(Clairvoyant(), shown, asked).tolist() == [True, False] * 10


class WideMock(MockModel):
    """Pictures of the size that the detectors read."""

    def images(self, tokens):
        return super().images(tokens).repeat_interleave(16, dim=1).repeat_interleave(16, dim=2)


def test_an_untrained_encoder_is_not_fit(encoder, tmp_path):
    engine = Engine(MockRegistry(tmp_path, WideMock()), precision="float32")
    figures = evaluation.measure(encoder, engine, count=14, steps=2, checkpoint="baseline")
    assert figures["fit"] is False and figures["pictures"] == 14 and figures["samples_counted"] == 0
    assert figures["samples"]["mean"] == 0 and set(figures["scenes_by_category"]) == set(CATEGORIES)
    json.dumps(figures)


def test_an_encoder_is_fit_where_it_holds_both_floors(encoder, monkeypatch, tmp_path):
    hits = iter(np.array([[True] * 19 + [False], [True] * 17 + [False] * 3]))
    monkeypatch.setattr(evaluation, "found", lambda *_: next(hits))
    monkeypatch.setattr(evaluation, "score", lambda spec, seen: SimpleNamespace(strict=True))
    engine = Engine(MockRegistry(tmp_path, WideMock()), precision="float32")
    figures = evaluation.measure(encoder, engine, count=20, steps=1, checkpoint="baseline")
    assert figures["fit"] is True and figures["samples_counted"] == 20
    assert (figures["scenes"]["mean"], figures["samples"]["mean"]) == (0.95, 0.85)
