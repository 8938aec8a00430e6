"""Adapter of Meissonic (Bai et al. 2024, arXiv 2410.08261): 64 x 64 tokens of 8,192 codes, read to CLIP-H.

Neither diffusers nor transformers has its network. `Transformer` is written from what was published of it: the
configuration and the names and shapes of its parameters (docs/models.md). Shapes: B rows, N tokens, L words, C
channels.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from cogrpo.config import ConfigError, load_config, validated
from cogrpo.models import FOLDER
from cogrpo.models.base import Condition, ModelError
from cogrpo.models.clip_vq import ClipVqAdapter, ClipVqConfig, ClipVqModel, Sizes

SINES = 256  # numbers by which the network knows its time, and each number beside the text
BESIDE = 5  # numbers beside the text: width, height, top and left of the crop, score
THETA = 10_000  # base of the frequencies by which positions are rotated (Su et al. 2021)
EPSILON = 1e-6


class MeissonicConfig(ClipVqConfig):
    """`configs/models/meissonic*.yaml`."""

    side: int = 64  # of the picture, tokens: its repository does not say it


class TransformerConfig(BaseModel):
    """What the network needs of its published `transformer/config.json`; its other keys change nothing there."""

    model_config = ConfigDict(frozen=True)

    num_layers: int  # blocks in which text and picture have weights of their own
    num_single_layers: int  # blocks in which they share them
    num_attention_heads: int
    attention_head_dim: int
    joint_attention_dim: int  # channels of the text's states
    pooled_projection_dim: int  # channels of the pooled text
    axes_dims_rope: tuple[int, int, int]  # channels of a head that know a token's text, row and column
    vocab_size: int  # ids, among them that of a hidden token
    codebook_size: int
    downsample: bool  # whether the blocks work on a grid of half the side
    upsample: bool


class Transformer(nn.Module):
    """A multi-modal diffusion transformer (Esser et al. 2024) with FLUX's blocks, between two changes of the grid."""

    def __init__(self, config: TransformerConfig) -> None:
        from diffusers.models.embeddings import CombinedTimestepTextProjEmbeddings
        from diffusers.models.transformers.transformer_flux import (
            FluxPosEmbed,
            FluxSingleTransformerBlock,
            FluxTransformerBlock,
        )

        super().__init__()
        self.config = config
        self.width = width = config.num_attention_heads * config.attention_head_dim
        block = (width, config.num_attention_heads, config.attention_head_dim)
        self.embed = named(
            embeddings=nn.Embedding(config.vocab_size, width), layer_norm=nn.RMSNorm(width, EPSILON),
            channels_first=ChannelsFirst(), conv=nn.Conv2d(width, width, 1, bias=False),
        )  # fmt: skip
        self.down_block, self.up_block = named(), named()
        if config.downsample:
            conv = nn.Conv2d(width, width, 2, stride=2, bias=False)
            self.down_block = named(downsample=named(norm=ChannelNorm(width, EPSILON), conv=conv))
        if config.upsample:
            conv = nn.ConvTranspose2d(width, width, 2, stride=2, bias=False)
            self.up_block = named(upsample=named(norm=ChannelNorm(width, EPSILON), conv=conv))
        self.cond_embed = named(
            linear_1=nn.Linear(config.pooled_projection_dim + BESIDE * SINES, width, bias=False), act=nn.SiLU(),
            linear_2=nn.Linear(width, width, bias=False),
        )  # fmt: skip
        self.time_text_embed = CombinedTimestepTextProjEmbeddings(width, config.pooled_projection_dim)
        self.context_embedder = nn.Linear(config.joint_attention_dim, width)
        self.encoder_proj_layer_norm = nn.RMSNorm(width, EPSILON)
        self.pos_embed = FluxPosEmbed(THETA, config.axes_dims_rope)
        self.project_to_hidden_norm = nn.RMSNorm(width, EPSILON)
        self.project_to_hidden = nn.Linear(width, width, bias=False)
        self.transformer_blocks = nn.ModuleList(
            FluxTransformerBlock(*block) for _ in range(config.num_layers)
        )
        self.single_transformer_blocks = nn.ModuleList(
            FluxSingleTransformerBlock(*block) for _ in range(config.num_single_layers)
        )
        self.project_from_hidden_norm = nn.RMSNorm(width, EPSILON)
        self.project_from_hidden = nn.Linear(width, width, bias=False)
        self.mlm_layer = named(
            conv1=nn.Conv2d(width, width, 1, bias=False), layer_norm=ChannelNorm(width, EPSILON),
            conv2=nn.Conv2d(width, config.codebook_size, 1, bias=False),
        )  # fmt: skip

    def forward(self, ids: Tensor, text: Tensor, pooled: Tensor, micro: Tensor, time: Tensor) -> Tensor:
        """The last hidden layer [B, N, C], of which `mlm_layer` makes logits.

        ids [B, rows, columns]; text [B, L, C'] and pooled [B, C"] as `ClipVqModel.condition` gives them; micro
        [B, BESIDE * SINES], the sines and cosines of the numbers beside the text; time [B], steps that are to come.
        """
        about = self.time_text_embed(time * 1000, self.cond_embed(torch.cat([pooled, micro], dim=1)))
        text = self.encoder_proj_layer_norm(self.context_embedder(text))
        x = self.down_block(self.embed(ids))
        grid = x.shape[2:]
        turns = self.pos_embed(places(text.shape[1], *grid).to(ids.device))
        x = self.project_to_hidden(self.project_to_hidden_norm(x.flatten(2).transpose(1, 2)))
        for block in (*self.transformer_blocks, *self.single_transformer_blocks):
            text, x = block(x, text, about, turns)
        x = self.project_from_hidden(self.project_from_hidden_norm(x))
        return self.up_block(x.transpose(1, 2).unflatten(2, grid)).flatten(2).transpose(1, 2)


