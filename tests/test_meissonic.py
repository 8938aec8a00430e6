"""Meissonic on random weights in the published layout; docs/models.md tells how it was compared with the authors'."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import tiny_amused
import tiny_meissonic
import torch
from hub_weights import break_key, saved_and_found
from safetensors.torch import load_file, save_file
from tiny_meissonic import CODES, MASK, SIDE, WORDS
from transformers import CLIPTokenizer

from cogrpo import models, schedules
from cogrpo.decode import decode, guide
from cogrpo.engine import Engine, Generation
from cogrpo.models import meissonic
from cogrpo.models.base import Condition
from cogrpo.recipe import Request
from cogrpo.registry import CheckpointError, Registry
from cogrpo.replay import Rollout, replay

PROMPTS = ["a dog", "two cats on a mat", "a dog"]
SEEDS = [3, 4, 5]
PUBLISHED = json.loads((Path(__file__).parent / "meissonic_parameters.json").read_text())
WEIGHTS = Path("transformer") / "diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hub") / "meissonic"
    tiny_meissonic.write(folder)
    return folder


@pytest.fixture
def settings(monkeypatch, tmp_path):
    """Writes the model's file anew, for its small size and other keys."""
    monkeypatch.setattr(meissonic, "FOLDER", tmp_path / "configs")
    (tmp_path / "configs").mkdir()

    def write(**keys):
        told = {"repository": "nobody/nothing", "side": SIDE} | keys
        (tmp_path / "configs" / "meissonic.yaml").write_text(json.dumps(told))

    write()
    return write


@pytest.fixture
def here(repository, monkeypatch, settings):
    monkeypatch.setenv("COGRPO_MODELS", str(repository.parent))
    return repository


@pytest.fixture
def copied(here, monkeypatch, tmp_path):
    """A copy of the repository, to be harmed."""
    shutil.copytree(here, tmp_path / "hub" / "meissonic")
    monkeypatch.setenv("COGRPO_MODELS", str(tmp_path / "hub"))
    return tmp_path / "hub" / "meissonic"


def load(precision="float32"):
    registry = Registry()
    return registry.load(registry.resolve("meissonic:baseline"), precision)


def painted(model, prompts, tables, seeds):
    return list(decode(model, model.condition(prompts), tables, seeds, 4))


def asked(model, prompt="a dog", progress=(0, 4), **options):
    """The prediction of one picture of which all is hidden."""
    tokens = torch.zeros(1, SIDE**2, dtype=torch.long)
    step = torch.tensor([progress])
    return model.forward(
        tokens, tokens == 0, model.condition([prompt]), step, **{"unconditional": False} | options
    )


def test_each_published_parameter_is_there_by_name_and_shape_and_no_other():
    with torch.device("meta"):
        network = models.adapter("meissonic").network(PUBLISHED["config"])
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    assert shapes == PUBLISHED["parameters"]
    # At four bytes each the size of the published file, 4.03 GB.
    assert sum(tensor.numel() for tensor in network.parameters()) == 1_006_946_304


def test_its_logits_are_those_of_the_authors_code(here):
    """Numbers that the class of meissonic_parameters.json gave for the same weights and the same input."""
    model = load()
    ids = torch.arange(2 * SIDE**2).view(2, SIDE, SIDE) * 7 % (MASK + 1)
    text, pooled = (
        torch.arange(2.0 * WORDS * 24).view(2, WORDS, 24).sin(),
        torch.arange(64.0).view(2, 32).cos(),
    )
    states = model.network(ids, text, pooled, model.micro.expand(2, -1), torch.tensor([5.0, 0.0]))
    logits = model.network.mlm_layer(states.transpose(1, 2).unflatten(2, (SIDE, SIDE)))[:, ::13]
    theirs = {
        (3, 5): [[-0.1926, -0.9640, -0.3621, 0.4236], [0.6277, -0.6287, 0.2815, 0.1208]],
        (7, 0): [[1.4663, 2.6639, 0.6339, -3.3051], [1.0284, 1.9500, 1.0070, -3.6331]],
    }
    for (row, column), expected in theirs.items():
        assert torch.allclose(logits[:, :, row, column], torch.tensor(expected), atol=2e-4)


def test_the_published_settings():
    config = models.adapter("meissonic").config
    assert (config.repository, config.side, config.crop, config.aesthetic_score, config.negative_prompt) == (
        "MeissonFlow/Meissonic", 64, (0, 0), 6.0, "",
    )  # fmt: skip
    table = schedules.resolve("auto", 16, "meissonic").table
    assert table[:, 1].eq(1).all() and table[:, 3].eq(9).all()
    assert torch.allclose(table[:, 2], torch.linspace(2, 0, 16))


