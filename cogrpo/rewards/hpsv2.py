"""HPS v2.0: how well people would like the picture for its prompt, learned from 798,000 of their choices.

Wu et al. 2023 (arXiv 2306.09341). A CLIP network (ViT-H/14) that was tuned on the choices; the score is the cosine of
picture and prompt, about 0.2 to 0.35 for pictures of today's models.
"""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from cogrpo.rewards.base import Reward, RewardError
from cogrpo.rewards.hub import files
from cogrpo.rewards.hub.network import NetworkReward
from cogrpo.rewards.hub.pixels import letterbox
from cogrpo.rewards.hub.weights import Origin, PublishedWeights

if TYPE_CHECKING:
    from transformers import CLIPTokenizer

REPOSITORY, WORDS = "xswu/HPSv2", "openai/clip-vit-large-patch14"
UNIT = 0.05  # pictures of one prompt differ by about .003 to .01
LONGEST = 77  # tokens of a prompt with its two marks; the rest is cut off
SIZES: dict[str, Any] = {  # ViT-H/14
    "projection_dim": 1024,
    "vision_config": {
        "hidden_size": 1280, "num_hidden_layers": 32, "num_attention_heads": 16, "intermediate_size": 5120,
        "image_size": 224, "patch_size": 14, "hidden_act": "gelu",
    },
    "text_config": {
        "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
        "vocab_size": 49408, "max_position_embeddings": LONGEST, "hidden_act": "gelu",
    },
}  # fmt: skip
ALONE = {  # ours -> published, of what is in no layer
    "logit_scale": Origin("logit_scale"),
    "visual_projection.weight": Origin("visual.proj", transposed=True),
    "text_projection.weight": Origin("text_projection", transposed=True),
    "vision_model.embeddings.class_embedding": Origin("visual.class_embedding"),
    "vision_model.embeddings.patch_embedding.weight": Origin("visual.conv1.weight"),
    "vision_model.embeddings.position_embedding.weight": Origin("visual.positional_embedding"),
    "text_model.embeddings.token_embedding.weight": Origin("token_embedding.weight"),
    "text_model.embeddings.position_embedding.weight": Origin("positional_embedding"),
}
RENAMED = (  # ours -> published
    ("vision_model.pre_layrnorm", "visual.ln_pre"),
    ("vision_model.post_layernorm", "visual.ln_post"),
    ("text_model.final_layer_norm", "ln_final"),
    ("vision_model.encoder.layers", "visual.transformer.resblocks"),
    ("text_model.encoder.layers", "transformer.resblocks"),
    ("self_attn", "attn"),
    ("layer_norm", "ln_"),
    ("mlp.fc1", "mlp.c_fc"),
    ("mlp.fc2", "mlp.c_proj"),
)
THIRDS = {"q_proj": 0, "k_proj": 1, "v_proj": 2}


class HumanPreferenceScore(NetworkReward):
    range = (-1.0, 1.0)
    unit = UNIT

    def __init__(self, name: str, file: str, sizes: Mapping[str, Any] = SIZES) -> None:
        from transformers import CLIPConfig, CLIPModel

        self.name = name
        weights = files.find(REPOSITORY, file)
        words = [files.find(WORDS, part) for part in ("vocab.json", "merges.txt")]
        self.tokenizer = _tokenizer(*words, size=sizes["text_config"]["vocab_size"])
        # The prompt is read off at its end mark, whose number the library must know.
        marks = {"bos_token_id": self.tokenizer.bos_token_id, "eos_token_id": self.tokenizer.eos_token_id}
        text = {**sizes["text_config"], **marks}
        with torch.device("meta"):
            network = CLIPModel(CLIPConfig(**{**sizes, "text_config": text}))
        published = PublishedWeights(weights, inside="state_dict")
        published.fill(network, _origin)
        published.close(unused=())
        self.size = network.config.vision_config.image_size
        super().__init__(network, (weights, *words))

    def scores(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        clip = self.network
        seen = clip.vision_model(self.seen(letterbox(images, self.size))).pooler_output
        read = clip.text_model(self.tokens(prompts).to(self.device)).pooler_output
        picture, text = clip.visual_projection(seen).float(), clip.text_projection(read).float()
        return functional.cosine_similarity(picture, text)

    def tokens(self, prompts: Sequence[str]) -> Tensor:
        """int64 [B, 77]. What follows the end mark is seen by no other token, so its number says nothing."""
        cleaned = [_clean(prompt) for prompt in prompts]
        return self.tokenizer(
            cleaned, padding="max_length", truncation=True, max_length=LONGEST, return_tensors="pt"
        ).input_ids


def load() -> Reward:
    return HumanPreferenceScore("hpsv2", "HPS_v2_compressed.pt")


def _clean(prompt: str) -> str:
    """As the package reads a prompt: broken encodings mended, curly quotes made straight, entities of HTML resolved."""
    import ftfy

    return html.unescape(html.unescape(ftfy.fix_text(prompt)))


def _origin(name: str) -> Origin:
    if name in ALONE:
        return ALONE[name]
    for ours, published in RENAMED:
        name = name.replace(ours, published)
    for part, third in THIRDS.items():
        if f"attn.{part}." in name:
            return Origin(name.replace(f"{part}.", "in_proj_"), third)
    return Origin(name)


def _tokenizer(vocabulary: Path, merges: Path, size: int) -> CLIPTokenizer:
    """Raises RewardError where it does not make `size` tokens, the end mark last."""
    from transformers import CLIPTokenizer

    told = json.loads(vocabulary.read_text(encoding="utf-8"))
    lines = merges.read_text(encoding="utf-8").splitlines()
    pairs = [tuple(line.split()) for line in lines if line and not line.startswith("#version")]
    tokenizer = CLIPTokenizer(told, pairs)
    if (len(tokenizer), tokenizer.eos_token_id) != (size, size - 1):
        raise RewardError(
            f"reward: {vocabulary.name} makes {len(tokenizer)} tokens; allowed are {size}, the end mark last."
        )
    return tokenizer
