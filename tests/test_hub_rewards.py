import math
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import huggingface_hub.constants
import pytest
import torch
from torch import nn

from cogrpo import rewards
from cogrpo.config import ConfigError, load_config
from cogrpo.rewards import hpsv2, hpsv2_1, image_reward
from cogrpo.rewards.base import Placement, RewardError
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.hub import files
from cogrpo.rewards.hub.network import NetworkReward
from cogrpo.rewards.hub.pixels import DEVIATION, MEAN, centre_crop, letterbox
from cogrpo.rewards.mixer import Mixer
from cogrpo.trainer_config import TrainerConfig
from tests import published_rewards as published

ROOT = Path(__file__).parents[1]
PROMPTS = ["a red dog", "two cats, a dog on a cat", "dogs on a red cat", ", ".join(["cat"] * 60)]
QUERY_KEYS = "transformer.resblocks.1.attn.in_proj_weight"


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Where the published files are looked for."""
    monkeypatch.setenv("COGRPO_REWARD_FILES", str(tmp_path))
    return tmp_path


@pytest.fixture
def tiny(monkeypatch) -> None:
    """Both rewards in small: what `load()` makes has the sizes of the tiny files."""
    monkeypatch.setattr(image_reward.ImageReward.__init__, "__defaults__", (published.VISION,))
    monkeypatch.setattr(hpsv2.HumanPreferenceScore.__init__, "__defaults__", (published.CLIP,))


WRITE = {"image_reward": published.write_image_reward, "hpsv2": published.write_hpsv2}
MAIN = {
    "image_reward": (image_reward.REPOSITORY, "ImageReward.pt"),
    "hpsv2": (hpsv2.REPOSITORY, "HPS_v2_compressed.pt"),
}


def pictures(count: int, height: int = 40, width: int = 52) -> torch.Tensor:
    draw = torch.Generator().manual_seed(1)
    return torch.randint(0, 256, (count, height, width, 3), dtype=torch.uint8, generator=draw)


def rewrite(folder: Path, name: str, tensors: dict[str, object]) -> None:
    published.save(folder, *MAIN[name], {"state_dict": tensors} if name == "hpsv2" else tensors)


def refused(name: str) -> str:
    with pytest.raises(RewardError) as caught:
        rewards.load(name)
    text = str(caught.value)
    assert text.endswith(".") and "\n" not in text and ". " not in text
    return text


@pytest.mark.parametrize("height, width", [(32, 32), (40, 52), (90, 33)])
def test_image_reward_is_what_the_published_network_computes(folder, tiny, height, width):
    tensors, reward = published.write_image_reward(folder), rewards.load("image_reward")
    images = pictures(4, height, width)
    words = reward.tokenizer(
        PROMPTS, padding="max_length", truncation=True, max_length=35, return_tensors="pt"
    )
    pixels = centre_crop(images, 32)
    told = published.blip_score(tensors, pixels, words.input_ids, words.attention_mask)
    assert torch.allclose(reward(images, PROMPTS, None), told, atol=1e-5)
    assert reward(images, PROMPTS[:1] * 4, None).std() > 1e-3  # or the test could not see the picture's side


@pytest.mark.parametrize("height, width", [(28, 28), (40, 52), (90, 33)])
def test_hpsv2_is_what_the_published_network_computes(folder, tiny, height, width):
    tensors, reward = published.write_hpsv2(folder), rewards.load("hpsv2")
    images = pictures(4, height, width)
    told = published.clip_score(tensors, letterbox(images, 28), reward.tokens(PROMPTS))
    assert torch.allclose(reward(images, PROMPTS, None), told, atol=1e-5)
    assert reward(images, PROMPTS[:1] * 4, None).std() > 1e-3


def test_the_two_versions_of_hps_are_two_rewards_with_files_of_their_own(folder, tiny):
    published.write_hpsv2(folder, "HPS_v2.1_compressed.pt")
    assert rewards.load("hpsv2_1").name == "hpsv2_1" and "2.1" in hpsv2_1.__doc__
    assert "HPS_v2_compressed.pt of xswu/HPSv2" in refused("hpsv2")


@pytest.mark.parametrize("name", WRITE)
def test_a_picture_scores_the_same_bits_alone_and_in_company(folder, tiny, name):
    WRITE[name](folder)
    reward, images = rewards.load(name), pictures(4)
    together = reward(images, PROMPTS, None)
    alone = [reward(images[n : n + 1], PROMPTS[n : n + 1], None) for n in range(4)]
    assert together.dtype == torch.float32 and torch.equal(together, torch.cat(alone))
    reward.place(Placement(rows=3))
    assert torch.allclose(reward(images, PROMPTS, None), together, atol=1e-5)


@pytest.mark.parametrize("name", WRITE)
def test_rounding_to_bfloat16_is_another_version(folder, tiny, name):
    WRITE[name](folder)
    exact, rounded = rewards.load(name), rewards.load(name, Placement(dtype="bfloat16"))
    assert rounded.version == f"{exact.version}-bfloat16"
    scores = [reward(pictures(4), PROMPTS, None) for reward in (exact, rounded)]
    assert not torch.equal(*scores) and torch.allclose(*scores, atol=0.1)
    assert next(rounded.network.parameters()).dtype == torch.bfloat16


@pytest.mark.parametrize("name", WRITE)
def test_the_version_changes_with_any_file(folder, tiny, name):
    WRITE[name](folder)
    before = rewards.load(name).version
    repository, file = MAIN[name]
    tensors = torch.load(folder / repository / file)
    tensors = tensors["state_dict"] if name == "hpsv2" else tensors
    key = next(key for key, tensor in tensors.items() if tensor.ndim == 2)
    rewrite(folder, name, tensors | {key: tensors[key] + 1})
    assert rewards.load(name).version != before


@pytest.mark.parametrize(
    "name, key, told",
    [
        ("image_reward", "blip.visual_encoder.blocks.1.attn.qkv.weight", "ImageReward.pt does not hold"),
        ("image_reward", "blip.text_encoder.encoder.layer.0.crossattention.self.key.bias", "does not hold"),
        ("image_reward", "mlp.layers.6.weight", "does not hold"),
        ("hpsv2", QUERY_KEYS, "HPS_v2_compressed.pt does not hold"),
        ("hpsv2", "visual.proj", "does not hold"),
    ],
)
def test_a_missing_tensor_is_an_error_with_its_published_name(folder, tiny, name, key, told):
    tensors = WRITE[name](folder)
    del tensors[key]
    rewrite(folder, name, tensors)
    text = refused(name)
    assert told in text and key in text


@pytest.mark.parametrize("name", WRITE)
def test_a_tensor_that_nobody_asks_for_is_an_error_with_its_name(folder, tiny, name):
    rewrite(folder, name, WRITE[name](folder) | {"queue": torch.zeros(3), "queue_end": torch.zeros(1)})
    assert "holds queue and 1 more, which the network does not have" in refused(name)


@pytest.mark.parametrize(
    "name, key, wrong, told",
    [
        ("image_reward", "blip.visual_encoder.pos_embed", torch.zeros(1, 6, 16), "1 x 6 x 16; allowed is 1 x 5 x 16"),
        ("hpsv2", QUERY_KEYS, torch.zeros(12, 12), "is 12 x 12; allowed is 36 x 12"),
        ("hpsv2", "visual.proj", torch.zeros(8, 16), "is 8 x 16; allowed is 16 x 8"),
        ("hpsv2", "logit_scale", torch.zeros(2), "is 2; allowed is 1"),
        ("hpsv2", "ln_final.bias", torch.zeros(12, dtype=torch.int64), "is no tensor of real numbers"),
    ],
)  # fmt: skip
def test_a_tensor_of_another_shape_is_an_error_with_its_name(folder, tiny, name, key, wrong, told):
    rewrite(folder, name, WRITE[name](folder) | {key: wrong})
    text = refused(name)
    assert key in text and told in text


class Explosive:
    """Runs code when it is read with a careless loader."""

    def __reduce__(self):
        return (sys.exit, ("the file's code ran",))


@pytest.mark.parametrize("told", [{"state_dict": {"a": Explosive()}}, b"no weights", {"epoch": 3}, None])
def test_a_file_that_holds_no_weights_is_refused_and_no_code_of_it_runs(folder, tiny, told):
    published.write_hpsv2(folder)
    path = published.save(folder, *MAIN["hpsv2"], told)
    if isinstance(told, bytes):
        path.write_bytes(told)
    assert "HPS_v2_compressed.pt" in refused("hpsv2")


def test_sizes_and_vocabularies_that_do_not_fit_are_named(folder, tiny):
    published.write_image_reward(folder)
    vocabulary = folder / image_reward.WORDS / "vocab.txt"
    vocabulary.write_text(vocabulary.read_text() + "zebra\n")
    assert "vocab.txt makes 16 tokens; allowed are 15" in refused("image_reward")
    sizes = folder / image_reward.REPOSITORY / "med_config.json"
    sizes.write_text("{}")
    assert "med_config.json does not hold vocab_size" in refused("image_reward")
    published.write_hpsv2(folder)
    merges = folder / hpsv2.WORDS / "vocab.json"
    merges.write_text(merges.read_text().replace("<|endoftext|>", "<|end|>"))
    assert "vocab.json makes" in refused("hpsv2")


def test_without_files_the_error_says_what_to_download(folder, monkeypatch, tmp_path):
    told = refused("image_reward")
    assert "ImageReward.pt of THUDM/ImageReward is not on this machine" in told
    assert f"hf download THUDM/ImageReward ImageReward.pt --local-dir {folder}/THUDM/ImageReward" in told
    monkeypatch.delenv("COGRPO_REWARD_FILES")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    assert "'hf download xswu/HPSv2 HPS_v2_compressed.pt'." in refused("hpsv2")


def test_files_are_found_in_the_hubs_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("COGRPO_REWARD_FILES", raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--xswu--HPSv2" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "HPS_v2_compressed.pt").write_bytes(b"weights")
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    assert files.find("xswu/HPSv2", "HPS_v2_compressed.pt").read_bytes() == b"weights"


def test_the_range_of_image_reward_is_what_its_head_can_reach(folder, tiny):
    published.write_image_reward(folder)
    reward = rewards.load("image_reward")
    norm = reward.network["text"].encoder.layer[-1].output.LayerNorm
    best = reward.weight * norm.weight.double()
    best = best - best.mean()
    z = best / best.norm() * math.sqrt(len(best))  # of mean 0 and deviation 1, as a layer norm makes it
    top = float(reward.weight @ (norm.weight.double() * z + norm.bias.double())) + reward.bias
    assert top == pytest.approx(reward.range[1])
    scores = Mixer([reward], {"image_reward": 1.0}, ScoreCache()).scores(pictures(4), PROMPTS)["image_reward"]
    assert reward.range[0] < scores.min() and scores.max() < reward.range[1]


def test_a_prompt_is_cleaned_as_the_package_does_and_cut_before_its_end_mark(folder, tiny):
    published.write_hpsv2(folder)
    reward = rewards.load("hpsv2")
    plain, *others = reward.tokens(
        ["a dog & 'cat'", "A  dog &amp; ‘cat’", " a\tdog &amp;amp; 'cat' ", "a dog &amp; â€˜catâ€™"]
    )
    assert all(torch.equal(plain, other) for other in others)
    long = reward.tokens(["dog " * 200])[0]
    assert len(long) == 77 and long[-1] == published.VOCABULARY - 1 and (long[1:-1] == long[1]).all()


def grey(value: float) -> list[float]:
    return [(value - mean) / deviation for mean, deviation in zip(MEAN, DEVIATION, strict=True)]


def test_a_wide_picture_is_cropped_for_one_reward_and_boxed_for_the_other():
    image = torch.full((1, 10, 30, 3), 255, dtype=torch.uint8)
    image[:, :, 10:20] = 51
    middle = centre_crop(image, 10)
    assert torch.allclose(middle, torch.tensor(grey(0.2)).view(3, 1, 1).expand(1, 3, 10, 10))
    boxed = letterbox(image, 30)
    black = torch.tensor(grey(0.0)).view(3, 1, 1)
    assert torch.allclose(boxed[0, :, :10], black.expand(3, 10, 30)) and torch.allclose(
        boxed[0, :, 20:], black.expand(3, 10, 30)
    )
    assert torch.allclose(boxed[0, :, 10:20, :10], torch.tensor(grey(1.0)).view(3, 1, 1).expand(3, 10, 10))


# The green of a 6 x 9 picture brought to 4 x 4 by torchvision 0.29.1, as each package asks it to.
CROPPED = [
    [-0.1463, 0.7992, -0.2363, 0.7542], [0.8593, -0.3414, 1.3995, 1.2945],
    [0.5141, 0.2589, -0.1313, -0.9117], [-0.4014, 1.3995, 0.2289, -0.0562],
]  # fmt: skip
BOXED = [
    [-0.3476, 0.3417, 0.5802, 0.5275], [1.0588, 0.1939, 0.5084, 0.2183],
    [0.0818, 0.7325, -0.1157, -0.3533], [-1.7521, -1.7521, -1.7521, -1.7521],
]  # fmt: skip


@pytest.mark.parametrize("prepare, told", [(centre_crop, CROPPED), (letterbox, BOXED)])
def test_pictures_are_resized_as_torchvision_does_it(prepare, told):
    image = (torch.arange(6 * 9 * 3).reshape(1, 6, 9, 3) ** 2 * 7 % 256).to(torch.uint8)
    assert torch.allclose(prepare(image, 4)[0, 1], torch.tensor(told), atol=1e-4)


class Counting(NetworkReward):
    """Notes where its network is sent, and in how many calls of how many pictures it is asked."""

    name, range = "counting", (0.0, 1.0)

    def __init__(self, folder: Path) -> None:
        (folder / "weights").write_bytes(b"weights")
        super().__init__(nn.Linear(1, 1), [folder / "weights"])
        self.asked: list[object] = []
        move = self.network.to
        self.network.to = lambda *to: (self.asked.append(to), move(*to))

    def scores(self, images, prompts):
        assert len(images) == len(prompts)
        self.asked.append(len(images))
        return self.seen(images).mean((1, 2, 3)).double()


def test_a_parked_network_is_brought_for_the_calls_and_sent_back(tmp_path):
    reward = Counting(tmp_path)
    place = (torch.device("cpu"), torch.float32)
    reward.place(Placement(device="cpu", rows=2))
    assert reward(torch.zeros(3, 4, 4, 3), PROMPTS[:3], None).shape == (3,)
    assert reward.asked == [place, 2, 2]
    reward.asked.clear()
    reward.place(Placement(device="cpu", park=True, dtype="bfloat16"))
    reward(torch.zeros(3, 4, 4, 3), PROMPTS[:3], None)
    assert reward.asked == [(torch.device("cpu"), torch.bfloat16), 8, ("cpu",)]


def test_auto_is_the_gpu_where_there_is_one(tmp_path, monkeypatch):
    reward = Counting(tmp_path)
    for there, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda there=there: there)
        assert reward.device == torch.device(device)
    reward.place(Placement(device="cuda:1"))
    assert reward.device == torch.device("cuda", 1)


def test_the_configuration_of_a_round_places_its_rewards(tmp_path, monkeypatch):
    path = tmp_path / "round.yaml"
    path.write_text("rewards: {verifier: 1}\nreward_placement: {device: gpu}\n")
    with pytest.raises(ConfigError, match=r"reward_placement\.device"):
        load_config(path, TrainerConfig)
    path.write_text(
        "rewards: {counting: 1}\nreward_placement: {device: cpu, dtype: bfloat16, rows: 4, park: true}\n"
    )
    monkeypatch.setattr(rewards, "_names", lambda: ["counting"])
    monkeypatch.setattr(rewards, "_module", lambda name: SimpleNamespace(load=lambda: Counting(tmp_path)))
    told = load_config(path, TrainerConfig)
    reward = Mixer.load(told.rewards, ScoreCache(), None, told.reward_placement).rewards[0]
    assert reward.placement == Placement(device="cpu", dtype="bfloat16", rows=4, park=True)


def test_the_lists_of_rewards_load_no_large_library():
    code = (
        "import sys; from cogrpo import rewards; told = rewards.available();"
        "assert {'image_reward', 'hpsv2', 'hpsv2_1'} <= set(told) and all(told.values());"
        "assert not {'transformers', 'ftfy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_every_reward_is_documented():
    text = (ROOT / "docs" / "rewards.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in rewards.available())
