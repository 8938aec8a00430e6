"""A reward that is one large network: asked in calls of one shape, in the place that the round's configuration says."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from cogrpo.device import DTYPES
from cogrpo.rewards.base import Context, Placement, blocks, files_version

RULE = 1  # of how these rewards score; raise it when a score changes


class NetworkReward(ABC):
    """network: loaded, float32, on the CPU; files: all that decide a score. `place` comes before the first call."""

    name: str
    range: tuple[float, float]

    def __init__(self, network: nn.Module, files: Sequence[Path]) -> None:
        self.network = network.eval().requires_grad_(False)
        self._files = files_version(files)
        self.place(Placement())

    def place(self, placement: Placement) -> None:
        self.placement = placement
        rounded = "" if placement.dtype == "float32" else f"-{placement.dtype}"
        self.version = f"{RULE}-{self._files}{rounded}"

    @torch.no_grad()
    def __call__(self, images: Tensor, prompts: Sequence[str], context: Context) -> Tensor:
        self.network.to(self.device, DTYPES[self.placement.dtype])  # costs nothing where it is so
        scores = [
            self.scores(images[index], [prompts[row] for row in index])[:count].float().cpu()
            for index, count in blocks(len(images), self.placement.rows)
        ]
        if self.placement.park:
            self.network.to("cpu")
        return torch.cat(scores)

    @abstractmethod
    def scores(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        """Scores [B] of one block, as `Reward.__call__`."""

    @property
    def device(self) -> torch.device:
        asked = self.placement.device
        if asked == "auto":
            asked = "cuda" if torch.cuda.is_available() else "cpu"
        return torch.device(asked)

    def seen(self, pixels: Tensor) -> Tensor:
        """Pixels where the network is, in its precision."""
        return pixels.to(self.device, DTYPES[self.placement.dtype])
