"""`make test-rewards`: our ImageReward and HPS v2 against the packages that published them, at full published shape.

The same random weights go through the package and through `cogrpo.rewards`; no published weight is needed. Fails where
a score differs by 1e-4 or more, or where pictures or words are prepared otherwise. Takes minutes and 9 GB of memory.
"""

import argparse
import json
import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from cogrpo import rewards
from cogrpo.rewards import hpsv2, image_reward
from cogrpo.rewards.base import Placement, Reward
from cogrpo.rewards.hub.pixels import centre_crop, letterbox
from tests import reference_packages
from tests.published_rewards import random_weights, save

ALLOWED = 1e-4
SIZES = ((256, 256), (224, 224), (512, 384), (180, 320), (333, 97))  # height, width
ODD_SIZES = ((225, 223), (224, 448), (1, 1), (1024, 1024), (100, 199), (37, 512))
PROMPTS = (
    "a red dog", "two cats to the left of a green house, oil on canvas", "An astronaut riding a horse on Mars, 4k",
    "a photo of a bench", "portrait of a woman with a pearl earring, by Vermeer", "it's a café & a “bar” &amp; more",
    "Ünïcödé: 北京 street, 日本", "a, b; c! d? (e) [f] 1234 #hashtag @you", "🙂 a smiling emoji on a blue plate",
    "a very long prompt about a castle in the mountains " * 12,
)  # fmt: skip
MED = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": 30524, "hidden_size": 768,
    "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072, "max_position_embeddings": 512,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "initializer_range": 0.02, "pad_token_id": 0, "type_vocab_size": 2, "encoder_width": 768,
    "add_cross_attention": True,
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--wheel", type=Path, required=True, help="of open_clip_torch, for its byte pairs")
    parser.add_argument("--json", type=Path, help="where to write the figures")
    parser.add_argument("--only", choices=["image_reward", "hpsv2"])
    asked = parser.parse_args()
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["COGRPO_REWARD_FILES"] = folder
        for name, compare in (("image_reward", compare_image_reward), ("hpsv2", compare_hpsv2)):
            if asked.only in (None, name):
                told[name] = compare(Path(folder), asked.wheel)
                print(json.dumps({name: told[name]}, indent=1), flush=True)
    if asked.json:
        asked.json.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    for name, figures in told.items():
        assert figures["greatest_difference"] < ALLOWED, name
        # A picture that came in wrongly would cost about as much as another picture: it must be far from that.
        assert figures["greatest_difference"] < figures["spread_over_pictures"] / 1000, name


def compare_image_reward(folder: Path, wheel: Path) -> dict[str, object]:
    sizes = folder / image_reward.REPOSITORY / "med_config.json"
    sizes.parent.mkdir(parents=True)
    sizes.write_text(json.dumps(MED))
    words = folder / image_reward.WORDS / "vocab.txt"
    words.parent.mkdir(parents=True)
    words.write_text("\n".join(_words()) + "\n", encoding="utf-8")
    package = reference_packages.image_reward(words)
    network = package.ImageReward(device="cpu", med_config=str(sizes))
    real = {key: tensor.shape for key, tensor in network.state_dict().items() if tensor.is_floating_point()}
    path = save(
        folder, image_reward.REPOSITORY, "ImageReward.pt", network.state_dict() | random_weights(real)
    )
    network = package.load(str(path), device="cpu", med_config=str(sizes))
    for height, width in SIZES + ODD_SIZES:
        picture = _pictures(1, height, width)
        theirs = network.preprocess(Image.fromarray(picture[0].numpy()))
        assert torch.equal(theirs, centre_crop(picture, 224)[0]), (height, width)

    def theirs(picture: torch.Tensor, prompt: str) -> float:
        return network.score(prompt, Image.fromarray(picture.numpy()))

    return _compare("image_reward", theirs, sum(map(torch.Size.numel, real.values())))