@pytest.mark.parametrize("resampled", [True, False])
def test_a_hidden_token_is_an_id_beyond_the_codes_and_never_drawn(here, resampled, copied):
    network = tiny_meissonic.transformer(downsample=resampled, upsample=resampled)
    config = tiny_meissonic.CONFIG | {"downsample": resampled, "upsample": resampled}
    (copied / "transformer" / "config.json").write_text(json.dumps(config))
    save_file(network.state_dict(), copied / WEIGHTS)
    model = load()
    assert (model.grid, model.cell, model.vocab_size, model.features) == ((SIDE, SIDE), (2, 2), CODES, 32)
    step = painted(model, ["a dog"], [schedules.build("cosine", 3, "meissonic")], [0])[-1]
    assert not step.hidden.any() and step.sampled.max() < CODES
    assert model.images(step.sampled).shape == (1, 2 * SIDE, 2 * SIDE, 3)

    tokens = torch.arange(SIDE**2)[None] % CODES
    hidden = tokens % 3 > 0
    told = model.forward(tokens, hidden, model.condition(["a dog"]), torch.tensor([[1, 4]]), False)
    ids = tokens.masked_fill(hidden, MASK).view(1, SIDE, SIDE)
    text = model.condition(["a dog"]).tensors
    states = network(ids, text["states"], text["pooled"], model.micro[None], torch.tensor([2.0]))
    whole = network.mlm_layer(states.transpose(1, 2).unflatten(2, model.grid)).flatten(2).transpose(1, 2)
    assert torch.allclose(told.conditional[hidden], whole[hidden], atol=1e-5)
    assert torch.allclose(told.features, states.mean(1), atol=1e-5)
    assert not told.conditional[~hidden].any()


def test_its_time_is_the_number_of_steps_to_come_in_each_row(here, monkeypatch):
    model, seen = load(), []
    forward = model.network.forward
    monkeypatch.setattr(model.network, "forward", lambda *told: seen.append(told[4]) or forward(*told))
    tables = [schedules.build("cosine", steps, "meissonic").with_guidance(1) for steps in (3, 2)]
    painted(model, PROMPTS[:2], tables, SEEDS[:2])
    assert [times[0].item() for times in seen] == [2, 1, 0]
    assert [times[1].item() for times in seen[:2]] == [1, 0]
    assert not torch.equal(
        asked(model, progress=(0, 4)).conditional, asked(model, progress=(0, 8)).conditional
    )
    assert torch.equal(asked(model, progress=(0, 4)).conditional, asked(model, progress=(4, 8)).conditional)


def test_in_bfloat16_time_is_rounded_as_the_authors_pipeline_rounds_it(here):
    """47 steps to come are 47,000 to the network, and 47,104 in bfloat16: another time by far."""
    model, told = load("bfloat16"), []
    embedder = model.network.time_text_embed.time_proj
    embedder.register_forward_pre_hook(lambda module, given: told.append(given[0].item()))
    asked(model, progress=(16, 64))
    assert told == [47_104]


def test_guidance_leads_away_from_the_negative_prompt(here, settings):
    settings(negative_prompt="blurry")
    model = load()
    told = asked(model, unconditional=True)
    assert torch.allclose(told.unconditional, asked(model, "blurry").conditional, atol=1e-5)
    away = guide(told.conditional, told.unconditional, torch.tensor([9.0]))
    assert torch.allclose(away, told.unconditional + 9 * (told.conditional - told.unconditional), atol=1e-4)
    settings()
    empty = asked(load(), unconditional=True)
    assert torch.equal(empty.conditional, told.conditional)
    assert not torch.allclose(empty.unconditional, told.unconditional)


@pytest.mark.parametrize("keys", [{"aesthetic_score": 2.0}, {"crop": [0, 5]}])
def test_the_numbers_beside_the_text_come_from_the_models_file(here, settings, keys):
    before = asked(load()).conditional
    settings(**keys)
    assert not torch.allclose(before, asked(load()).conditional)


