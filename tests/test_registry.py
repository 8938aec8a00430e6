import hashlib
import json
from types import SimpleNamespace

import pytest
import torch

from cogrpo import candidate, checkpoint, schedules
from cogrpo import registry as module
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.recipe import Recipe
from cogrpo.registry import Checkpoint, CheckpointError, Registry, own_policy

BASE, TRAINED = b"the shipped weights", b"trained weights"
HASH = {data: hashlib.sha256(data).hexdigest() for data in (BASE, TRAINED)}


@pytest.fixture
def registry(tmp_path, monkeypatch):
    """A shipped file, and a trained one in the data folder."""
    shipped, data, here = (tmp_path / name for name in ("shipped", "data", "here"))
    for folder in (shipped, data / "checkpoints" / "r1", here):
        folder.mkdir(parents=True)
    (shipped / "model.safetensors").write_bytes(BASE)
    (data / "checkpoints" / "r1" / "model.safetensors").write_bytes(TRAINED)
    (tmp_path / "outside.safetensors").write_bytes(TRAINED)
    (here / "link.safetensors").symlink_to(tmp_path / "outside.safetensors")
    monkeypatch.setitem(module.SHIPPED, "emoji", shipped / "model.safetensors")
    monkeypatch.chdir(here)
    return Registry(data)


def promote(registry: Registry, **aliases: str) -> None:
    (registry.data / "aliases.json").write_text(json.dumps({"emoji": aliases}))


@pytest.mark.parametrize("asked", ["baseline", "champion", "emoji:baseline", "emoji:champion"])
def test_the_champion_is_the_baseline_until_there_is_one(registry, asked):
    found = registry.resolve(asked)
    assert (found.model, found.name, found.sha256) == ("emoji", "baseline", HASH[BASE])
    assert found.asked == asked.split(":")[-1]


def test_aliases_are_followed(registry):
    promote(registry, champion=HASH[TRAINED], previous=HASH[BASE])
    assert (registry.resolve("champion").sha256, registry.resolve("champion").name) == (
        HASH[TRAINED],
        "champion",
    )
    assert registry.resolve("previous").sha256 == HASH[BASE]
    assert registry.resolve("baseline").sha256 == HASH[BASE]


def test_a_hash_is_found_by_its_first_digits(registry):
    found = registry.resolve(HASH[TRAINED][:8])
    assert (found.sha256, found.name) == (HASH[TRAINED], HASH[TRAINED][:12])
    assert registry.resolve(HASH[BASE]).name == "baseline"


def test_a_path_inside_the_folders_is_used(registry):
    assert registry.resolve(str(registry.data / "checkpoints/r1/model.safetensors")).sha256 == HASH[TRAINED]


@pytest.mark.parametrize(
    "asked",
    [
        "", ":", "emoji:", "nobody", "amused:baseline", "baseline:emoji", "abcdef0", "0" * 64,
        "../outside.safetensors", "link.safetensors", "/etc/passwd",
        "missing.safetensors", "../../etc/passwd", "EMOJI:baseline",
    ],
)  # fmt: skip
def test_what_means_no_file_is_refused_in_one_sentence(registry, asked):
    with pytest.raises(CheckpointError) as caught:
        registry.resolve(asked)
    text = str(caught.value)
    assert text.startswith("checkpoint: ") and text.endswith(".") and "\n" not in text


def test_paths_that_lead_out_say_so(registry):
    for asked in ("../outside.safetensors", "link.safetensors"):
        with pytest.raises(CheckpointError, match="outside the allowed folders"):
            registry.resolve(asked)


@pytest.mark.parametrize("text", ["{", "[]", '{"emoji": 7}'])
def test_a_damaged_aliases_file_is_refused(registry, text):
    (registry.data / "aliases.json").write_text(text)
    with pytest.raises(CheckpointError, match="damaged"):
        registry.resolve("champion")


def test_a_changed_file_has_a_new_hash(registry):
    path = registry.data / "checkpoints/r1/model.safetensors"
    assert registry.resolve(str(path)).sha256 == HASH[TRAINED]
    path.write_bytes(BASE)
    assert registry.resolve(str(path)).sha256 == HASH[BASE]


