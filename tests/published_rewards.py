"""Tiny files in the formats in which ImageReward and HPS v2 were published, and what their networks compute.

The networks are written here from the published names alone, in plain torch, so that a tensor which our rewards put in
the wrong place changes a score.
"""

import json
import math
from pathlib import Path

import torch
from tokenizers.pre_tokenizers import ByteLevel
from torch.nn import functional

from cogrpo.rewards import hpsv2, image_reward

VISION = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
    "image_size": 32, "patch_size": 16, "hidden_act": "gelu", "layer_norm_eps": 1e-6,
}  # fmt: skip
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "dog", "cat", "on", "##s", "two", ","]
MED = {
    "architectures": ["BertModel"], "model_type": "bert", "vocab_size": len(WORDS) + 2, "hidden_size": 12,
    "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20, "max_position_embeddings": 40,
    "hidden_act": "gelu", "layer_norm_eps": 1e-12, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1,
    "encoder_width": 7, "add_cross_attention": True,
}  # fmt: skip
MERGES = [("d", "o"), ("do", "g</w>"), ("c", "a"), ("ca", "t</w>")]
VOCABULARY = 2 * 256 + len(MERGES) + 2
CLIP = {
    "projection_dim": 8,
    "vision_config": {
        "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24,
        "image_size": 28, "patch_size": 14, "hidden_act": "gelu",
    },
    "text_config": {
        "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 20,
        "vocab_size": VOCABULARY, "max_position_embeddings": 77, "hidden_act": "gelu",
    },
}  # fmt: skip


def write_image_reward(folder: Path) -> dict[str, torch.Tensor]:
    """All files of ImageReward; returns its tensors by their published names."""
    tensors = random_weights(_blip_shapes())
    tensors["blip.text_encoder.embeddings.position_ids"] = torch.arange(40)[None]
    save(folder, image_reward.REPOSITORY, "ImageReward.pt", tensors)
    _write(folder, image_reward.REPOSITORY, "med_config.json", json.dumps(MED))
    _write(folder, image_reward.WORDS, "vocab.txt", "\n".join(WORDS) + "\n")
    return tensors


def write_hpsv2(folder: Path, name: str = "HPS_v2_compressed.pt") -> dict[str, torch.Tensor]:
    """All files of HPS v2; returns its tensors by their published names."""
    tensors = random_weights(_clip_shapes())
    save(folder, hpsv2.REPOSITORY, name, {"state_dict": tensors})
    letters = sorted(ByteLevel.alphabet())
    tokens = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in MERGES)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    table = json.dumps({token: number for number, token in enumerate(tokens)})
    _write(folder, hpsv2.WORDS, "vocab.json", table)
    _write(folder, hpsv2.WORDS, "merges.txt", "\n".join(["#version: 0.2", *(map(" ".join, MERGES))]) + "\n")
    return tensors


def save(folder: Path, repository: str, name: str, told: object) -> Path:
    path = folder / repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(told, path)
    return path


