import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pages import python_of

from cogrpo import rewards
from cogrpo.config import Config, ConfigError, load_config
from cogrpo.emoji.captions import caption
from cogrpo.emoji.dual_encoder import DualEncoder, DualNetwork, Pieces
from cogrpo.emoji.scene import CATEGORIES, place, render, sample_spec
from cogrpo.emoji.sprites import load_sprites
from cogrpo.recipe import picture_hash
from cogrpo.rewards.base import Context, RewardError, blocks, file_version
from cogrpo.rewards.cache import Key, ScoreCache, prompt_hash
from cogrpo.rewards.mixer import Mixer

ROOT = Path(__file__).parents[1]
PROMPTS = ["a dog", "a cat", "a dog"]
PICTURES = torch.stack([torch.full((4, 4, 3), value, dtype=torch.uint8) for value in (10, 20, 30)])


class Brightness:
    """Scores in 0..1 and notes what it was asked."""

    range = (0.0, 1.0)

    def __init__(self, name="brightness", version="1"):
        self.name, self.version = name, version
        self.asked: list[tuple[int, list[str], Context]] = []

    def __call__(self, images, prompts, context):
        self.asked.append((len(images), list(prompts), context))
        return images.double().mean((1, 2, 3)) / 255


class Answering:
    """Returns, or raises, what it was given."""

    name, version, range = "stub", "1", (0.0, 1.0)

    def __init__(self, answer):
        self.answer = answer

    def __call__(self, images, prompts, context):
        if isinstance(self.answer, BaseException):
            raise self.answer
        return self.answer


def mixer(*chosen, cache=None, **weights) -> Mixer:
    weights = weights or {reward.name: 1.0 for reward in chosen}
    return Mixer(chosen, weights, ScoreCache() if cache is None else cache)


def one_sentence(error: Exception) -> str:
    text = str(error)
    assert text.endswith(".") and "\n" not in text and ". " not in text
    return text


def test_scores_are_the_rewards_own_in_float32_and_in_order():
    scores = mixer(Brightness()).scores(PICTURES, PROMPTS)
    assert scores["brightness"].dtype == torch.float32
    assert scores["brightness"].tolist() == pytest.approx([10 / 255, 20 / 255, 30 / 255])


def test_a_reward_is_told_the_hashes_of_its_pictures():
    reward = Brightness()
    mixer(reward).scores(PICTURES, PROMPTS)
    count, prompts, context = reward.asked[0]
    assert (count, prompts) == (3, PROMPTS)
    assert context.pictures == tuple(picture_hash(picture.numpy()) for picture in PICTURES)


def test_no_picture_is_scored_twice_for_one_prompt(tmp_path):
    reward, path = Brightness(), tmp_path / "scores.jsonl"
    twice = PICTURES[[0, 1, 0, 2, 0]]
    prompts = ["a dog", "a cat", "a dog", "a dog", "a cat"]
    first = mixer(reward, cache=ScoreCache(path)).scores(twice, prompts)
    assert reward.asked[0][:2] == (4, ["a dog", "a cat", "a dog", "a cat"])
    again = mixer(reward, cache=ScoreCache(path)).scores(twice, prompts)
    assert len(reward.asked) == 1 and torch.equal(first["brightness"], again["brightness"])
    mixer(Brightness(version="2"), cache=ScoreCache(path)).scores(PICTURES, PROMPTS)
    other = Brightness(version="2")
    mixer(other, cache=ScoreCache(path)).scores(PICTURES, ["a cat", "a cat", "a dog"])
    assert other.asked[0][:2] == (1, ["a cat"])


def test_a_reward_of_weight_0_is_not_asked_and_not_among_those_that_acted():
    on, off = Brightness("on"), Brightness("off")
    mixed = mixer(on, off, on=0.5, off=0.0)
    assert mixed.weights == {"on": 0.5}
    assert set(mixed.scores(PICTURES, PROMPTS)) == {"on"} and not off.asked


