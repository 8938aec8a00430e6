"""ImageReward: what people would say of the picture and its prompt, learned from 137,000 expert comparisons.

Xu et al. 2023 (arXiv 2304.05977). A BLIP network reads the prompt while it looks at the picture; a head of
linear layers turns the first token into a number, brought to mean 0 and deviation 1 over the authors' pictures.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from cogrpo.rewards.base import Reward, RewardError
from cogrpo.rewards.hub import files
from cogrpo.rewards.hub.network import NetworkReward
from cogrpo.rewards.hub.pixels import centre_crop
from cogrpo.rewards.hub.weights import Origin, PublishedWeights

if TYPE_CHECKING:
    from transformers import BertTokenizer

REPOSITORY, WORDS = "THUDM/ImageReward", "google-bert/bert-base-uncased"
LONGEST = 35  # tokens of a prompt; the rest is cut off
MEAN, DEVIATION = 0.16717362830052426, 1.0333394966054072  # of the head's numbers
VISION: dict[str, Any] = {  # ViT-L/16 at 224 pixels
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "image_size": 224, "patch_size": 16, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
}  # fmt: skip
TEXT = (  # what the network takes from med_config.json
    "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size",
    "max_position_embeddings", "hidden_act", "layer_norm_eps",
)  # fmt: skip
# The contrastive projections of BLIP's training, and numbers that count positions.
UNUSED = [f"blip.{side}_proj.{kind}" for side in ("vision", "text") for kind in ("weight", "bias")]
UNUSED.append("blip.text_encoder.embeddings.position_ids")
RENAMED = (  # of the picture's side, ours -> published
    ("embeddings.class_embedding", "cls_token"),
    ("embeddings.position_embedding", "pos_embed"),
    ("embeddings.patch_embedding", "patch_embed.proj"),
    ("post_layernorm", "norm"),
    ("encoder.layers", "blocks"),
    ("self_attn.projection", "attn.proj"),
    ("self_attn", "attn"),
    ("layer_norm", "norm"),
)


class ImageReward(NetworkReward):
    """range: what the head can say of a layer-normed vector, found from the weights."""

    name = "image_reward"

    def __init__(self, vision: Mapping[str, Any] = VISION) -> None:
        from transformers import BlipTextConfig, BlipVisionConfig, BlipVisionModel
        from transformers.models.blip.modeling_blip_text import BlipTextModel

        weights, sizes = (files.find(REPOSITORY, name) for name in ("ImageReward.pt", "med_config.json"))
        vocabulary = files.find(WORDS, "vocab.txt")
        # `is_decoder` gives the layers their cross attention; the words are still read in both directions.
        marks = {
            "bos_token_id": None,
            "sep_token_id": None,
        }  # numbers for writing text, which is not done here
        told = BlipTextConfig(
            **_sizes(sizes) | marks, encoder_hidden_size=vision["hidden_size"], is_decoder=True
        )
        published = PublishedWeights(weights)
        with torch.device("meta"):
            pictures = BlipVisionModel(BlipVisionConfig(**vision))
            text = BlipTextModel(told, add_pooling_layer=False)
            head = _head(text.config.hidden_size)
        published.fill(pictures, _origin)
        published.fill(text, lambda name: Origin(f"blip.text_encoder.{name}"))
        published.fill(head, lambda name: Origin(f"mlp.layers.{name}"))
        published.close(UNUSED)
        self.tokenizer = _tokenizer(vocabulary, told.vocab_size)
        self.size = pictures.config.image_size
        self.weight, self.bias = _affine(head)
        self.range = _range(self.weight, self.bias, text.encoder.layer[-1].output.LayerNorm)
        super().__init__(nn.ModuleDict({"vision": pictures, "text": text}), (weights, sizes, vocabulary))

    def scores(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        seen = self.network["vision"](self.seen(centre_crop(images, self.size))).last_hidden_state
        words = self.tokenizer(
            list(prompts), padding="max_length", truncation=True, max_length=LONGEST, return_tensors="pt"
        ).to(self.device)
        read = self.network["text"](
            input_ids=words.input_ids, attention_mask=words.attention_mask, encoder_hidden_states=seen
        ).last_hidden_state
        return read[:, 0].double().cpu() @ self.weight + self.bias


def load() -> Reward:
    return ImageReward()


def _sizes(path: Path) -> dict[str, Any]:
    """Of the text side. Raises RewardError with the name of what is missing."""
    told = json.loads(path.read_text(encoding="utf-8"))
    for name in TEXT:
        if name not in told:
            raise RewardError(f"reward: {path.name} does not hold {name}.")
    return {name: told[name] for name in TEXT}


def _origin(name: str) -> Origin:
    for ours, published in RENAMED:
        name = name.replace(ours, published)
    return Origin(f"blip.visual_encoder.{name}")


def _head(width: int) -> nn.Sequential:
    """The layers of the head, with the dropout that gives them their published numbers."""
    return nn.Sequential(
        nn.Linear(width, 1024), nn.Dropout(), nn.Linear(1024, 128), nn.Dropout(), nn.Linear(128, 64), nn.Dropout(),
        nn.Linear(64, 16), nn.Linear(16, 1),
    )  # fmt: skip


@torch.no_grad()
def _affine(head: nn.Sequential) -> tuple[Tensor, float]:
    """The head as weight float64 [width] and bias: no layer bends, so all of them are one, the scale included."""
    layers = [layer for layer in head if isinstance(layer, nn.Linear)]
    width = layers[0].in_features
    weight, bias = torch.eye(width, dtype=torch.float64), torch.zeros(width, dtype=torch.float64)
    for layer in layers:
        weight, bias = layer.weight.double() @ weight, layer.weight.double() @ bias + layer.bias.double()
    return weight[0] / DEVIATION, (float(bias) - MEAN) / DEVIATION


@torch.no_grad()
def _range(weight: Tensor, bias: float, norm: nn.LayerNorm) -> tuple[float, float]:
    """Lowest and highest score: what the head sees is scale * z + shift with mean 0 and |z| <= sqrt(width)."""
    steep = weight * norm.weight.double()
    middle = float(weight @ norm.bias.double()) + bias
    reach = float((steep - steep.mean()).norm()) * math.sqrt(len(weight))
    return middle - reach, middle + reach


def _tokenizer(vocabulary: Path, size: int) -> BertTokenizer:
    """BERT's words and the two marks that BLIP added. Raises RewardError where they are not `size`."""
    from transformers import BertTokenizer
    from transformers.models.bert.tokenization_bert import load_vocab

    tokenizer = BertTokenizer(load_vocab(vocabulary))
    tokenizer.add_special_tokens({"bos_token": "[DEC]"})
    tokenizer.add_tokens(["[ENC]"], special_tokens=True)
    if len(tokenizer) != size:
        raise RewardError(f"reward: {vocabulary.name} makes {len(tokenizer)} tokens; allowed are {size}.")
    return tokenizer
