"""Adapter of aMUSEd: diffusers' UVit2DModel, VQModel and CLIP text encoder behind `MaskedImageModel`.

diffusers no longer maintains these classes, so its version is pinned and only this file knows them. They are imported
when weights are loaded, not before. Shapes: B rows, N tokens, V codes, M hidden tokens of one row, L words, C channels.
"""

from __future__ import annotations

from copy import copy, deepcopy
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from cogrpo import weights
from cogrpo.config import load_config
from cogrpo.device import DTYPES, accelerator
from cogrpo.models import FOLDER, hub
from cogrpo.models.base import Condition, ModelError, Prediction

if TYPE_CHECKING:
    from diffusers import UVit2DModel, VQModel
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

KIND = "amused-transformer"
CODE_IMAGES = 64  # thumbnails decoded in one call


class AmusedConfig(hub.HubConfig):
    """`configs/models/amused-*.yaml`: the repository, and what the network is told of the picture beside the text."""

    aesthetic_score: float = 6.0
    crop: tuple[int, int] = (0, 0)  # top and left, pixels


class AmusedModel:
    """A picture of side x side tokens of 8,192 codes; prompts in free English, read up to the text encoder's length.

    The network runs in `precision`, text encoder and tokens-to-pixels always in float32 (the latter overflows in half
    precision).
    """

    def __init__(
        self,
        network: UVit2DModel,
        pixels: VQModel,
        text: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        mask: int,
        config: AmusedConfig,
        precision: str = "float32",
    ) -> None:
        """mask: the id by which the network is told that a token is hidden."""
        from diffusers.models.embeddings import get_timestep_embedding

        self.device, self.precision, self.mask = accelerator(), precision, mask
        # Not by diffusers' own `to`, which warns of layers to be kept in float32 where there are none.
        self.network = nn.Module.to(network, self.device, DTYPES[precision])
        self.pixels, self.text, self.tokenizer = pixels.to(self.device), text.to(self.device), tokenizer
        side, scale = network.config.sample_size, 2 ** (len(pixels.config.block_out_channels) - 1)
        self.grid, self.cell = (side, side), (scale, scale)
        self.vocab_size = network.config.codebook_size
        self.features = network.config.block_out_channels
        # Width, height, crop and score, in this order; the network knows each by its sines and cosines.
        told = torch.tensor([side * scale, side * scale, *config.crop, config.aesthetic_score])
        told = told.to(DTYPES[precision])  # as the pipeline rounds them
        width = network.config.micro_cond_encode_dim
        micro = get_timestep_embedding(told, width, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.micro = micro.flatten().to(self.device, DTYPES[precision])

    def condition(self, prompts: list[str]) -> Condition:
        """`states` [B, L, C] of the last layer but one, and `pooled` [B, C']; each different prompt is encoded once."""
        distinct = {prompt: number for number, prompt in enumerate(dict.fromkeys(prompts))}
        encoded = Condition.concatenate([self._encode(prompt) for prompt in distinct])
        return encoded[[distinct[prompt] for prompt in prompts]]

    def forward(
        self, tokens: Tensor, hidden: Tensor, condition: Condition, progress: Tensor, unconditional: bool
    ) -> Prediction:
        """As `MaskedImageModel.forward`; logits of known positions are 0."""
        ids = tokens.masked_fill(hidden, self.mask).unflatten(1, self.grid).to(self.device)
        where = [row.nonzero()[:, 0].to(self.device) for row in hidden]
        states = self._states(ids, condition)
        without = None
        if unconditional:
            without = self._logits(self._states(ids, self._blank.repeat(len(tokens))), where)
        return Prediction(self._logits(states, where), without, states.float().mean(dim=1))

    @torch.no_grad()
    def images(self, tokens: Tensor) -> Tensor:
        # One picture a call: the same bits whoever else is painted.
        return torch.cat([self._paint(row.view(1, *self.grid)) for row in tokens])

    @torch.no_grad()
    def code_images(self, codes: Tensor) -> Tensor:
        """Each code as a picture of one token."""
        return torch.cat([self._paint(part.view(-1, 1, 1)) for part in codes.split(CODE_IMAGES)])

    def save(self, path: Path) -> None:
        weights.save(path, KIND, self.network.state_dict(), {})

    def __deepcopy__(self, memo: dict[int, object]) -> AmusedModel:
        """A copy of the network; what nobody trains is shared."""
        twin = copy(self)
        twin.network = deepcopy(self.network, memo)
        return twin

    @cached_property
    def _blank(self) -> Condition:
        """The empty prompt, on which the unconditional branch was trained."""
        return self._encode("")

    @torch.no_grad()
    def _encode(self, prompt: str) -> Condition:
        """One row, always a call of one row: the same bits whoever else asks."""
        most = self.tokenizer.model_max_length
        ids = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=most).input_ids
        told = self.text(torch.tensor([ids], device=self.device), output_hidden_states=True)
        dtype = DTYPES[self.precision]
        return Condition({"states": told.hidden_states[-2].to(dtype), "pooled": told.text_embeds.to(dtype)})

    def _states(self, ids: Tensor, condition: Condition) -> Tensor:
        """The last hidden layer [B, N, C] of tokens [B, rows, columns]: UVit2DModel.forward without its last module.

        That module reads each position by itself, and is by far the widest: `_logits` runs it where it is needed.
        """
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

    def _logits(self, states: Tensor, where: list[Tensor]) -> Tensor:
        """Logits [B, N, V] at the positions `where` of each row, 0 elsewhere.

        One call a row, of a shape that depends on the row alone: the same bits whoever shares the block.
        """
        rows, positions, _ = states.shape
        parts = []
        for row, places in zip(states, where, strict=True):
            line = row[places][None, :, None]  # a picture of one column, [1, M, 1, C]
            parts.append(self.network.mlm_layer(line.permute(0, 3, 1, 2))[0, :, :, 0].t().float())
        flat = torch.cat([places + row * positions for row, places in enumerate(where)])
        logits = torch.zeros(rows * positions, self.vocab_size, device=states.device)
        return logits.index_copy_(0, flat, torch.cat(parts)).unflatten(0, (rows, positions))

    def _paint(self, tokens: Tensor) -> Tensor:
        """Tokens [K, rows, columns] to uint8 [K, H, W, 3]."""
        shape = (*tokens.shape, self.pixels.config.latent_channels)
        told = self.pixels.decode(tokens.to(self.device), force_not_quantize=True, shape=shape).sample
        return (told.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu()


class AmusedAdapter(hub.HubAdapter):
    """Either size; the network's own configuration says which."""

    config: AmusedConfig

    def load(self, path: Path, precision: str) -> AmusedModel:
        from diffusers import UVit2DModel, VQModel
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

        folder = self.baseline()
        network = hub.part(folder / "transformer", UVit2DModel.from_config, filled=path.is_dir())
        if not path.is_dir():
            try:
                told, _ = weights.load(path, KIND)
            except ValueError as error:
                raise ModelError(f"checkpoint: {error}") from error
            hub.fill(network, told, path.name)
        pixels = hub.part(folder / "vqvae", VQModel.from_config)
        text = hub.part(
            folder / "text_encoder",
            lambda told: CLIPTextModelWithProjection(CLIPTextConfig.from_dict(told)),
        )
        try:
            tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        except (OSError, ValueError, TypeError) as error:
            raise ModelError("checkpoint: the tokenizer is missing or damaged.") from error
        scheduler = hub.read_json(folder / "scheduler" / "scheduler_config.json")
        if "mask_token_id" not in scheduler:
            raise ModelError("checkpoint: scheduler/scheduler_config.json has no mask_token_id.")
        mask = scheduler["mask_token_id"]
        return AmusedModel(network, pixels, text, tokenizer, mask, self.config, precision)


def adapter(name: str) -> AmusedAdapter:
    return AmusedAdapter(name, load_config(FOLDER / f"{name}.yaml", AmusedConfig))
