"""What models of the hub share whose text is CLIP's and whose tokens are the codes of a VQ model, as of aMUSEd.

A model is one subclass each of `ClipVqModel`, which says how its network is called, and of `ClipVqAdapter`, which says
how the network is built. diffusers and transformers are imported when weights are loaded, not before. Shapes: B rows,
N tokens, V codes, M hidden tokens of one row, L words, C channels.
"""

from __future__ import annotations

from copy import copy, deepcopy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import torch
from torch import Tensor, nn

from cogrpo import weights
from cogrpo.device import DTYPES, accelerator
from cogrpo.models import hub
from cogrpo.models.base import Condition, ModelError, Prediction

if TYPE_CHECKING:
    from diffusers import VQModel
    from transformers import CLIPTextModelWithProjection, CLIPTokenizer

CODE_IMAGES = 64  # thumbnails decoded in one call


class ClipVqConfig(hub.HubConfig):
    """The repository, and what the network is told beside the text."""

    aesthetic_score: float = 6.0
    crop: tuple[int, int] = (0, 0)  # top and left, pixels
    negative_prompt: str = ""  # what the unconditional branch reads; trained was the empty prompt


@dataclass(frozen=True)
class Sizes:
    """What a network's configuration says of it."""

    side: int  # of the picture, tokens
    codes: int
    features: int  # channels of the last hidden layer
    sines: int  # numbers by which the network knows each number beside the text


class ClipVqModel:
    """A picture of side x side codes; prompts in free English, read up to the text encoder's length.

    The network runs in `precision`, text encoder and tokens-to-pixels always in float32 (the latter overflows in half
    precision). Its module `mlm_layer` makes logits from the last hidden layer, each position by itself.
    """

    kind: str  # what a file of the network's weights says that it holds

    def __init__(
        self,
        network: nn.Module,
        pixels: VQModel,
        text: CLIPTextModelWithProjection,
        tokenizer: CLIPTokenizer,
        mask: int,
        config: ClipVqConfig,
        precision: str,
    ) -> None:
        """mask: the id by which the network is told that a token is hidden."""
        from diffusers.models.embeddings import get_timestep_embedding

        self.device, self.precision, self.mask = accelerator(), precision, mask
        # Not by diffusers' own `to`, which warns of layers to be kept in float32 where there are none.
        self.network = nn.Module.to(network, self.device, DTYPES[precision])
        self.pixels, self.text, self.tokenizer = pixels.to(self.device), text.to(self.device), tokenizer
        sizes, scale = self.sizes(network, config), 2 ** (len(pixels.config.block_out_channels) - 1)
        self.grid, self.cell = (sizes.side, sizes.side), (scale, scale)
        self.vocab_size, self.features = sizes.codes, sizes.features
        self.negative_prompt = config.negative_prompt
        # Width, height, crop and score, in this order; the network knows each by its sines and cosines.
        pixels_a_side = sizes.side * scale
        told = torch.tensor([pixels_a_side, pixels_a_side, *config.crop, config.aesthetic_score])
        told = told.to(DTYPES[precision])  # as the pipelines round them
        micro = get_timestep_embedding(told, sizes.sines, flip_sin_to_cos=True, downscale_freq_shift=0)
        self.micro = micro.flatten().to(self.device, DTYPES[precision])

    @staticmethod
    def sizes(network: nn.Module, config: ClipVqConfig) -> Sizes:
        """Those of this kind of network."""
        raise NotImplementedError

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
        states = self._states(ids, condition, progress)
        without = None
        if unconditional:
            blank = self._blank.repeat(len(tokens))
            without = self._logits(self._states(ids, blank, progress), where)
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
        weights.save(path, self.kind, self.network.state_dict(), {})

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        """A copy of the network; what nobody trains is shared."""
        twin = copy(self)
        twin.network = deepcopy(self.network, memo)
        return twin

    @cached_property
    def _blank(self) -> Condition:
        return self._encode(self.negative_prompt)

    @torch.no_grad()
    def _encode(self, prompt: str) -> Condition:
        """One row, always a call of one row: the same bits whoever else asks.

        The network reads the padding, too, with nothing that tells it where the text ends: its length is fixed.
        """
        most = self.text.config.max_position_embeddings
        ids = self.tokenizer(prompt, padding="max_length", truncation=True, max_length=most).input_ids
        told = self.text(torch.tensor([ids], device=self.device), output_hidden_states=True)
        dtype = DTYPES[self.precision]
        return Condition({"states": told.hidden_states[-2].to(dtype), "pooled": told.text_embeds.to(dtype)})

    def _states(self, ids: Tensor, condition: Condition, progress: Tensor) -> Tensor:
        """The network's last hidden layer [B, N, C] of tokens [B, rows, columns]."""
        raise NotImplementedError

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


class ClipVqAdapter(hub.HubAdapter):
    """A repository with a transformer, a VQ model, a text encoder with its tokenizer, and the scheduler's settings."""

    config: ClipVqConfig
    model: type[ClipVqModel]

    def network(self, config: dict[str, Any]) -> nn.Module:
        """The network as `transformer/config.json` describes it, its weights to be filled in. Raises ModelError."""
        raise NotImplementedError

    def load(self, path: Path, precision: str) -> ClipVqModel:
        from diffusers import VQModel
        from transformers import CLIPTextConfig, CLIPTextModelWithProjection, CLIPTokenizer

        folder = self.baseline()
        network = hub.part(folder / "transformer", self.network, filled=path.is_dir())
        if not path.is_dir():
            try:
                told, _ = weights.load(path, self.model.kind)
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
        return self.model(
            network, pixels, text, tokenizer, scheduler["mask_token_id"], self.config, precision
        )