@pytest.mark.parametrize(
    "answer, told",
    [
        (torch.tensor([0.1, float("nan"), 0.3]), "returned nan for 1 of 3 pictures; allowed are numbers from 0 to 1"),
        (torch.tensor([0.1, float("inf"), 1.5]), "returned inf for 2 of 3"),
        (torch.tensor([0.1, 0.2]), "returned a tensor of 2; allowed is one of 3"),
        (torch.zeros(3, 1), "returned a tensor of 3 x 1"),
        (torch.tensor(0.5), "returned a tensor of no axis"),
        ([0.1, 0.2, 0.3], "returned list"),
        (RuntimeError("the model\nis broken."), "failed: the model is broken"),
        (type("Odd", (Exception,), {})(), "failed: Odd"),
    ],
)  # fmt: skip
def test_a_reward_that_breaks_its_contract_is_named_and_nothing_is_kept(answer, told):
    cache = ScoreCache()
    with pytest.raises(RewardError) as caught:
        mixer(Answering(answer), cache=cache).scores(PICTURES, PROMPTS)
    assert one_sentence(caught.value).startswith("reward: 'stub' ") and told in str(caught.value)
    assert len(cache) == 0


def test_an_interrupt_is_no_failure_of_the_reward():
    with pytest.raises(KeyboardInterrupt):
        mixer(Answering(KeyboardInterrupt())).scores(PICTURES, PROMPTS)


@pytest.mark.parametrize(
    "text, told",
    [
        ("verifier: -0.5", "the weight -0.5 of 'verifier' is not allowed; allowed is 0 or more"),
        ("verifier: .nan", "rewards.verifier: input should be a finite number"),
        ("{verifier: 0, dual_encoder: 0}", "every weight is 0"),
        ("{}", "every weight is 0"),
        (
            "verifyer: 1",
            "'verifyer' is unknown; allowed are dual_encoder, hpsv2, hpsv2_1, image_reward, preference, verifier",
        ),
        ("cache: 1", "'cache' is unknown"),
    ],
)
def test_weights_that_make_no_mix_are_refused(tmp_path, text, told):
    class Round(Config):
        rewards: rewards.Weights

    path = tmp_path / "round.yaml"
    path.write_text(f"rewards:\n  {text}\n")
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        load_config(path, Round)
    one_sentence(caught.value)
    path.write_text("rewards: {verifier: 1, dual_encoder: 0}\n")
    assert load_config(path, Round).rewards == {"verifier": 1.0, "dual_encoder": 0.0}


def test_a_mixer_loads_only_what_acts():
    assert Mixer.load({"verifier": 1.0, "dual_encoder": 0.0}, ScoreCache()).weights == {"verifier": 1.0}


@pytest.fixture
def the_example_of_the_docs(monkeypatch, tmp_path):
    """The page's own Python, as a file in the folder of rewards."""
    (tmp_path / "colourful.py").write_text(python_of("adding-a-reward.md"), encoding="utf-8")
    monkeypatch.setattr(rewards, "__path__", [*rewards.__path__, str(tmp_path)])
    yield tmp_path
    sys.modules.pop("cogrpo.rewards.colourful", None)


def test_one_file_is_a_reward(the_example_of_the_docs):
    assert rewards.available()["colourful"] == "Colourful: how much of the picture is saturated colour."
    mixed = Mixer.load({"colourful": 2.0}, ScoreCache())
    pictures = torch.zeros(2, 4, 4, 3, dtype=torch.uint8)
    pictures[1, ..., 0] = 255
    assert mixed.scores(pictures, ["a dog", "a dog"])["colourful"].tolist() == [0, 1]


def test_a_file_that_calls_its_reward_otherwise_is_refused(the_example_of_the_docs):
    path = the_example_of_the_docs / "colourful.py"
    path.write_text(path.read_text().replace('name = "colourful"', 'name = "bright"'))
    with pytest.raises(RewardError, match="calls its reward 'bright'; allowed is 'colourful'"):
        rewards.load("colourful")


