"""Adapter of the embedded model: the emoji transformer and its tokenizer behind `MaskedImageModel`."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from cogrpo.emoji.conditioning import encode_specs
from cogrpo.emoji.grammar import parse
from cogrpo.emoji.scene import CELL, GRID
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.emoji.transformer import TEXT, MaskedTransformer, TransformerConfig
from cogrpo.models.base import Condition, Prediction

WEIGHTS = Path(__file__).parents[1] / "emoji" / "weights"
KIND = "emoji-transformer"


class EmojiModel:
    """64 tokens of 16 px, about 2,250 codes, prompts in the grammar of the embedded world."""

    grid = (GRID, GRID)
    cell = (CELL, CELL)

    def __init__(self, network: MaskedTransformer, tokenizer: Tokenizer, precision: str = "float32") -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.vocab_size = network.config.vocab_size
        self.precision = precision

    def condition(self, prompts: list[str]) -> Condition:
        """Raises `cogrpo.emoji.grammar.PromptError` for a prompt without a known object."""
        return Condition(encode_specs([parse(prompt).spec for prompt in prompts]))

    def forward(
        self, tokens: Tensor, hidden: Tensor, condition: Condition, progress: Tensor, unconditional: bool
    ) -> Prediction:
        with torch.autocast("cpu", torch.bfloat16, enabled=self.precision == "bfloat16"):
            states = self.network.hidden_states(tokens, hidden, self.network.read(condition.tensors))
            logits = self.network.head(states).float()
            without = None
            if unconditional:
                blank = self.network.no_text.expand(len(tokens), TEXT, -1)
                without = self.network.head(self.network.hidden_states(tokens, hidden, blank)).float()
        return Prediction(logits, without, states.float().mean(1))

    def images(self, tokens: Tensor) -> Tensor:
        return self.tokenizer.decode(tokens)

    def code_images(self, codes: Tensor) -> Tensor:
        return self.tokenizer.code_images(codes)

    @classmethod
    def load(cls, path: Path, precision: str = "float32") -> EmojiModel:
        """Read weights written by `save_network`. Raises ValueError, naming the file, where they are unusable."""
        try:
            with safe_open(path, "pt") as file:
                told = file.metadata() or {}
                tensors = {name: file.get_tensor(name).float() for name in file.keys()}
        except (SafetensorError, OSError) as error:
            raise ValueError(f"checkpoint: {path.name} cannot be read as safetensors ({error}).") from None
        if told.get("kind") != KIND:
            raise ValueError(f"checkpoint: {path.name} holds no emoji transformer.")
        network = MaskedTransformer(TransformerConfig.model_validate_json(told["config"]))
        network.load_state_dict(tensors)
        return cls(
            network.eval().requires_grad_(False), Tokenizer.load(WEIGHTS / "tokenizer.safetensors"), precision
        )


def save_network(network: MaskedTransformer, path: Path, notes: dict[str, str]) -> None:
    """Write fp16 weights with the network's configuration and `notes` as metadata."""
    tensors = {name: tensor.half().contiguous() for name, tensor in network.state_dict().items()}
    save_file(tensors, path, {"kind": KIND, "config": network.config.model_dump_json(), **notes})
