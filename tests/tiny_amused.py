"""aMUSEd with random weights and a few thousand parameters, on disk in the layout of the published repositories."""

from __future__ import annotations

import json
import string
from pathlib import Path

import torch
from diffusers import AmusedPipeline, AmusedScheduler, UVit2DModel, VQModel
from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

CODES, MASK, WORDS = 40, 47, 16


def tokenizer(folder: Path) -> CLIPTokenizer:
    """One that knows single letters, from the files in which CLIP's is published."""
    folder.mkdir(parents=True)
    letters = list(string.ascii_lowercase)
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    special = {"bos_token": "<|startoftext|>", "eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    about = {"tokenizer_class": "CLIPTokenizer", "model_max_length": WORDS, **special}
    about["pad_token"] = "<|endoftext|>"
    (folder / "vocab.json").write_text(json.dumps({word: number for number, word in enumerate(words)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return CLIPTokenizer.from_pretrained(folder, local_files_only=True)


def transformer(side: int, resampled: bool, **larger: int) -> UVit2DModel:
    """resampled: with the layers that the 512 pixel model has more. Weights are large, so that everything matters."""
    sizes = {"hidden_size": 16, "in_channels": 8, "block_out_channels": 8, "intermediate_size": 24}
    torch.manual_seed(0)
    network = UVit2DModel(
        **sizes | {"num_hidden_layers": 2, "num_attention_heads": 2, "codebook_size": CODES, "vocab_size": MASK + 1}
        | larger, cond_embed_dim=12, micro_cond_encode_dim=4, micro_cond_embed_dim=20, encoder_hidden_size=16,
        num_res_blocks=1, block_num_heads=2, sample_size=side, downsample=resampled, upsample=resampled,
    )  # fmt: skip
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim > 1:
                parameter.mul_(2)
    return network.eval()


def pixels(codes: int = CODES) -> VQModel:
    """Two pixels a token."""
    torch.manual_seed(1)
    return VQModel(
        block_out_channels=(8, 8), down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2, latent_channels=4, num_vq_embeddings=codes, norm_num_groups=4,
        lookup_from_codebook=True, mid_block_add_attention=False, force_upcast=True,
    ).eval()  # fmt: skip


def text_encoder(words: int, **other: int) -> CLIPTextModelWithProjection:
    torch.manual_seed(2)
    config = CLIPTextConfig(
        vocab_size=words, intermediate_size=32, num_hidden_layers=3, num_attention_heads=2, initializer_range=0.5,
        initializer_factor=5.0, **{"hidden_size": 16, "projection_dim": 12, "max_position_embeddings": WORDS}
        | {"bos_token_id": words - 2, "eos_token_id": words - 1, "pad_token_id": words - 1} | other,
    )  # fmt: skip
    return CLIPTextModelWithProjection(config).eval()


def write(folder: Path, side: int = 4, resampled: bool = False) -> AmusedPipeline:
    """Writes a repository; returns the pipeline that reads it."""
    words = tokenizer(folder / "tokenizer")
    parts = (pixels(), words, text_encoder(len(words)), transformer(side, resampled))
    for name, part in zip(("vqvae", "text_encoder", "transformer"), (parts[0], *parts[2:]), strict=True):
        part.save_pretrained(folder / name)
    scheduler = AmusedScheduler(mask_token_id=MASK)
    scheduler.save_pretrained(folder / "scheduler")
    pipeline = AmusedPipeline(*parts, scheduler)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline
