"""Two detectors that read objects off a picture, each trained on rendered scenes.

A slides one classifier over the 25 corners where an object can stand. B reads every cell alone, then asks whether
sixteen cells agree on one object. They share no architecture, seed or augmentation: A is the reward's verifier, B is
never in a loss or a reward, so that it can tell when A is being gamed.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo import weights
from cogrpo.emoji.scene import BACKGROUND_NAMES, CELL, GRID, SIZE, Placed
from cogrpo.emoji.tokenizer import background_colours, patches
from cogrpo.emoji.verifier import Detection
from cogrpo.emoji.vocabulary import CLASSES

WEIGHTS = Path(__file__).parent / "weights"
CORNERS = GRID - SIZE + 1
NOTHING = len(CLASSES)  # the class of 'no object here'
PARTS = SIZE * SIZE
AGREE = 15  # of 16 cells that B wants to see in place
STRAY = 6 / 255  # mean distance from the background's colour at which a cell counts as painted


class CornerDetector(nn.Module):
    """A: strided convolutions on the half-size picture, then one 4 x 4 window a corner."""

    def __init__(self) -> None:
        super().__init__()

        def layer(inputs: int, outputs: int, kernel: int, stride: int, padding: int) -> nn.Sequential:
            convolution = nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=False)
            return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())

        self.body = nn.Sequential(
            layer(3, 32, 3, 2, 1), layer(32, 64, 3, 2, 1), layer(64, 128, 3, 2, 1), layer(128, 128, 3, 1, 1)
        )
        self.window = layer(128, 256, SIZE, 1, 0)
        self.classes = nn.Conv2d(256, NOTHING + 1, 1)
        self.background = nn.Linear(128, len(BACKGROUND_NAMES))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """pixels [B, 128, 128, 3] in 0..1 -> logits of the class at each corner [B, 135, 5, 5], background [B, 9]."""
        features = self.body(F.avg_pool2d(pixels.permute(0, 3, 1, 2), 2))
        return self.classes(self.window(features)), self.background(features.mean((2, 3)))

    def objects(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Score and class of the best object at each corner [B, 5, 5], and the background [B]."""
        logits, background = self(pixels)
        score, cls = logits.softmax(1)[:, :NOTHING].max(1)
        return score, cls, background.argmax(-1)


class CellDetector(nn.Module):
    """B: a small MLP on each full-size cell, then residual mixing with the neighbours; every cell names its class and
    its part of the object."""

    def __init__(self, width: int = 192) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(CELL * CELL * 3, 256), nn.GELU(), nn.Linear(256, width))
        self.mix = nn.ModuleList(
            nn.Sequential(
                nn.GroupNorm(1, width),
                nn.Conv2d(width, width, 3, padding=1, groups=width),
                nn.Conv2d(width, 2 * width, 1),
                nn.GELU(),
                nn.Conv2d(2 * width, width, 1),
            )
            for _ in range(4)
        )
        self.classes = nn.Conv2d(width, NOTHING + 1, 1)
        self.parts = nn.Conv2d(width, PARTS, 1)
        self.background = nn.Linear(width, len(BACKGROUND_NAMES))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """pixels [B, 128, 128, 3] in 0..1 -> logits of class [B, 135, 8, 8], part [B, 16, 8, 8], background [B, 9]."""
        cells = self.embed(patches(pixels) - 0.5)
        plane = cells.transpose(1, 2).unflatten(2, (GRID, GRID))
        for block in self.mix:
            plane = plane + block(plane)
        return self.classes(plane), self.parts(plane), self.background(plane.amax((2, 3)))

    def objects(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """As `CornerDetector.objects`; the score is over .5 where at least `AGREE` of 16 cells are in place."""
        classes, parts, background = self(pixels)
        cls, part = classes.argmax(1), parts.argmax(1)
        windows = F.unfold(torch.stack([cls, part], 1).float(), SIZE).unflatten(1, (2, PARTS)).long()
        named, placed = windows.unbind(1)  # [B, 16, 25]
        in_place = placed == torch.arange(PARTS)[:, None]
        votes = F.one_hot(named, NOTHING + 1)[..., :NOTHING] * in_place[..., None]
        count, winner = votes.sum(1).max(-1)  # [B, 25]
        score = (count / (2 * AGREE - 1)).unflatten(1, (CORNERS, CORNERS))
        return score, winner.unflatten(1, (CORNERS, CORNERS)), background.argmax(-1)


NETWORKS = {"a": CornerDetector, "b": CellDetector}


class Detector:
    """Reads pictures. `name` is 'a' or 'b'."""

    def __init__(self, name: Literal["a", "b"], network: CornerDetector | CellDetector) -> None:
        self.name = name
        self.network = network.eval().requires_grad_(False)

    def detect(self, images: Tensor) -> list[Detection]:
        """images uint8 [B, 128, 128, 3]. Objects do not overlap: the surer one stays."""
        pixels = images.float() / 255
        scores, classes, backgrounds = self.network.objects(pixels)
        away = patches(pixels) - background_colours()[backgrounds].repeat(1, CELL * CELL)[:, None]
        painted = away.abs().mean(-1) > STRAY
        return [
            _detection(score, cls, int(background), cells.unflatten(0, (GRID, GRID)))
            for score, cls, background, cells in zip(scores, classes, backgrounds, painted, strict=True)
        ]

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        weights.save(path, f"emoji-detector-{self.name}", self.network.state_dict(), notes)

    @classmethod
    def load(cls, name: Literal["a", "b"], path: Path | None = None) -> Detector:
        """Raises ValueError where `path` (by default the shipped file) is not this detector."""
        network = NETWORKS[name]()
        tensors, _ = weights.load(path or WEIGHTS / f"detector_{name}.safetensors", f"emoji-detector-{name}")
        network.load_state_dict(tensors)
        return cls(name, network)


def _detection(score: Tensor, cls: Tensor, background: int, painted: Tensor) -> Detection:
    """score, cls [5, 5], painted [8, 8] bool."""
    objects: list[Placed] = []
    beside = torch.ones_like(painted)
    for flat in score.flatten().argsort(descending=True, stable=True).tolist():
        row, col = divmod(flat, CORNERS)
        if score[row, col] <= 0.5:
            break
        if all(max(abs(row - other.row), abs(col - other.col)) >= SIZE for other in objects):
            objects.append(Placed(int(cls[row, col]), row, col))
            beside[row : row + SIZE, col : col + SIZE] = False
    stray = float((painted & beside).sum() / beside.sum().clamp(min=1))
    return Detection(tuple(objects), background, stray)