def blip_score(t: dict[str, torch.Tensor], pixels: torch.Tensor, ids: torch.Tensor, mask: torch.Tensor):
    """ImageReward [B] of pixels [B, 3, 32, 32], words int64 [B, 35] and their mask."""
    t = {key.removeprefix("blip."): tensor for key, tensor in t.items()}
    x = functional.conv2d(
        pixels, t["visual_encoder.patch_embed.proj.weight"], _bias(t, "visual_encoder.patch_embed.proj"), 16
    )
    x = torch.cat([t["visual_encoder.cls_token"].expand(len(x), -1, -1), x.flatten(2).mT], dim=1)
    x = x + t["visual_encoder.pos_embed"]
    for n in range(2):
        at = f"visual_encoder.blocks.{n}"
        q, k, v = _linear(t, f"{at}.attn.qkv", _norm(t, f"{at}.norm1", x, 1e-6)).chunk(3, dim=2)
        x = x + _linear(t, f"{at}.attn.proj", _attend(q, k, v, 2))
        x = x + _linear(
            t, f"{at}.mlp.fc2", functional.gelu(_linear(t, f"{at}.mlp.fc1", _norm(t, f"{at}.norm2", x, 1e-6)))
        )
    seen = _norm(t, "visual_encoder.norm", x, 1e-6)
    at = "text_encoder.embeddings"
    y = t[f"{at}.word_embeddings.weight"][ids] + t[f"{at}.position_embeddings.weight"][: ids.shape[1]]
    y = _norm(t, f"{at}.LayerNorm", y, 1e-12)
    hidden = torch.where(mask.bool(), 0.0, -10000.0)[:, None, None]
    for n in range(2):
        at = f"text_encoder.encoder.layer.{n}"
        for part, looked, away in (("attention", y, hidden), ("crossattention", seen, 0)):
            looked = y if part == "attention" else seen
            q, k, v = (_linear(t, f"{at}.{part}.self.{name}", of)
                       for name, of in (("query", y), ("key", looked), ("value", looked)))  # fmt: skip
            new = _linear(t, f"{at}.{part}.output.dense", _attend(q, k, v, 3, away))
            y = _norm(t, f"{at}.{part}.output.LayerNorm", new + y, 1e-12)
        new = _linear(t, f"{at}.output.dense", functional.gelu(_linear(t, f"{at}.intermediate.dense", y)))
        y = _norm(t, f"{at}.output.LayerNorm", new + y, 1e-12)
    z = y[:, 0]
    for n in (0, 2, 4, 6, 7):
        z = _linear(t, f"mlp.layers.{n}", z)
    return (z[:, 0] - 0.16717362830052426) / 1.0333394966054072


def clip_score(t: dict[str, torch.Tensor], pixels: torch.Tensor, ids: torch.Tensor):
    """HPS v2 [B] of pixels [B, 3, 28, 28] and words int64 [B, 77], of which the end mark is the greatest."""
    x = functional.conv2d(pixels, t["visual.conv1.weight"], None, 14).flatten(2).mT
    x = (
        torch.cat([t["visual.class_embedding"].expand(len(x), 1, -1), x], dim=1)
        + t["visual.positional_embedding"]
    )
    x = _norm(t, "visual.ln_pre", x, 1e-5)
    for n in range(2):
        x = _residual(t, f"visual.transformer.resblocks.{n}", x, 2, 0)
    picture = _norm(t, "visual.ln_post", x[:, 0], 1e-5) @ t["visual.proj"]
    y = t["token_embedding.weight"][ids] + t["positional_embedding"]
    later = torch.full((77, 77), -math.inf).triu(1)
    for n in range(2):
        y = _residual(t, f"transformer.resblocks.{n}", y, 3, later)
    y = _norm(t, "ln_final", y, 1e-5)[torch.arange(len(ids)), ids.argmax(1)] @ t["text_projection"]
    return (functional.normalize(picture, dim=1) * functional.normalize(y, dim=1)).sum(1)


def _residual(t, at, x, heads, away):
    normal = _norm(t, f"{at}.ln_1", x, 1e-5)
    q, k, v = functional.linear(normal, t[f"{at}.attn.in_proj_weight"], t[f"{at}.attn.in_proj_bias"]).chunk(
        3, dim=2
    )
    x = x + _linear(t, f"{at}.attn.out_proj", _attend(q, k, v, heads, away))
    return x + _linear(
        t, f"{at}.mlp.c_proj", functional.gelu(_linear(t, f"{at}.mlp.c_fc", _norm(t, f"{at}.ln_2", x, 1e-5)))
    )


def _attend(q, k, v, heads, away=0):
    q, k, v = (each.unflatten(2, (heads, -1)).transpose(1, 2) for each in (q, k, v))
    weights = (q @ k.mT / math.sqrt(q.shape[-1]) + away).softmax(-1)
    return (weights @ v).transpose(1, 2).flatten(2)


def _linear(t, name, x):
    return functional.linear(x, t[f"{name}.weight"], _bias(t, name))


def _bias(t, name):
    return t[f"{name}.bias"]


def _norm(t, name, x, eps):
    return functional.layer_norm(x, x.shape[-1:], t[f"{name}.weight"], _bias(t, name), eps)