@pytest.mark.parametrize(
    "text, told",
    [("load = 7", "failed: 'int' object is not callable"), ("import nothing_here", "failed: No module")],
)
def test_a_file_that_cannot_be_loaded_is_named(the_example_of_the_docs, text, told):
    (the_example_of_the_docs / "colourful.py").write_text(text)
    with pytest.raises(RewardError, match=f"^reward: 'colourful' {told}") as caught:
        rewards.load("colourful")
    one_sentence(caught.value)


def test_a_damaged_file_of_weights_is_named(untrained):
    untrained.write_bytes(b"junk")
    with pytest.raises(
        RewardError, match="^reward: 'dual_encoder' failed: dual_encoder.safetensors: cannot be read"
    ):
        rewards.load("dual_encoder")


def test_the_rewards_are_listed_with_a_description():
    assert (
        ", ".join(rewards.available()) == "dual_encoder, hpsv2, hpsv2_1, image_reward, preference, verifier"
    )
    assert all(description.endswith(".") for description in rewards.available().values())


def scenes(count: int, seed: int = 0) -> tuple[torch.Tensor, list[str]]:
    rng, sprites = np.random.default_rng(seed), load_sprites()
    specs = [sample_spec(CATEGORIES[index % len(CATEGORIES)], rng, "train") for index in range(count)]
    pictures = np.stack([render(place(spec, rng), sprites) for spec in specs])
    return torch.from_numpy(pictures), [caption(spec, rng) for spec in specs]


def test_the_verifier_gives_1_to_right_pictures_and_less_to_wrong_ones():
    pictures, prompts = scenes(21)
    mixed = Mixer.load({"verifier": 1.0}, ScoreCache())
    right = mixed.scores(pictures, prompts)["verifier"]
    wrong = mixed.scores(pictures, prompts[1:] + prompts[:1])["verifier"]
    assert right.mean() > 0.95 and wrong.max() < 1 and wrong.mean() < 0.3


def test_the_verifier_names_a_prompt_that_it_cannot_read():
    with pytest.raises(RewardError, match="^reward: 'verifier' failed: .*names no object"):
        Mixer.load({"verifier": 1.0}, ScoreCache()).scores(PICTURES[:1], ["a zebra"])


@pytest.fixture
def untrained(monkeypatch, tmp_path) -> Path:
    """A dual encoder's file with random weights."""
    torch.manual_seed(0)
    path = tmp_path / "dual_encoder.safetensors"
    pieces = Pieces(["a", "dog", "cat", "left", "of", "red"])
    DualEncoder(DualNetwork(len(pieces)), pieces).save(path, {})
    monkeypatch.setattr("cogrpo.rewards.dual_encoder.WEIGHTS", path)
    monkeypatch.setattr("cogrpo.rewards.dual_encoder.FITNESS", path.with_suffix(".json"))
    tell(path, fit=True)
    return path


def tell(weights: Path, fit: bool) -> None:
    """Write what somebody found of these weights."""
    told = {"weights": file_version(weights), "fit": fit, "scenes": {"mean": 0.76}, "samples": {"mean": 0.74}}
    weights.with_suffix(".json").write_text(json.dumps(told))


def test_a_dual_encoder_that_was_found_unfit_or_not_tested_stays_out_of_the_mix(untrained):
    tell(untrained, fit=False)
    with pytest.raises(
        RewardError, match=r"not fit to act: .* in 76% of scenes \(90% are needed\) and 74% of samples"
    ):
        Mixer.load({"verifier": 1.0, "dual_encoder": 1.0}, ScoreCache())
    encoder = DualEncoder.load(untrained)
    encoder.network.shift.add_(1)
    encoder.save(untrained, {})
    with pytest.raises(RewardError, match="has weights that nobody has tested"):
        rewards.load("dual_encoder")