def test_two_copies_of_one_file_are_one_checkpoint(registry):
    (registry.data / "checkpoints" / "copy.safetensors").write_bytes(TRAINED)
    assert registry.resolve(HASH[TRAINED][:10]).sha256 == HASH[TRAINED]


FACTS = {
    "rounds": 1,
    "config": {"model": "emoji", "checkpoint": "baseline", "trainer": {"arm": "joint"}},
    "origin": {"weights": HASH[BASE], "rewards": {"verifier": "1"}},
    "weights": {"verifier": 1.0},
    "figures": {"validation/reward": 0.5},
}


def hand_over(folder, form: str = "cosine", body: str = "table", weights: bytes = TRAINED) -> str:
    """A candidate's folder; returns its hash."""
    policy = SchedulePolicy(PolicyConfig(body=body), [schedules.build(form, 4)], features=8)
    model = SimpleNamespace(save=lambda path: path.write_bytes(weights))
    return candidate.save(folder, model, policy, FACTS)


def follows(registry: Registry, found: Checkpoint, form: str) -> bool:
    """Whether the mean schedule of a checkpoint's policy is a form, wherever a number has an effect."""
    table = registry.trained(found).policy.mean_schedule(4).table
    return torch.equal(table[:-1], schedules.build(form, 4).table[:-1])


def test_a_candidate_is_found_by_the_hash_of_its_folder_and_brings_its_schedule(registry):
    folder = registry.data / "checkpoints" / "r2"
    sha256 = hand_over(folder, "linear")
    for asked in (sha256, sha256[:10], str(folder), str(folder / "model.safetensors")):
        found = registry.resolve(asked)
        assert (found.sha256, found.path.name) == (sha256, "model.safetensors")
    assert registry.at(folder).sha256 == sha256
    assert follows(registry, found, "linear")
    promote(registry, champion=sha256)
    assert registry.resolve("champion").sha256 == sha256
    assert registry.recall(recipe_of(sha256, str(folder))).sha256 == sha256
    assert registry.trained(registry.resolve("baseline")) is None


def test_two_schedules_of_one_model_are_two_checkpoints(registry):
    hashes = {hand_over(registry.data / "checkpoints" / form, form) for form in ("linear", "cosine")}
    assert len(hashes) == 2
    assert {registry.resolve(sha256).sha256 for sha256 in hashes} == hashes


def test_nothing_but_weights_is_a_checkpoint(registry):
    folder = registry.data / "checkpoints"
    hand_over(folder / "r2")
    checkpoint.save(folder / "run", 1, {"a": torch.zeros(1)}, {})
    (folder / ".r3.writing").mkdir()
    (folder / ".r3.writing" / "model.safetensors").write_bytes(b"half")
    for path in folder.rglob("*.safetensors"):
        if path.name != "model.safetensors" or path.parent.name == ".r3.writing":
            with pytest.raises(CheckpointError, match="no weights here"):
                registry.resolve(hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_folder_that_is_written_again_is_noticed(registry):
    folder = registry.data / "checkpoints" / "r2"
    hand_over(folder, "cosine")
    before = registry.resolve(str(folder))
    assert follows(registry, before, "cosine")
    hand_over(folder, "linear")
    after = registry.resolve(str(folder))
    assert after.sha256 != before.sha256
    assert follows(registry, after, "linear")


def test_a_candidate_that_was_replaced_or_damaged_meanwhile_is_refused(registry):
    folder = registry.data / "checkpoints" / "r2"
    hand_over(folder, "cosine")
    found = registry.resolve(str(folder))
    hand_over(folder, "linear")
    with pytest.raises(CheckpointError, match="replaced meanwhile"):
        registry.trained(found)
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(CheckpointError, match="is damaged"):
        registry.load(registry.resolve(str(folder)), "float32")


def test_only_auto_and_learned_mean_the_policy_that_came_with_the_weights(registry):
    hand_over(registry.data / "checkpoints" / "r2", body="state")
    found = registry.resolve(str(registry.data / "checkpoints" / "r2"))
    for asked in ("auto", "learned"):
        assert own_policy(registry, asked, found).config.body == "state"
        assert own_policy(registry, asked, registry.resolve("baseline")) is None
    (found.path.parent / "policy.safetensors").write_bytes(b"damaged")
    assert own_policy(registry, "cosine", found) is None
    with pytest.raises(CheckpointError, match="is damaged"):
        own_policy(Registry(registry.data), "auto", found)


def test_a_champion_that_comes_with_the_program_is_champion_until_another_is(registry):
    folder = module.SHIPPED["emoji"].parent / "champion"
    sha256 = hand_over(folder, "linear")
    for asked in ("champion", "emoji:champion"):
        found = registry.resolve(asked)
        assert (found.sha256, found.name, found.asked) == (sha256, "champion", "champion")
    assert follows(registry, found, "linear")
    assert registry.resolve("baseline").sha256 == HASH[BASE]
    promote(registry, champion=HASH[TRAINED])
    assert registry.resolve("champion").sha256 == HASH[TRAINED]
    again = registry.recall(recipe_of(sha256, "champion"))
    assert (again.sha256, again.path) == (sha256, folder / "model.safetensors")
    assert follows(registry, again, "linear")
    promote(registry, champion=sha256)
    assert (registry.resolve("champion").sha256, registry.resolve("champion").name) == (sha256, "champion")


def damage(folder) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes() + b"!")


