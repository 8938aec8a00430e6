"""What detector A finds in a picture, held against what was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch

from cogrpo.emoji.detector import Detector
from cogrpo.emoji.grammar import parse
from cogrpo.emoji.scene import Spec
from cogrpo.emoji.verifier import Detection, Verdict, score


class Judge:
    """Detector A and the verifier: scores pictures against what was asked for."""

    def __init__(self) -> None:
        self.detector = Detector.load("a")

    def detect(self, images: np.ndarray) -> list[Detection]:
        """images uint8 [B, 128, 128, 3]."""
        return self.detector.detect(torch.from_numpy(images))

    def score(self, images: np.ndarray, specs: Sequence[Spec]) -> list[Verdict]:
        """images uint8 [B, 128, 128, 3]."""
        detections = self.detect(images)
        return [score(spec, detection) for spec, detection in zip(specs, detections, strict=True)]

    def score_prompts(self, images: np.ndarray, prompts: Sequence[str]) -> list[Verdict]:
        """As `score`. Raises grammar.PromptError for a prompt in which no object is known."""
        return self.score(images, [parse(prompt).spec for prompt in prompts])


def verify(image: np.ndarray, prompt: str) -> float:
    """The soft score in [0, 1] of a picture, uint8 [128, 128, 3]: 1 exactly where it is strictly right.

    Raises grammar.PromptError where no object is known."""
    (verdict,) = _judge().score_prompts(image[None], [prompt])
    return verdict.soft


@cache
def _judge() -> Judge:
    return Judge()