@pytest.mark.parametrize("name", ["verifier", "dual_encoder"])
def test_a_score_is_the_same_bits_whatever_else_is_scored(name, untrained):
    pictures, prompts = scenes(19, seed=1)
    reward = rewards.load(name)
    together = reward(pictures, prompts, Context(()))
    for rows in ([18], [3, 4, 5], [16, 2]):
        alone = reward(pictures[rows], [prompts[row] for row in rows], Context(()))
        assert torch.equal(alone, together[rows])


def test_new_weights_are_a_new_version(untrained):
    before = rewards.load("dual_encoder").version
    encoder = DualEncoder.load(untrained)
    encoder.network.shift.add_(1)
    encoder.save(untrained, {})
    tell(untrained, fit=True)
    assert rewards.load("dual_encoder").version != before


def test_missing_weights_are_refused_in_one_sentence(untrained):
    untrained.unlink()
    with pytest.raises(RewardError, match="its weights dual_encoder.safetensors are missing"):
        rewards.load("dual_encoder")


def test_no_reward_sees_what_the_gate_measures():
    for path in (ROOT / "cogrpo" / "rewards").glob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"guards|evaluation|Detector\.load\((?!\"a\"\))", text), path.name


def test_blocks_cover_every_row_once_with_one_shape():
    for rows in (1, 15, 16, 17, 40):
        found = list(blocks(rows))
        assert all(len(index) == 16 for index, _ in found)
        assert [int(row) for index, count in found for row in index[:count]] == list(range(rows))


KEYS = [Key(prompt_hash(str(index)), prompt_hash("a dog"), "verifier", "1-abc") for index in range(4)]


def test_the_cache_gives_back_the_same_floats(tmp_path):
    path = tmp_path / "folder" / "scores"
    scores = torch.rand(4, generator=torch.Generator().manual_seed(0)).tolist()
    ScoreCache(path).put(dict(zip(KEYS, scores, strict=True)))
    again = ScoreCache(path)
    assert len(again) == 4 and [again.get(key) for key in KEYS] == scores
    assert again.get(KEYS[0]._replace(version="2")) is None


@pytest.mark.parametrize("cut", [1, 20, 100])
def test_a_torn_tail_loses_its_own_record_only_and_spoils_no_later_one(tmp_path, cut):
    path = tmp_path / "scores"
    ScoreCache(path).put({key: 0.5 for key in KEYS[:3]})
    path.write_bytes(path.read_bytes()[:-cut])
    torn = ScoreCache(path)
    assert [torn.get(key) for key in KEYS] == [0.5, 0.5, None, None]
    torn.put({KEYS[3]: 0.25})
    assert [ScoreCache(path).get(key) for key in KEYS] == [0.5, 0.5, None, 0.25]


def test_a_damaged_record_is_passed_over(tmp_path):
    path = tmp_path / "scores"
    ScoreCache(path).put({key: 0.5 for key in KEYS})
    lines = path.read_bytes().split(b"\n")
    lines[2] = lines[2].replace(b"0.5", b"0.9")
    path.write_bytes(b"\n".join(lines) + b"\n\xff\x00\xff")
    assert [ScoreCache(path).get(key) for key in KEYS] == [0.5, None, 0.5, 0.5]


def test_two_processes_may_append_to_one_file(tmp_path):
    path = tmp_path / "scores"
    one, two = ScoreCache(path), ScoreCache(path)
    one.put({KEYS[0]: 0.1})
    two.put({KEYS[1]: 0.2})
    one.put({KEYS[2]: 0.3})
    assert [ScoreCache(path).get(key) for key in KEYS] == [0.1, 0.2, 0.3, None]


def test_the_file_of_scores_is_made_by_the_first_score(tmp_path):
    cache = ScoreCache(tmp_path / "folder" / "scores")
    assert not (tmp_path / "folder").exists()
    cache.put({KEYS[0]: 0.1})
    assert (tmp_path / "folder" / "scores").is_file()


def test_a_folder_that_is_none_is_refused_in_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RewardError, match="^reward cache: .* cannot be read") as caught:
        ScoreCache(tmp_path / "file" / "scores")
    assert str(caught.value).endswith(".")
