"""Adapter of aMUSEd on diffusers' UVit2DModel, both sizes; the network's own configuration says which.

diffusers no longer maintains that class, so its version is pinned and only this file knows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from cogrpo.config import load_config
from cogrpo.models import FOLDER
from cogrpo.models.base import Condition
from cogrpo.models.clip_vq import ClipVqAdapter, ClipVqConfig, ClipVqModel, Sizes

if TYPE_CHECKING:
    from diffusers import UVit2DModel


class AmusedModel(ClipVqModel):
    kind = "amused-transformer"
    network: UVit2DModel

    @staticmethod
    def sizes(network: UVit2DModel, config: ClipVqConfig) -> Sizes:
        told = network.config
        return Sizes(
            told.sample_size, told.codebook_size, told.block_out_channels, told.micro_cond_encode_dim
        )

    def _states(self, ids: Tensor, condition: Condition, progress: Tensor) -> Tensor:
        """UVit2DModel.forward without its last module, which is by far the widest: `_logits` runs it where it is
        needed. The network has no time input."""
        net = self.network
        text = net.encoder_proj_layer_norm(net.encoder_proj(condition.tensors["states"]))
        micro = self.micro.expand(len(ids), -1)
        pooled = net.cond_embed(torch.cat([condition.tensors["pooled"], micro], dim=1))
        about = {"encoder_hidden_states": text, "cross_attention_kwargs": None}
        x = net.down_block(net.embed(ids), pooled_text_emb=pooled, **about)
        size = x.shape[2:]  # half the grid's where the network samples down
        x = net.project_to_hidden(net.project_to_hidden_norm(x.flatten(2).transpose(1, 2)))
        for layer in net.transformer_layers:
            x = layer(x, added_cond_kwargs={"pooled_text_emb": pooled}, **about)
        x = net.project_from_hidden(net.project_from_hidden_norm(x))
        x = x.transpose(1, 2).unflatten(2, size)
        return net.up_block(x, pooled_text_emb=pooled, **about).flatten(2).transpose(1, 2)


class AmusedAdapter(ClipVqAdapter):
    model = AmusedModel

    def network(self, config: dict[str, Any]) -> UVit2DModel:
        from diffusers import UVit2DModel

        return UVit2DModel.from_config(config)


def adapter(name: str) -> AmusedAdapter:
    return AmusedAdapter(name, load_config(FOLDER / f"{name}.yaml", ClipVqConfig))
