"""aMUSEd against its own pipeline, on random weights in the published layout."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from copy import deepcopy

import pytest
import tiny_amused
import torch
from diffusers.schedulers import scheduling_amused
from hub_weights import break_key, saved_and_found
from safetensors.torch import load_file, save_file

from cogrpo import candidate, models, noise, schedules
from cogrpo.cli import main
from cogrpo.decode import decode, inverse_cdf
from cogrpo.engine import Engine, Generation
from cogrpo.models import hub
from cogrpo.recipe import Request
from cogrpo.registry import CheckpointError, Registry
from cogrpo.replay import Rollout, replay

PROMPTS = ["a dog", "two cats on a mat", "a dog"]
SEEDS = [3, 4, 5]


@pytest.fixture(scope="module")
def repositories(tmp_path_factory):
    """A folder with both sizes, and the pipelines that read them."""
    folder = tmp_path_factory.mktemp("hub")
    small = tiny_amused.write(folder / "amused-256")
    large = tiny_amused.write(folder / "amused-512", side=8, resampled=True)
    return folder, {"amused-256": small, "amused-512": large}


@pytest.fixture
def here(repositories, monkeypatch):
    monkeypatch.setenv("COGRPO_MODELS", str(repositories[0]))
    return repositories[0]


def load(name: str = "amused-256", precision: str = "float32"):
    registry = Registry()
    return registry.load(registry.resolve(f"{name}:baseline"), precision)


def painted(model, prompts, table, seeds, block_rows=4):
    """All steps of a decode."""
    return list(decode(model, model.condition(prompts), [table] * len(seeds), seeds, block_rows))


@pytest.fixture
def our_noise(monkeypatch):
    """Makes the pipeline's scheduler draw from our numbers; returns what tells it the seeds and the grid."""

    def draw_for(seeds, positions):
        steps = iter(range(100))
        at = {"step": -1}

        def multinomial(probabilities, count, generator=None):
            at["step"] = next(steps)
            uniform = noise.uniform(seeds, at["step"], noise.SAMPLE, positions)
            return inverse_cdf(probabilities, uniform.flatten())[:, None]

        monkeypatch.setattr(torch, "multinomial", multinomial)
        monkeypatch.setattr(
            scheduling_amused,
            "gumbel_noise",
            lambda like, generator=None: noise.gumbel(seeds, at["step"], noise.REMASK, positions),
        )

    return draw_for


@pytest.mark.parametrize("name", ["amused-256", "amused-512"])
@pytest.mark.parametrize("steps, scale", [(12, 10.0), (5, 3.0), (4, 1.0), (1, 10.0)])
def test_tokens_and_pixels_are_those_of_the_pipeline(here, repositories, our_noise, name, steps, scale):
    pipeline, model = repositories[1][name], load(name)
    table = schedules.build("meissonic", steps, name).with_guidance(scale)
    ours = painted(model, PROMPTS, table, SEEDS)
    seen = []
    our_noise(SEEDS, model.grid[0] * model.grid[1])
    told = pipeline(
        PROMPTS, num_inference_steps=steps, guidance_scale=scale, output_type="latent",
        callback=lambda step, time, latents: seen.append(latents.flatten(1).clone()),
    ).images  # fmt: skip
    for step, theirs in zip(ours, seen, strict=True):
        assert torch.equal(theirs == tiny_amused.MASK, step.hidden)
        assert torch.equal(theirs[~step.hidden], step.sampled[~step.hidden])
    assert torch.equal(told.flatten(1), ours[-1].sampled)
    our_noise(SEEDS, model.grid[0] * model.grid[1])
    pictures = pipeline(PROMPTS, num_inference_steps=steps, guidance_scale=scale, output_type="np").images
    assert (model.images(ours[-1].sampled).numpy() == (pictures * 255).round()).all()


