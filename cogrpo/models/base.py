"""The contract between the sampler and a masked image model.

Shapes: B rows, N = rows * columns tokens, V codes, D features.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Condition:
    """What the text says, encoded once per decode: named tensors that all have the batch as first axis."""

    tensors: dict[str, Tensor]

    def __len__(self) -> int:
        return len(next(iter(self.tensors.values())))

    def __getitem__(self, rows: Sequence[int] | Tensor | slice) -> Condition:
        return Condition({name: tensor[rows] for name, tensor in self.tensors.items()})

    def repeat(self, times: int) -> Condition:
        """Each row `times` times in a row: the rows of a group lie side by side."""
        return Condition({name: t.repeat_interleave(times, dim=0) for name, t in self.tensors.items()})

    @cached_property
    def alike(self) -> Tensor:
        """A number for each row, [B] int64 on the CPU: the same for rows that say the same."""
        told = [t.reshape(len(t), -1).unique(dim=0, return_inverse=True)[1] for t in self.tensors.values()]
        return torch.stack(told, dim=1).unique(dim=0, return_inverse=True)[1].cpu()

    @staticmethod
    def concatenate(parts: Sequence[Condition]) -> Condition:
        names = parts[0].tensors
        return Condition({name: torch.cat([part.tensors[name] for part in parts]) for name in names})


@dataclass(frozen=True)
class Prediction:
    """The network's answer. Logits of known positions mean nothing: a model need not compute them."""

    conditional: Tensor  # [B, N, V] logits, float32
    unconditional: Tensor | None  # [B, N, V] logits, or None where no row asked for guidance
    features: Tensor  # [B, D] float32, mean over positions of the conditional branch's last hidden layer


class MaskedImageModel(Protocol):
    """A masked image model: logits for hidden tokens, and pixels for known ones.

    Tokens go in and pixels come out on the CPU, wherever the network runs; a Prediction stays where it was made.
    """

    grid: tuple[int, int]  # rows, columns; N = rows * columns
    vocab_size: int  # V; a hidden position is told by `hidden`, never by a code
    cell: tuple[int, int]  # height, width of one token in pixels
    features: int  # D
    precision: str  # 'float32' or 'bfloat16': what the network runs in
    network: nn.Module  # what training changes

    def condition(self, prompts: list[str]) -> Condition:
        """Encode prompts, one row each. Raises ValueError for a prompt that the model cannot read."""

    def forward(
        self, tokens: Tensor, hidden: Tensor, condition: Condition, progress: Tensor, unconditional: bool
    ) -> Prediction:
        """Predict the hidden positions.

        tokens [B, N] int64, hidden [B, N] bool (tokens under it are ignored), progress [B, 2] int64 =
        (step, steps) for models with a time input; `unconditional` asks for the second branch.
        """

    def images(self, tokens: Tensor) -> Tensor:
        """Tokens [B, N] to pixels, uint8 [B, H, W, 3]."""

    def code_images(self, codes: Tensor) -> Tensor:
        """What single codes look like, uint8 [K, h, w, 3], for thumbnails."""

    def save(self, path: Path) -> None:
        """Write the network's weights as the registry loads them."""


class ModelError(ValueError):
    """Weights that are missing or cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Reading:
    """What a model makes of a prompt, as far as it can tell."""

    unknown: tuple[Any, ...] = ()  # words that it does not know: `cogrpo.emoji.grammar.Unknown`
    notes: tuple[str, ...] = ()  # what else it leaves out


class Adapter:
    """A model as the registry knows it, before any weights are read: `adapter(name)` of a module of this folder."""

    verified = False  # whether the verifier of the embedded world can judge its pictures

    def baseline(self) -> Path:
        """The file or folder of the published weights. Raises ModelError, which says how to get them."""
        raise NotImplementedError

    def load(self, weights: Path, precision: str) -> MaskedImageModel:
        """The model with the weights of `baseline()`, or of a file that its `save` wrote. Raises ModelError."""
        raise NotImplementedError

    def read(self, prompt: str) -> Reading:
        """Raises ValueError where the model can make nothing of a prompt."""
        return Reading()

    def precision(self, probed: str) -> str:
        """What the network runs in, where the processor would choose `probed`."""
        return probed
