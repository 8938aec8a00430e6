"""A dual encoder after CLIP (arXiv 2103.00020): pictures and captions meet as unit vectors in one space.

The text side reads words, not the grammar's parse, and the image side is a small vision transformer, unlike both
detectors: what fools the verifier need not fool this. Shapes: B rows, N = 64 cells, L pieces of text, D features.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo import weights
from cogrpo.emoji.scene import CELL, GRID

WEIGHTS = Path(__file__).parent / "weights" / "dual_encoder.safetensors"
FITNESS = WEIGHTS.with_suffix(".json")  # what `cogrpo.evaluation.dual_encoder` found of these weights
FLOORS = {"scenes": 0.90, "samples": 0.80}  # shares of right captions under which they may be no reward
KIND = "emoji-dual-encoder"
WIDTH, HEADS, PATCH, HIDDEN, SPACE = 128, 4, 192, 384, 256
LAYERS = 2  # on each side
LONGEST = 64  # pieces of a prompt that are read; the longest caption of the small world has 53 words
PAD, UNKNOWN = 0, 1
WORD = re.compile(r"[a-z]+|[0-9]|[.,:]")
ENDINGS = ("s", "es")  # pieces of their own behind a known word


class Pieces:
    """Text to numbers. `vocabulary`: the words known whole; an ending is marked by ##."""

    def __init__(self, vocabulary: Sequence[str]) -> None:
        self.vocabulary = tuple(vocabulary)
        names = (*self.vocabulary, *(f"##{ending}" for ending in ENDINGS))
        self._number = {name: UNKNOWN + 1 + index for index, name in enumerate(names)}

    def __len__(self) -> int:
        """How many numbers there are, padding and the unknown word included."""
        return UNKNOWN + 1 + len(self._number)

    @staticmethod
    def learn(captions: Iterable[str], least: int = 3) -> Pieces:
        """The words found at least `least` times, without those that are another one and an ending."""
        count = Counter(word for text in captions for word in WORD.findall(text.lower()))
        words = {word for word, times in count.items() if times >= least}
        stems = [{word.removesuffix(e) for e in ENDINGS if word.endswith(e)} - {word} for word in words]
        whole = (
            word
            for word, stem in zip(words, stems, strict=True)
            if not any(s in words and len(s) > 2 for s in stem)
        )
        return Pieces(sorted(whole))

    def split(self, text: str) -> list[int]:
        """Pieces of a text, at most LONGEST and at least one."""
        found = [number for word in WORD.findall(text.lower()) for number in self._word(word)]
        return found[:LONGEST] or [UNKNOWN]

    def encode(self, texts: Sequence[str]) -> Tensor:
        """int64 [B, LONGEST], padded with PAD."""
        rows = torch.zeros(len(texts), LONGEST, dtype=torch.int64)
        for row, text in zip(rows, texts, strict=True):
            numbers = torch.tensor(self.split(text))
            row[: len(numbers)] = numbers
        return rows

    def _word(self, word: str) -> list[int]:
        if word in self._number:
            return [self._number[word]]
        for ending in ENDINGS:
            stem = word.removesuffix(ending)
            if stem != word and stem in self._number:
                return [self._number[stem], self._number[f"##{ending}"]]
        return [UNKNOWN]


def _layer() -> nn.TransformerEncoderLayer:
    return nn.TransformerEncoderLayer(
        WIDTH, HEADS, 2 * WIDTH, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
    )


class Head(nn.Module):
    """Sums what each place says, so that three dogs are more than two, and makes a unit vector of it."""

    def __init__(self) -> None:
        super().__init__()
        self.expand = nn.Sequential(nn.LayerNorm(WIDTH), nn.Linear(WIDTH, HIDDEN), nn.GELU())
        self.project = nn.Linear(HIDDEN, SPACE, bias=False)

    def forward(self, states: Tensor, share: Tensor) -> Tensor:
        """states [B, P, WIDTH], share [B, P]: how much each place counts. Returns [B, SPACE]."""
        pooled = (self.expand(states) * share[..., None]).sum(1)
        return F.normalize(self.project(pooled).float(), dim=-1)


class DualNetwork(nn.Module):
    """scale, shift: from a cosine to the log-odds that the caption belongs to the picture (see `probability`)."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, PATCH, CELL // 2, CELL // 2)
        self.embed = nn.Sequential(nn.GELU(), nn.Linear(PATCH, WIDTH))
        self.cell_place = nn.Parameter(torch.randn(GRID * GRID, WIDTH) * 0.02)
        self.image_layers = nn.ModuleList(_layer() for _ in range(LAYERS))
        self.image_head = Head()
        self.piece = nn.Embedding(pieces, WIDTH, padding_idx=PAD)
        self.piece_place = nn.Parameter(torch.randn(LONGEST, WIDTH) * 0.02)
        self.text_layers = nn.ModuleList(_layer() for _ in range(LAYERS))
        self.text_head = Head()
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("shift", torch.tensor(0.0))

    def cells(self, pixels: Tensor) -> Tensor:
        """pixels [B, 128, 128, 3] in 0..1, seen at half size, to states [B, 64, WIDTH]."""
        half = F.avg_pool2d(pixels.permute(0, 3, 1, 2) - 0.5, 2)
        states = self.embed(self.patch(half).flatten(2).transpose(1, 2)) + self.cell_place
        for layer in self.image_layers:
            states = layer(states)
        return states

    def images(self, states: Tensor) -> Tensor:
        """States of `cells` to unit vectors [B, SPACE]."""
        return self.image_head(states, torch.full_like(states[..., 0], 1 / states.shape[1]))

    def texts(self, pieces: Tensor) -> Tensor:
        """Pieces int64 [B, L] to unit vectors [B, SPACE]."""
        padded = pieces == PAD
        states = self.piece(pieces) + self.piece_place[: pieces.shape[1]]
        for layer in self.text_layers:
            states = layer(states, src_key_padding_mask=padded)
        share = (~padded).to(states.dtype)
        return self.text_head(states, share / share.sum(1, keepdim=True))


class DualEncoder:
    """The trained network and its vocabulary."""

    def __init__(self, network: DualNetwork, pieces: Pieces) -> None:
        self.network = network.eval().requires_grad_(False)
        self.pieces = pieces

    def of_images(self, images: Tensor) -> Tensor:
        """uint8 [B, 128, 128, 3] to unit vectors [B, SPACE]."""
        return self.network.images(self.network.cells(images.float() / 255))

    def of_texts(self, texts: Sequence[str]) -> Tensor:
        """Texts to unit vectors [B, SPACE]."""
        return self.network.texts(self.pieces.encode(texts))

    @torch.no_grad()
    def probability(self, images: Tensor, texts: Sequence[str]) -> Tensor:
        """Calibrated similarity [B] in 0..1: the probability that the text is the picture's caption, if beforehand
        it was as likely to be a near-miss of it. Platt's logistic curve over the cosine, fitted after training."""
        cosine = (self.of_images(images) * self.of_texts(texts)).sum(-1)
        return torch.sigmoid(self.network.scale * cosine + self.network.shift)

    def save(self, path: Path, notes: dict[str, Any]) -> None:
        facts = {"vocabulary": self.pieces.vocabulary, **notes}
        weights.save(path, KIND, self.network.state_dict(), facts)

    @classmethod
    def load(cls, path: Path = WEIGHTS) -> DualEncoder:
        """Raises ValueError where `path` is missing or is not this network."""
        tensors, facts = weights.load(path, KIND)
        pieces = Pieces(facts["vocabulary"])
        network = DualNetwork(len(pieces))
        network.load_state_dict(tensors)
        return cls(network, pieces)