def test_the_published_schedule_is_the_pipelines(here):
    table = schedules.resolve("auto", 12, "amused-512").table
    assert table[:, 1].eq(1).all() and table[:, 3].eq(10).all()
    assert torch.allclose(table[:, 2], torch.linspace(2, 0, 12))
    # `cosine` rounds otherwise where the cosine is one half: the only step that may keep another number of tokens.
    ratio = torch.cos(torch.arange(1, 13) / 12 * torch.pi / 2)
    other = (256 * table[:-1, 0].double()).floor() != (256 * ratio[:-1]).floor()
    assert other.nonzero().flatten().tolist() in ([7], [])
    assert torch.equal(schedules.build("meissonic", 12, "amused-256").table[:-1, 0], ratio[:-1])


def test_logits_are_the_networks_own_where_tokens_are_hidden(here):
    for name in ("amused-256", "amused-512"):
        model = load(name)
        tokens = torch.arange(3 * model.grid[0] ** 2).view(3, -1) % tiny_amused.CODES
        hidden = tokens % 3 > 0
        condition = model.condition(PROMPTS)
        told = model.forward(tokens, hidden, condition, torch.zeros(3, 2), unconditional=True)
        ids = tokens.masked_fill(hidden, tiny_amused.MASK).view(3, *model.grid)
        side = model.grid[0] * 2.0
        micro = torch.tensor([[side, side, 0, 0, 6]]).expand(3, -1)
        for logits, text in ((told.conditional, condition), (told.unconditional, model.condition([""] * 3))):
            whole = model.network(ids, text.tensors["states"], text.tensors["pooled"], micro)
            whole = whole.flatten(2).transpose(1, 2)
            assert torch.allclose(logits[hidden], whole[hidden], atol=1e-5) and not logits[~hidden].any()
        assert told.features.shape == (3, model.features)
        alone = model.forward(tokens, hidden, condition, torch.zeros(3, 2), unconditional=False)
        assert alone.unconditional is None and torch.equal(alone.features, told.features)


def test_a_row_is_the_same_alone_in_a_batch_and_replayed(here):
    model = load()
    table = schedules.build("cosine", 4, "amused-256")
    together = painted(model, PROMPTS, table, SEEDS)
    for row, (prompt, seed) in enumerate(zip(PROMPTS, SEEDS, strict=True)):
        for one, many in zip(painted(model, [prompt], table, [seed]), together, strict=True):
            assert torch.equal(one.sampled[0], many.sampled[row])
            assert torch.equal(one.token_logprob[0], many.token_logprob[row])
    rollout = Rollout.from_steps(together, model.condition(PROMPTS), 4)
    for chunk in replay(model, rollout):
        assert torch.equal(chunk.new.tokens, chunk.old.tokens)


def test_every_parameter_learns_from_hidden_tokens(here):
    model = load()
    model.network.requires_grad_(True)
    table = schedules.build("cosine", 4, "amused-256").with_guidance(1.5)
    rollout = Rollout.from_steps(painted(model, PROMPTS, table, SEEDS), model.condition(PROMPTS), 4)
    for chunk in replay(model, rollout):
        chunk.new.tokens.sum().backward()
    still = [name for name, told in model.network.named_parameters() if not told.grad.abs().any()]
    assert not still


def test_each_different_prompt_is_encoded_once(here, monkeypatch):
    model, seen = load(), []
    encode = model.text.forward
    monkeypatch.setattr(
        model.text, "forward", lambda ids, **told: seen.append(len(ids)) or encode(ids, **told)
    )
    condition = model.condition(PROMPTS)
    assert seen == [1, 1]
    assert condition.alike.tolist()[0] == condition.alike.tolist()[2] != condition.alike.tolist()[1]
    table = schedules.build("cosine", 4, "amused-256")
    list(decode(model, condition, [table] * 3, SEEDS))
    assert seen == [1, 1, 1], "the empty prompt, once"


def test_the_micro_conditions_come_from_the_models_file(here, monkeypatch, tmp_path):
    tokens, hidden = torch.zeros(1, 16, dtype=torch.long), torch.ones(1, 16, dtype=torch.bool)

    def logits():
        model = load()
        return model.forward(tokens, hidden, model.condition(["a dog"]), torch.zeros(1, 2), False).conditional

    before = logits()
    (tmp_path / "amused-256.yaml").write_text("repository: amused/amused-256\naesthetic_score: 2.0\n")
    monkeypatch.setattr(models.importlib.import_module("cogrpo.models.amused"), "FOLDER", tmp_path)
    assert not torch.allclose(before, logits())


