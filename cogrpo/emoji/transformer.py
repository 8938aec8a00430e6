"""The masked transformer of the embedded world.

64 image tokens and five text slots attend to one another; a depthwise 3 x 3 convolution on the image tokens in each
block lets neighbours agree early. The text has a say in the answer, too: each slot names the codes that its object is
made of, and each position mixes the slots. One softmax alone has to hold 'a part of the fox or a part of the tree' in
one vector, and gave a tenth of its mass to things that nobody asked for.
Shapes: B rows, N = 64 tokens, V codes, D features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from cogrpo.config import Config
from cogrpo.emoji.conditioning import LABELS, SIDES
from cogrpo.emoji.scene import BACKGROUND_NAMES, GRID, MOST

TOKENS = GRID * GRID
TEXT = 1 + MOST
RARE = 1e-6  # the share of every code in what the slots name, so that they can be overruled


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
        self.side = nn.Linear(len(SIDES), width, bias=False)
        self.slot = nn.Parameter(torch.randn(MOST, width) * 0.02)
        self.background = nn.Embedding(len(BACKGROUND_NAMES) + 1, width)
        self.total = nn.Embedding(MOST + 1, width)
        self.no_text = nn.Parameter(torch.randn(TEXT, width) * 0.02)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.blocks))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, config.vocab_size)
        self.named = nn.Linear(width, width)
        self.mix = nn.Linear(width, TEXT)
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

    def forward(self, tokens: Tensor, hidden: Tensor, text: Tensor) -> tuple[Tensor, Tensor]:
        """tokens [B, N] int64, hidden [B, N] bool, text [B, 5, D] -> logits [B, N, V] float32, states [B, N, D]."""
        image = self.code(tokens.masked_fill(hidden, self.config.vocab_size)) + self.place
        x = torch.cat([text, image], 1)
        for block in self.blocks:
            x = block(x)
        states = self.norm(x[:, TEXT:])
        named = self.head(self.named(text)).float().softmax(-1)  # [B, 5, V]: the codes of each slot
        mixed = self.mix(states).float().softmax(-1) @ named  # [B, N, V]
        return self.head(states).float() + (mixed + RARE).log(), states