class MeissonicModel(ClipVqModel):
    kind = "meissonic-transformer"
    network: Transformer

    @staticmethod
    def sizes(network: Transformer, config: MeissonicConfig) -> Sizes:
        return Sizes(config.side, network.config.codebook_size, network.width, SINES)

    def _states(self, ids: Tensor, condition: Condition, progress: Tensor) -> Tensor:
        # Trained was the share that is hidden, times 1,000; but the authors' pipeline tells the network how many steps
        # are to come, and so do we.
        step, steps = progress.to(self.device).unbind(1)
        text, pooled = condition.tensors["states"], condition.tensors["pooled"]
        micro = self.micro.expand(len(ids), -1)
        return self.network(ids, text, pooled, micro, (steps - 1 - step).to(micro.dtype))


class MeissonicAdapter(ClipVqAdapter):
    model = MeissonicModel

    def network(self, config: dict[str, Any]) -> Transformer:
        try:
            return Transformer(validated(config, TransformerConfig, "transformer/config.json"))
        except ConfigError as error:
            raise ModelError(f"checkpoint: {error}") from error


class ChannelsFirst(nn.Module):
    """[B, rows, columns, C] to [B, C, rows, columns]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(-1, 1)


class ChannelNorm(nn.RMSNorm):
    """Over the channels of [B, C, rows, columns]."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def named(**modules: nn.Module) -> nn.Sequential:
    """One after the other, each under its published name."""
    return nn.Sequential(OrderedDict(modules))


def places(words: int, rows: int, columns: int) -> Tensor:
    """Where each word and each token is, [L + N, 3]: 0, row, column; all words are at 0."""
    tokens = torch.cartesian_prod(torch.arange(1), torch.arange(rows), torch.arange(columns))
    return torch.cat([torch.zeros(words, 3), tokens])


def adapter(name: str) -> MeissonicAdapter:
    return MeissonicAdapter(name, load_config(FOLDER / f"{name}.yaml", MeissonicConfig))