def test_thumbnails_and_sizes(here):
    model = load("amused-512")
    assert (model.grid, model.cell, model.vocab_size, model.features) == (
        (8, 8),
        (2, 2),
        tiny_amused.CODES,
        8,
    )
    codes = torch.arange(tiny_amused.CODES).repeat(2)
    thumbnails = model.code_images(codes)
    assert thumbnails.shape == (80, 2, 2, 3) and thumbnails.dtype == torch.uint8
    assert len(thumbnails.flatten(1).unique(dim=0)) > 1


def test_bfloat16_keeps_logits_in_float32(here):
    model = load(precision="bfloat16")
    assert {p.dtype for p in model.network.parameters()} == {torch.bfloat16}
    assert model.pixels.dtype == model.text.dtype == torch.float32
    step = painted(model, ["a dog"], schedules.build("cosine", 2, "amused-256"), [0])[-1]
    assert step.token_logprob.dtype == torch.float32 and not step.hidden.any()


def test_a_copy_shares_what_nobody_trains(here):
    model = load()
    twin = deepcopy(model)
    assert twin.pixels is model.pixels and twin.text is model.text and twin.network is not model.network


def test_saved_weights_are_found_and_loaded(here, tmp_path):
    registry, found = saved_and_found(load(), "amused-256", tmp_path)
    again = registry.load(found, "float32")
    assert not again.network.mlm_layer.conv2.weight.any()
    assert registry.trained(found) is None
    with pytest.raises(
        CheckpointError, match="mine.safetensors: holds no emoji-transformer|no usable weights"
    ):
        registry.load(registry.at(found.path), "float32")
    emoji = registry.resolve("emoji:baseline")
    with pytest.raises(CheckpointError, match="model.safetensors: holds no amused-transformer"):
        registry.load(registry.at(emoji.path, "amused-256"), "float32")


def test_the_identity_follows_the_files(here, tmp_path):
    first = Registry().resolve("amused-256:baseline")
    assert (first.model, first.name) == ("amused-256", "baseline")
    assert Registry().resolve(f"amused-256:{first.sha256[:8]}").name == "baseline"
    assert Registry().resolve("amused-256:champion").sha256 == first.sha256
    assert Registry().resolve("amused-512:baseline").sha256 != first.sha256
    copied = tmp_path / "amused-256"
    shutil.copytree(first.path, copied)
    (copied / "README.md").write_text("not a part")
    (copied / "transformer" / "model.fp16.safetensors").write_bytes(b"a variant")
    assert hub.identity(copied) == first.sha256
    (copied / "vqvae" / "config.json").write_text("{}")
    assert hub.identity(copied) != first.sha256


def test_the_hubs_cache_has_the_identity_of_a_plain_folder(here, tmp_path):
    """Its large files are links to blobs that have their sha256 as name: nothing of them is read."""
    plain, cache = Registry().resolve("amused-256:baseline"), tmp_path / "models--amused--amused-256"
    (cache / "blobs").mkdir(parents=True)
    snapshot = cache / "snapshots" / "abc"
    for path in plain.path.rglob("*.*"):
        blob = (
            cache
            / "blobs"
            / (hub._sha256(path) if path.suffix == ".safetensors" else path.name + path.parent.name)
        )
        shutil.copyfile(path, blob)
        link = snapshot / path.relative_to(plain.path)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    assert hub.identity(snapshot) == plain.sha256
    for blob in (cache / "blobs").iterdir():
        if len(blob.name) == 64:
            blob.write_bytes(b"")
    assert hub.identity(snapshot) == plain.sha256