def test_a_champion_that_is_damaged_or_missing_gives_way_to_the_one_before_it(registry):
    places = {form: registry.data / "checkpoints" / form for form in ("linear", "cosine")}
    new, old = (hand_over(place, form) for form, place in places.items())
    promote(registry, champion=new, previous=old)
    found = registry.resolve("champion")
    assert (found.sha256, registry.problem()) == (new, None)
    damage(places["linear"])
    for asked in ("champion", "emoji:champion"):
        found = registry.resolve(asked)
        assert (found.sha256, found.name, found.asked) == (old, "previous", "champion")
    said = registry.problem()
    assert said.startswith("The champion cannot be served, previous is instead") and "is damaged" in said
    damage(places["cosine"])
    assert registry.resolve("champion").sha256 == HASH[BASE] and "baseline is instead" in registry.problem()
    hand_over(places["linear"], "linear")
    assert (registry.resolve("champion").sha256, registry.problem()) == (new, None), "it was brought back"
    promote(registry, champion="1" * 64)
    assert registry.resolve("champion").name == "baseline" and "no weights here have" in registry.problem()


def recipe_of(sha256: str, checkpoint: str) -> Recipe:
    return Recipe(
        prompt="a dog", seed=0, steps=1, schedule="cosine", schedule_table=[(0, 1, 0, 1)], interpolated=False,
        guidance="auto", model="emoji", checkpoint=checkpoint, checkpoint_name="champion",
        checkpoint_sha256=sha256, sampler_version=1, block_rows=4, precision="float32", torch="2",
    )  # fmt: skip


def test_a_recipe_recalls_its_own_weights_after_a_promotion(registry):
    promote(registry, champion=HASH[BASE])
    assert registry.recall(recipe_of(HASH[TRAINED], "champion")).sha256 == HASH[TRAINED]
    with pytest.raises(CheckpointError, match="no weights here"):
        registry.recall(recipe_of("f" * 64, "champion"))


def test_a_recipe_recalls_weights_by_their_path_too(registry):
    (module.Path.cwd() / "mine.safetensors").write_bytes(b"mine")
    own = registry.resolve("mine.safetensors")
    assert registry.recall(recipe_of(own.sha256, "mine.safetensors")) == own
    with pytest.raises(CheckpointError):
        registry.recall(recipe_of("e" * 64, "mine.safetensors"))


def test_a_foreign_weight_file_is_refused(registry):
    with pytest.raises(CheckpointError, match="holds no usable weights"):
        registry.load(registry.resolve("baseline"), "float32")
