"""Verifier: how much of the prompt detector A finds in the picture, 1 where all of it is strictly right."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from cogrpo.emoji.detector import WEIGHTS, Detector
from cogrpo.emoji.grammar import parse
from cogrpo.emoji.verifier import score
from cogrpo.rewards.base import Context, Reward, blocks, file_version

RULE = 1  # of `emoji.verifier.score`; raise it when a score changes


class Verifier:
    name = "verifier"
    range = (0.0, 1.0)

    def __init__(self) -> None:
        self.version = f"{RULE}-{file_version(WEIGHTS / 'detector_a.safetensors')}"
        self.detector = Detector.load("a")

    def __call__(self, images: Tensor, prompts: Sequence[str], context: Context) -> Tensor:
        """Raises grammar.PromptError (a ValueError) for a prompt without a known object."""
        specs = {prompt: parse(prompt).spec for prompt in dict.fromkeys(prompts)}
        found = [
            detection
            for index, count in blocks(len(images))
            for detection in self.detector.detect(images[index])[:count]
        ]
        pairs = zip(prompts, found, strict=True)
        return torch.tensor([score(specs[prompt], detection).soft for prompt, detection in pairs])


def load() -> Reward:
    return Verifier()