def test_weights_that_are_not_here_are_told_in_one_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("COGRPO_MODELS", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    for asked in ("amused-256:baseline", "amused-256:champion"):
        with pytest.raises(CheckpointError) as caught:
            Registry(tmp_path).resolve(asked)
        text = str(caught.value)
        assert "hf download amused/amused-256 --revision main" in text and "COGRPO_MODELS" in text
        assert text.startswith("checkpoint: ") and text.endswith(".") and ". " not in text


@pytest.mark.parametrize("part, file", [
    ("transformer", "diffusion_pytorch_model"), ("vqvae", "diffusion_pytorch_model"), ("text_encoder", "model"),
])  # fmt: skip
@pytest.mark.parametrize("harm", ["missing", "foreign", "shape", "cut", "gone", "config"])
def test_a_broken_checkpoint_is_refused_by_the_name_of_its_key(
    repositories, monkeypatch, tmp_path, part, file, harm
):
    shutil.copytree(repositories[0] / "amused-256", tmp_path / "amused-256")
    monkeypatch.setenv("COGRPO_MODELS", str(tmp_path))
    path = tmp_path / "amused-256" / part / f"{file}.safetensors"
    told = load_file(path)
    key = break_key(told, sorted(told)[5], harm)
    save_file(told, path)
    if harm == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    elif harm == "gone":
        path.unlink()
    elif harm == "config":
        path.with_name("config.json").write_text("{")
    with pytest.raises(CheckpointError) as caught:
        load()
    text = str(caught.value)
    assert text.startswith("checkpoint: ") and text.endswith(".") and "\n" not in text and ". " not in text
    assert (key if harm in ("missing", "foreign", "shape") else part) in text


def test_sample_paints_without_the_grammar_of_the_embedded_world(here, monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    asked = ["sample", "zebra gibberish", "--checkpoint", "amused-256:baseline", "--steps", "3", "--n", "2"]
    assert main(asked) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(line["verifier"], line["unknown"], line["checkpoint"]) for line in lines] == [
        (None, [], "baseline")
    ] * 2
    for line in lines:
        for file in (line["image"], line["trace"]):
            assert main(["replay", file]) == 0 and capsys.readouterr().out == "identical\n"
    assert main(["inspect", lines[0]["trace"]]) == 0


def test_two_models_share_an_engine(here, tmp_path):
    engine = Engine(Registry(tmp_path), precision="float32")
    asked = [
        Request("a dog", steps=2, checkpoint=f"{name}:baseline") for name in ("amused-256", "amused-512")
    ]
    done = [item for item in engine.generate(asked) if isinstance(item, Generation)]
    assert [item.image.shape for item in done] == [(8, 8, 3), (16, 16, 3)]
    assert [item.recipe.model for item in done] == ["amused-256", "amused-512"]
    assert done[0].recipe.schedule_table[0][3] == 10


def test_its_libraries_are_imported_with_its_weights_and_not_before(tmp_path):
    code = (
        "import sys; from cogrpo.engine import Engine; from cogrpo.registry import Registry, CheckpointError\n"
        "from cogrpo.recipe import Request\n"
        "for name in ('amused-256', 'meissonic'):\n"
        "    try: Engine(Registry(), 'float32').prepare(Request('a dog', checkpoint=f'{name}:baseline'))\n"
        "    except CheckpointError: pass\n"
        "assert not {'diffusers', 'transformers', 'accelerate'} & set(sys.modules)"
    )
    settings = {"HF_HUB_CACHE": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code], check=True, env=settings)


def test_a_candidate_brings_weights_and_schedule(here, tmp_path):
    from cogrpo.policy import PolicyConfig, SchedulePolicy

    model, registry = load(), Registry(tmp_path)
    policy = SchedulePolicy(
        PolicyConfig(), [schedules.build("cosine", 3, "amused-256")], features=model.features
    )
    facts = {
        "rounds": 1, "config": {"model": "amused-256", "checkpoint": "baseline", "trainer": {"arm": "joint"}},
        "origin": {"weights": "a" * 64, "rewards": {}}, "weights": {}, "figures": {},
    }  # fmt: skip
    candidate.save(tmp_path / "checkpoints" / "r1", model, policy, facts)
    found = registry.at(tmp_path / "checkpoints" / "r1", "amused-256")
    assert registry.load(found, "float32").vocab_size == tiny_amused.CODES
    assert registry.trained(found).policy.features == model.features
