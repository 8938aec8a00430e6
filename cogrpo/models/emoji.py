"""Adapter of the embedded model: the emoji transformer and its tokenizer behind `MaskedImageModel`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from cogrpo import weights
from cogrpo.emoji.conditioning import encode_specs
from cogrpo.emoji.grammar import parse
from cogrpo.emoji.scene import CELL, GRID
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.emoji.transformer import MaskedTransformer, TransformerConfig
from cogrpo.models.base import Adapter, Condition, Prediction, Reading

WEIGHTS = Path(__file__).parents[1] / "emoji" / "weights"
KIND = "emoji-transformer"


class EmojiModel:
    """64 tokens of 16 px, about 2,250 codes, prompts in the grammar of the embedded world."""

    grid = (GRID, GRID)
    cell = (CELL, CELL)

    def __init__(self, network: MaskedTransformer, tokenizer: Tokenizer, precision: str = "float32") -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.vocab_size, self.features = network.config.vocab_size, network.config.width
        self.precision = precision

    def condition(self, prompts: list[str]) -> Condition:
        """Raises `cogrpo.emoji.grammar.PromptError` for a prompt without a known object."""
        return Condition(encode_specs([parse(prompt).spec for prompt in prompts]))

    def forward(
        self, tokens: Tensor, hidden: Tensor, condition: Condition, progress: Tensor, unconditional: bool
    ) -> Prediction:
        device = self.network.no_text.device
        tokens, hidden = tokens.to(device), hidden.to(device)
        text = {name: tensor.to(device) for name, tensor in condition.tensors.items()}
        with torch.autocast(device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            logits, states = self.network(tokens, hidden, self.network.read(text))
            without = None
            if unconditional:
                # Without a text all rows have the same names of codes, as costly as all of a row's own logits.
                blank, names = self.network.no_text[None], self.network.names(self.network.no_text[None])
                rows = (len(tokens), -1, -1)
                without, _ = self.network.answer(tokens, hidden, blank.expand(rows), names.expand(rows))
        return Prediction(logits, without, states.float().mean(1))

    def images(self, tokens: Tensor) -> Tensor:
        return self.tokenizer.decode(tokens)

    def code_images(self, codes: Tensor) -> Tensor:
        return self.tokenizer.code_images(codes)

    def save(self, path: Path) -> None:
        save_network(self.network, path, {})

    @classmethod
    def load(cls, path: Path, precision: str = "float32") -> EmojiModel:
        """Read weights written by `save_network`. Raises ValueError, naming the file, where they are unusable."""
        try:
            tensors, facts = weights.load(path, KIND)
        except ValueError as error:
            raise ValueError(f"checkpoint: {error}") from None
        network = MaskedTransformer(TransformerConfig.model_validate(facts["config"]))
        network.load_state_dict(tensors)
        return cls(
            network.eval().requires_grad_(False), Tokenizer.load(WEIGHTS / "tokenizer.safetensors"), precision
        )


class EmojiAdapter(Adapter):
    """Its weights come with the program (`cogrpo.registry.SHIPPED`)."""

    verified = True

    def load(self, weights: Path, precision: str) -> EmojiModel:
        return EmojiModel.load(weights, precision)

    def read(self, prompt: str) -> Reading:
        parsed = parse(prompt)
        return Reading(parsed.unknown, parsed.notes)


def adapter(name: str) -> EmojiAdapter:
    return EmojiAdapter()


def save_network(network: MaskedTransformer, path: Path, notes: dict[str, Any]) -> None:
    """Write fp16 weights with the network's configuration and `notes` as facts."""
    facts = {"config": network.config.model_dump(mode="json"), **notes}
    weights.save(path, KIND, network.state_dict(), facts)
