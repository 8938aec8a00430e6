"""The masked transformer of the embedded world.

64 image tokens and five text slots attend to one another; a depthwise 3 x 3 convolution on the image tokens in each
block lets neighbours agree early. Images speak in parts, not in codes, as a pointer-generator network copies words
(arXiv 1704.04368): the text names the code of each of the 16 parts of each object and of the background; a revealed
token is read as the part that it is, and each position answers with a mixture of parts. So the blocks learn where
things can stand once, not for each of 134 classes. One softmax over all codes has to hold 'the ear of the fox or the
top of the tree' in one vector, and gave a tenth of its mass to what cannot be there.
Shapes: B rows, N = 64 tokens, V codes, D features, P = 1 + 4 x 16 parts.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo.config import Config
from cogrpo.emoji.conditioning import LABELS, SIDES
from cogrpo.emoji.scene import BACKGROUND_NAMES, GRID, MOST, SIZE

TOKENS = GRID * GRID
TEXT = 1 + MOST
PARTS = SIZE * SIZE  # of one object
NAMED = 1 + MOST * PARTS  # the background, then part by part of each object
RARE = 1e-6  # the share of every code beside what is named, so that the names can be overruled


class TransformerConfig(Config):
    vocab_size: int
    width: int = 256
    blocks: int = 4
    heads: int = 4


class Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.neighbours = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.norm_attention = nn.LayerNorm(width)
        self.query_key_value = nn.Linear(width, 3 * width, bias=False)
        self.project = nn.Linear(width, width, bias=False)
        self.norm_mlp = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        text, image = x[:, :TEXT], x[:, TEXT:]
        plane = image.transpose(1, 2).reshape(batch, width, GRID, GRID)
        image = image + self.neighbours(plane).flatten(2).transpose(1, 2)
        x = torch.cat([text, image], 1)

        packed = self.query_key_value(self.norm_attention(x)).reshape(batch, length, 3, self.heads, -1)
        query, key, value = packed.permute(2, 0, 3, 1, 4)
        scale = query.shape[-1] ** 0.5  # cosine attention: logits in +-8 for heads of 64
        # Written out: over 69 tokens this is faster on a CPU, backward above all, than the fused kernel.
        match = F.normalize(query, dim=-1) * scale @ F.normalize(key, dim=-1).transpose(-1, -2)
        mixed = match.softmax(-1).to(value.dtype) @ value
        x = x + self.project(mixed.transpose(1, 2).reshape(batch, length, width))
        return x + self.contract(F.gelu(self.expand(self.norm_mlp(x))))


class MaskedTransformer(nn.Module):
    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.code = nn.Embedding(config.vocab_size + 1, width)  # the last row stands for 'hidden'
        self.place = nn.Parameter(torch.randn(TOKENS, width) * 0.02)
        self.label = nn.Embedding(len(LABELS) + 1, width)
        self.side = nn.Linear(len(SIDES) * MOST, width, bias=False)
        self.slot = nn.Parameter(torch.randn(MOST, width) * 0.02)
        self.background = nn.Embedding(len(BACKGROUND_NAMES) + 1, width)
        self.total = nn.Embedding(MOST + 1, width)
        self.no_text = nn.Parameter(torch.randn(TEXT, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocab_size)
        self.part = nn.Parameter(torch.randn(PARTS, width) * 0.02)
        self.whole = nn.Linear(width, width, bias=False)
        self.object = nn.Linear(width, width)
        self.name = nn.Linear(width, width)
        self.seen = nn.Parameter(torch.randn(NAMED, width) * 0.02)
        self.mix = nn.Linear(width, NAMED)
        for table in (self.code, self.label, self.background, self.total):
            nn.init.normal_(table.weight, std=0.02)
        for block in self.blocks:
            nn.init.zeros_(block.project.weight)
            nn.init.zeros_(block.contract.weight)

    def read(self, text: dict[str, Tensor]) -> Tensor:
        """Slots of `encode_specs` to text tokens [B, 5, D]."""
        objects = self.label(text["label"]) + self.side(text["side"]) + self.slot
        whole = self.background(text["background"]) + self.total(text["total"])
        return torch.cat([whole[:, None], objects], 1)

    def names(self, text: Tensor) -> Tensor:
        """What each part looks like, as probabilities of codes [B, P, V] float32. Some parts show the background."""
        whole, objects = self.whole(text[:, :1]), self.object(text[:, 1:])
        parts = (whole + objects)[:, :, None] + self.part  # [B, 4, 16, D]
        return self.head(self.name(F.gelu(torch.cat([whole, parts.flatten(1, 2)], 1)))).float().softmax(-1)

    def forward(self, tokens: Tensor, hidden: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, N] int64, hidden [B, N] bool, text [B, 5, D] -> logits [B, N, V] float32, states [B, N, D]."""
        return self.answer(tokens, hidden, text, self.names(text))

    def answer(self, tokens: Tensor, hidden: Tensor, text: Tensor, names: Tensor) -> tuple[Tensor, Tensor]:
        """`forward`, with the names of the text at hand."""
        # Which part a token can be, [B, N, P]: a reading of the text, not something to learn from here.
        match = names.detach().gather(2, tokens[:, None].expand(-1, NAMED, -1)).transpose(1, 2)
        match = match / (match.sum(-1, keepdim=True) + RARE)
        image = self.code(tokens.masked_fill(hidden, self.config.vocab_size)) + self.place
        image = image + match.masked_fill(hidden[..., None], 0) @ self.seen
        x = torch.cat([text, image], 1)
        for block in self.blocks:
            x = block(x)
        states = self.norm(x[:, TEXT:])
        mixed = self.mix(states).float().softmax(-1) @ names  # [B, N, V]
        return self.head(states).float() + (mixed + RARE).log(), states
