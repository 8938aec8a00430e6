"""Meissonic with random weights and a few thousand parameters, on disk in the layout of the published repository."""

from __future__ import annotations

import json
from pathlib import Path

import tiny_amused
import torch
from safetensors.torch import save_file

from cogrpo.models.meissonic import Transformer, TransformerConfig

CODES, MASK, SIDE, WORDS = 40, 47, 8, tiny_amused.WORDS
# As the repository says it; its own numbers are in meissonic_parameters.json.
CONFIG = {
    "_class_name": "Transformer2DModel", "_diffusers_version": "0.30.2", "attention_head_dim": 16,
    "axes_dims_rope": [4, 6, 6], "codebook_size": CODES, "downsample": True, "guidance_embeds": False,
    "in_channels": 64, "joint_attention_dim": 24, "num_attention_heads": 2, "num_layers": 1,
    "num_single_layers": 2, "patch_size": 1, "pooled_projection_dim": 32, "upsample": True, "vocab_size": MASK + 1,
}  # fmt: skip


def transformer(**other: object) -> Transformer:
    """Its weights are large, so that everything matters."""
    torch.manual_seed(0)
    network = Transformer(TransformerConfig.model_validate(CONFIG | other))
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            scale = 0.3 if parameter.ndim == 1 else 1.5 * parameter[0].numel() ** -0.5
            parameter.normal_(float("norm" in name and parameter.ndim == 1), scale)
    return network.eval()


def write(folder: Path, network: Transformer | None = None) -> None:
    """Writes a repository."""
    tokenizer = tiny_amused.tokenizer(folder / "tokenizer")
    sizes = {"hidden_size": 24, "projection_dim": 32}
    marks = {
        "bos_token_id": 0,
        "eos_token_id": 2,
        "pad_token_id": 1,
    }  # as published: not those of the tokenizer
    tiny_amused.text_encoder(len(tokenizer), **sizes, **marks).save_pretrained(folder / "text_encoder")
    tiny_amused.pixels().save_pretrained(folder / "vqvae")
    told = (transformer() if network is None else network).state_dict()
    for part, name, config in (
        ("transformer", "config.json", CONFIG),
        ("scheduler", "scheduler_config.json", {"_class_name": "Scheduler", "mask_token_id": MASK}),
    ):
        (folder / part).mkdir()
        (folder / part / name).write_text(json.dumps(config))
    save_file(told, folder / "transformer" / "diffusion_pytorch_model.safetensors")
