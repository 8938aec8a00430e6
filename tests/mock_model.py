"""A masked image model with known logits, and a registry that serves it: tests without weights."""

from __future__ import annotations

import hashlib
import zlib
from pathlib import Path

import torch
from torch import Tensor

from cogrpo.models.base import Condition, Prediction
from cogrpo.recipe import Recipe
from cogrpo.registry import Checkpoint, CheckpointError

SHA256 = hashlib.sha256(b"mock").hexdigest()


class MockModel:
    """Logits that depend on the prompt, on the known tokens and, a little, on the number of rows in a call.

    The last is what real matrix products do in their last bits; here it makes a changed block size visible.
    """

    cell = (2, 2)

    def __init__(self, grid: tuple[int, int] = (4, 4), vocab_size: int = 40, sharpness: float = 2.0):
        self.grid, self.vocab_size = grid, vocab_size
        positions = grid[0] * grid[1]
        draw = torch.Generator().manual_seed(1)
        self.own = sharpness * torch.randn(positions, vocab_size, generator=draw)
        self.inward = torch.randn(vocab_size, 8, generator=draw)
        self.outward = sharpness * torch.randn(8, vocab_size, generator=draw) / (8 * positions) ** 0.5
        self.blank = torch.randn(vocab_size, generator=draw)
        self.calls: list[tuple[int, bool]] = []  # rows, unconditional

    def condition(self, prompts: list[str]) -> Condition:
        rows = []
        for prompt in prompts:
            draw = torch.Generator().manual_seed(zlib.crc32(prompt.encode()))
            rows.append(2 * torch.randn(self.vocab_size, generator=draw))
        return Condition({"words": torch.stack(rows)})

    def logits(self, tokens: Tensor, hidden: Tensor, words: Tensor, progress: Tensor) -> Tensor:
        """[B, N, V]"""
        known = torch.nn.functional.one_hot(tokens, self.vocab_size).float() * ~hidden[..., None]
        seen = known.sum(dim=1) @ self.inward @ self.outward
        late = progress[:, :1] / progress[:, 1:]
        return self.own + (seen + words)[:, None] * (1 + late[..., None]) + 1e-4 * len(tokens)

    def forward(
        self, tokens: Tensor, hidden: Tensor, condition: Condition, progress: Tensor, unconditional: bool
    ) -> Prediction:
        self.calls.append((len(tokens), unconditional))
        conditional = self.logits(tokens, hidden, condition.tensors["words"], progress)
        blank = self.blank.expand(len(tokens), -1)
        second = self.logits(tokens, hidden, blank, progress) if unconditional else None
        return Prediction(conditional, second, conditional.mean(dim=1))

    def images(self, tokens: Tensor) -> Tensor:
        rows, columns = self.grid
        colours = torch.stack([tokens * 5, tokens * 3, 255 - tokens * 2], dim=-1).to(torch.uint8)
        plane = colours.view(-1, rows, columns, 3)
        return plane.repeat_interleave(2, dim=1).repeat_interleave(2, dim=2)

    def code_images(self, codes: Tensor) -> Tensor:
        colours = torch.stack([codes * 5, codes * 3, 255 - codes * 2], dim=-1).to(torch.uint8)
        return colours[:, None, None].expand(-1, 2, 2, -1)


class MockRegistry:
    """Knows one checkpoint, the mock model under the name of the embedded one; cannot read 'gibberish'."""

    def __init__(self, data: Path, model: MockModel | None = None):
        self.data = data
        self.model = model or MockModel()

    def resolve(self, asked: str) -> Checkpoint:
        name = asked.rpartition(":")[2]
        if name not in ("baseline", "champion"):
            raise CheckpointError(f"checkpoint: {name!r} is unknown; allowed are baseline and champion.")
        return Checkpoint("emoji", self.data / "mock", SHA256, "baseline", name)

    def recall(self, recipe: Recipe) -> Checkpoint:
        if recipe.checkpoint_sha256 != SHA256:
            raise CheckpointError("checkpoint: no weights here have this hash.")
        return self.resolve("baseline")

    def load(self, checkpoint: Checkpoint, precision: str) -> MockModel:
        return self.model

    def trained(self, checkpoint: Checkpoint) -> None:
        return None

    def unknown_words(self, model: str, prompt: str) -> tuple[str, ...]:
        if prompt == "gibberish":
            raise ValueError("No object of this prompt is known.")
        return tuple(word for word in prompt.split() if word.startswith("un"))
