"""How true the tokenizer is: `python -m cogrpo.evaluation.tokenizer` encodes and decodes one scene for each test prompt
and prints one JSON line.

PSNR in dB on the 0 to 1 scale: from the mean squared error over all pictures, of the median picture and of the worst.
"""

from __future__ import annotations

import argparse
import json

import numpy as np
import torch

from cogrpo.emoji import prompts
from cogrpo.emoji.scene import place, render
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.models.emoji import WEIGHTS


def measure(seed: int = 9) -> dict[str, float]:
    rng, sprites = np.random.default_rng(seed), load_sprites()
    scenes = [place(entry.spec, rng) for entry in prompts.load("test")]
    pictures = torch.from_numpy(np.stack([render(scene, sprites) for scene in scenes]))
    tokenizer = Tokenizer.load(WEIGHTS / "tokenizer.safetensors")
    again = torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in pictures.split(16)])
    error = ((again.float() - pictures.float()) / 255).square().mean((1, 2, 3))
    return {"scenes": len(scenes)} | {
        name: round(-10 * value.log10().item(), 2)
        for name, value in (("pooled", error.mean()), ("median", error.median()), ("worst", error.max()))
    }


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__).parse_args()
    print(json.dumps(measure()))