def compare_hpsv2(folder: Path, wheel: Path) -> dict[str, object]:
    scoring = reference_packages.hpsv2(wheel)
    network, prepare = scoring.model_dict["model"], scoring.model_dict["preprocess_val"]
    _byte_pairs(folder / hpsv2.WORDS)
    shapes = {key: tensor.shape for key, tensor in network.state_dict().items()}
    path = save(folder, hpsv2.REPOSITORY, "HPS_v2_compressed.pt", {"state_dict": random_weights(shapes)})
    for height, width in SIZES + ODD_SIZES:
        picture = _pictures(1, height, width)
        theirs = prepare(Image.fromarray(picture[0].numpy()))
        assert torch.equal(theirs, letterbox(picture, 224)[0]), (height, width)
    tokenize = scoring.get_tokenizer("ViT-H-14")
    whole = scoring.score(Image.fromarray(_pictures(1, *SIZES[0])[0].numpy()), PROMPTS[0], cp=str(path))[0]

    @torch.no_grad()
    def theirs(picture: torch.Tensor, prompt: str) -> float:
        told = network(prepare(Image.fromarray(picture.numpy()))[None], tokenize([prompt]))
        return float(told["image_features"] @ told["text_features"].T)

    assert (
        abs(theirs(_pictures(1, *SIZES[0])[0], PROMPTS[0]) - float(whole)) < 1e-6
    )  # as the package's own `score`
    figures = _compare("hpsv2", theirs, sum(map(torch.Size.numel, shapes.values())))
    ours = hpsv2._tokenizer(
        *(folder / hpsv2.WORDS / name for name in ("vocab.json", "merges.txt")), size=49408
    )
    for prompt in PROMPTS:
        ids = tokenize([prompt])[0]
        count = int(ids.argmax()) + 1  # what follows the end mark is not read
        told = ours(hpsv2._clean(prompt), truncation=True, max_length=77, return_tensors="pt").input_ids[0]
        assert torch.equal(ids[:count], told[:count]), prompt
    return figures


def _compare(name: str, theirs, parameters: int) -> dict[str, object]:
    """Ten prompts over five sizes of picture, two prompts each, and one prompt over five pictures."""
    pairs = [(_pictures(2, *size), PROMPTS[2 * n : 2 * n + 2]) for n, size in enumerate(SIZES)]
    start = time.perf_counter()
    told = [[theirs(picture, prompt) for picture, prompt in zip(*pair, strict=True)] for pair in pairs]
    their_seconds = (time.perf_counter() - start) / len(PROMPTS)
    start = time.perf_counter()
    reward: Reward = rewards.load(name, Placement(device="cpu", rows=2))
    loaded = time.perf_counter() - start
    # First, so that the weights are in memory when the time is taken.
    spread = np.std(reward(_pictures(4, *SIZES[0]), PROMPTS[:1] * 4, None).tolist())
    start = time.perf_counter()
    ours = [reward(pictures, prompts, None).tolist() for pictures, prompts in pairs]
    seconds = (time.perf_counter() - start) / len(PROMPTS)
    differences = np.abs(np.subtract(told, ours))
    return {
        "parameters": parameters,
        "package": np.ravel(told).tolist(),
        "ours": np.ravel(ours).tolist(),
        "greatest_difference": float(differences.max()),
        "spread_over_pictures": float(spread),
        "range": reward.range,
        "seconds_to_load": round(loaded, 1),
        "seconds_a_picture": round(seconds, 2),
        "seconds_a_picture_of_the_package": round(their_seconds, 2),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
    }


def _pictures(count: int, height: int, width: int) -> torch.Tensor:
    """uint8 [count, height, width, 3]: coarse and fine noise, so that resizing has something to do."""
    draw = torch.Generator().manual_seed(height * width)
    coarse = torch.rand((count, 3, 4, 4), generator=draw)
    coarse = torch.nn.functional.interpolate(coarse, (height, width), mode="nearest")
    fine = torch.rand((count, 3, height, width), generator=draw)
    return ((0.7 * coarse + 0.3 * fine) * 255).to(torch.uint8).movedim(1, 3)


def _words() -> list[str]:
    """30,522 tokens in the format of BERT's vocabulary: marks, letters, pieces, and words of the prompts."""
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    text = " ".join(PROMPTS).lower()
    letters = sorted(set(text) - {" "})
    words += [*letters, *(f"##{letter}" for letter in letters)]
    words += sorted({word for word in text.split() if word.isalpha()} - set(words))
    return words + [f"[unused{n}]" for n in range(30522 - len(words))]


def _byte_pairs(folder: Path) -> None:
    """CLIP's vocab.json and merges.txt, from the one file of byte pairs that both packages read."""
    from hpsv2.src.open_clip.tokenizer import SimpleTokenizer

    folder.mkdir(parents=True)
    tokenizer = SimpleTokenizer()
    marks = {"<start_of_text>": "<|startoftext|>", "<end_of_text>": "<|endoftext|>"}
    table = {marks.get(token, token): number for token, number in tokenizer.encoder.items()}
    (folder / "vocab.json").write_text(json.dumps(table), encoding="utf-8")
    pairs = [" ".join(pair) for pair in sorted(tokenizer.bpe_ranks, key=tokenizer.bpe_ranks.get)]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *pairs]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