def random_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights that let every part of the network act: near 1 in norms, of unit gain in products, biases not 0."""
    draw = torch.Generator().manual_seed(0)
    made = {}
    for name, shape in shapes.items():
        near = torch.randn(shape, generator=draw)
        norm = name.endswith(".weight") and len(shape) == 1
        gain = 1 / math.sqrt(math.prod(shape[1:])) if len(shape) in (2, 4) and "embed" not in name else 0.3
        made[name] = 1 + 0.3 * near if norm else gain * near
    return made


def _clip_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (77, 12), "text_projection": (12, 8), "logit_scale": (),
        "visual.class_embedding": (16,), "visual.positional_embedding": (5, 16), "visual.proj": (16, 8),
        "visual.conv1.weight": (16, 3, 14, 14), "token_embedding.weight": (VOCABULARY, 12),
    }  # fmt: skip
    for name, width in (("visual.ln_pre", 16), ("visual.ln_post", 16), ("ln_final", 12)):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for side, width, inner in (("visual.transformer", 16, 24), ("transformer", 12, 20)):
        for n in range(2):
            at = f"{side}.resblocks.{n}"
            shapes |= {
                f"{at}.attn.in_proj_weight": (3 * width, width),
                f"{at}.attn.in_proj_bias": (3 * width,),
            }
            for name in ("ln_1", "ln_2"):
                shapes |= {f"{at}.{name}.weight": (width,), f"{at}.{name}.bias": (width,)}
            shapes |= _dense(f"{at}.attn.out_proj", width, width) | _dense(f"{at}.mlp.c_fc", width, inner)
            shapes |= _dense(f"{at}.mlp.c_proj", inner, width)
    return shapes


def _blip_shapes() -> dict[str, tuple[int, ...]]:
    at = "blip.visual_encoder"
    shapes: dict[str, tuple[int, ...]] = {
        f"{at}.cls_token": (1, 1, 16), f"{at}.pos_embed": (1, 5, 16), f"{at}.patch_embed.proj.bias": (16,),
        f"{at}.patch_embed.proj.weight": (16, 3, 16, 16), f"{at}.norm.weight": (16,), f"{at}.norm.bias": (16,),
    }  # fmt: skip
    for n in range(2):
        block = f"{at}.blocks.{n}"
        for name in ("norm1", "norm2"):
            shapes |= {f"{block}.{name}.weight": (16,), f"{block}.{name}.bias": (16,)}
        shapes |= _dense(f"{block}.attn.qkv", 16, 48) | _dense(f"{block}.attn.proj", 16, 16)
        shapes |= _dense(f"{block}.mlp.fc1", 16, 24) | _dense(f"{block}.mlp.fc2", 24, 16)
    at = "blip.text_encoder.embeddings"
    shapes |= {
        f"{at}.word_embeddings.weight": (len(WORDS) + 2, 12),
        f"{at}.position_embeddings.weight": (40, 12),
    }
    shapes |= {f"{at}.LayerNorm.weight": (12,), f"{at}.LayerNorm.bias": (12,)}
    for n in range(2):
        layer = f"blip.text_encoder.encoder.layer.{n}"
        for part, looked in (("attention", 12), ("crossattention", 16)):
            for name, width in (("query", 12), ("key", looked), ("value", looked)):
                shapes |= _dense(f"{layer}.{part}.self.{name}", width, 12)
            shapes |= _dense(f"{layer}.{part}.output.dense", 12, 12)
            shapes |= {f"{layer}.{part}.output.LayerNorm.{kind}": (12,) for kind in ("weight", "bias")}
        shapes |= _dense(f"{layer}.intermediate.dense", 12, 20) | _dense(f"{layer}.output.dense", 20, 12)
        shapes |= {f"{layer}.output.LayerNorm.{kind}": (12,) for kind in ("weight", "bias")}
    shapes |= _dense("blip.vision_proj", 16, 256) | _dense("blip.text_proj", 12, 256)
    sizes = (12, 1024, 128, 64, 16, 1)
    for n, before, after in zip((0, 2, 4, 6, 7), sizes, sizes[1:], strict=False):
        shapes |= _dense(f"mlp.layers.{n}", before, after)
    return shapes


def _dense(name: str, before: int, after: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (after, before), f"{name}.bias": (after,)}


def _write(folder: Path, repository: str, name: str, text: str) -> None:
    path = folder / repository / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