def test_a_prompt_is_read_with_its_padding_whatever_the_tokenizer_says_of_its_length(copied):
    """The published tokenizer's pad is the end of the text, and nothing tells the network where the text ends."""
    model = load()
    told = model.condition(["a dog", "two cats on a mat " * 9])
    assert told.tensors["states"].shape == (2, WORDS, 24)
    ids = [52, 26, 3, 14, 32, 53] + [53] * (WORDS - 6)
    seen = model.text.text_model(torch.tensor([ids]))
    at_the_first_end = model.text.text_projection(seen.last_hidden_state[:, 5])
    assert torch.allclose(told.tensors["pooled"][:1], at_the_first_end, atol=1e-5)
    cut = Condition({name: t[:1, :6] if t.ndim == 3 else t[:1] for name, t in told.tensors.items()})
    tokens = torch.zeros(1, SIDE**2, dtype=torch.long)
    shorter = model.forward(tokens, tokens == 0, cut, torch.tensor([[0, 4]]), False)
    assert not torch.allclose(shorter.conditional, asked(model).conditional, atol=1e-3)

    path = copied / "tokenizer" / "tokenizer_config.json"
    said = json.loads(path.read_text())
    del said["model_max_length"]
    path.write_text(json.dumps(said))
    assert CLIPTokenizer.from_pretrained(path.parent).model_max_length > 10**6
    again = load().condition(["a dog"])
    assert torch.equal(again.tensors["states"], told.tensors["states"][:1])


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_row_is_the_same_alone_in_a_batch_and_replayed(here, precision):
    model = load(precision)
    assert {p.dtype for p in model.network.parameters()} == {getattr(torch, precision)}
    assert model.pixels.dtype == model.text.dtype == torch.float32
    tables = [schedules.build("meissonic", steps, "meissonic") for steps in (4, 3, 4)]
    together = painted(model, PROMPTS, tables, SEEDS)
    assert together[0].token_logprob.dtype == torch.float32
    alone = painted(model, PROMPTS[1:2], tables[1:2], SEEDS[1:2])
    for one, many in zip(alone, together, strict=False):
        assert torch.equal(one.sampled[0], many.sampled[1])
        assert torch.equal(one.token_logprob[0], many.token_logprob[1])
    same = painted(model, PROMPTS, tables[:1] * 3, SEEDS)
    for chunk in replay(model, Rollout.from_steps(same, model.condition(PROMPTS), 4)):
        assert torch.equal(chunk.new.tokens, chunk.old.tokens)


def test_every_parameter_learns_from_hidden_tokens(here):
    model = load()
    model.network.requires_grad_(True)
    table = schedules.build("cosine", 3, "meissonic").with_guidance(1.5)
    rollout = Rollout.from_steps(painted(model, PROMPTS, [table] * 3, SEEDS), model.condition(PROMPTS), 4)
    for chunk in replay(model, rollout):
        chunk.new.tokens.sum().backward()
    assert not [name for name, told in model.network.named_parameters() if not told.grad.abs().any()]


def test_saved_weights_are_found_and_loaded(here, tmp_path):
    registry, found = saved_and_found(load(), "meissonic", tmp_path)
    assert not registry.load(found, "float32").network.mlm_layer.conv2.weight.any()
    emoji = registry.at(registry.resolve("emoji:baseline").path, "meissonic")
    with pytest.raises(CheckpointError, match="model.safetensors: holds no meissonic-transformer"):
        registry.load(emoji, "float32")


def test_weights_of_the_same_layout_are_a_model_of_their_own_and_take_cosine(here, monkeypatch, tmp_path):
    """As the authors of Co-GRPO published theirs, if they kept Meissonic's layout."""
    other = tmp_path / "hub" / "meissonic-cogrpo"
    shutil.copytree(here, other)
    told = load_file(other / WEIGHTS)
    save_file(told | {"mlm_layer.conv2.weight": 0 * told["mlm_layer.conv2.weight"]}, other / WEIGHTS)
    shutil.copy(tmp_path / "configs" / "meissonic.yaml", tmp_path / "configs" / "meissonic-cogrpo.yaml")
    monkeypatch.setenv("COGRPO_MODELS", str(other.parent))
    engine = Engine(Registry(tmp_path), precision="float32")
    asked = Request("a dog", steps=2, checkpoint="meissonic-cogrpo:baseline")
    (done,) = [item for item in engine.generate([asked]) if isinstance(item, Generation)]
    assert (done.recipe.model, done.recipe.schedule) == ("meissonic-cogrpo", "cosine")
    assert done.recipe.schedule_table[0][3] == 9 and done.image.shape == (2 * SIDE, 2 * SIDE, 3)
    assert Registry().resolve("meissonic-cogrpo:baseline").sha256 == done.recipe.checkpoint_sha256


@pytest.mark.parametrize("harm", ["missing", "foreign", "shape", "amused", "config", "number"])
def test_a_broken_checkpoint_is_refused_by_the_name_of_its_key(copied, harm):
    path, config = copied / WEIGHTS, dict(tiny_meissonic.CONFIG)
    told = load_file(path)
    key = break_key(told, "single_transformer_blocks.1.attn.to_q.weight", harm)
    if harm == "amused":
        told, key = tiny_amused.transformer(8, resampled=False).state_dict(), "context_embedder.bias"
    elif harm == "config":
        key = "num_single_layers"
        del config[key]
    elif harm == "number":
        key = "num_layers"
        config[key] = "many"
    save_file(told, path)
    (copied / "transformer" / "config.json").write_text(json.dumps(config))
    with pytest.raises(CheckpointError) as caught:
        load()
    text = str(caught.value)
    assert text.startswith("checkpoint: ") and text.endswith(".") and "\n" not in text and ". " not in text
    assert key in text and "transformer" in text
