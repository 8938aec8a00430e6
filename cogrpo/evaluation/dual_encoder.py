"""Whether the dual encoder may be a reward: `python -m cogrpo.evaluation.dual_encoder` prints one JSON line, and
keeps it beside the weights, where the reward looks before it acts.

Each picture is shown with 20 captions: its own, ten near-misses of it, and nine others. The share of pictures whose own
caption is the nearest must be at least .90 on rendered scenes and .80 on samples of the model, else `fit` is false.
A sample counts where detector B, which no reward sees, finds that it shows its prompt: of another picture the prompt
is not the right caption. `all_samples` is the share with the rest counted too.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cogrpo.emoji.captions import caption
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.dual_encoder import FITNESS, FLOORS, WEIGHTS, DualEncoder
from cogrpo.emoji.near_misses import near_miss
from cogrpo.emoji.scene import CATEGORIES, Scene, Spec, place, render, sample_spec, satisfies
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.verifier import score
from cogrpo.engine import Engine, Generation
from cogrpo.evaluation.emoji import interval
from cogrpo.recipe import Request
from cogrpo.rewards.base import file_version
from cogrpo.trace import write_atomically

NEAR, OTHER = 10, 9
BATCH = 16


@dataclass(frozen=True)
class Trial:
    """captions: 20, the right one first."""

    category: str
    spec: Spec
    scene: Scene
    captions: tuple[str, ...]


def trials(count: int, rng: np.random.Generator) -> list[Trial]:
    """`count` trials, each category equally often. As in the frozen lists, groups are paired as no training caption
    pairs them, and a third of the trials uses templates of no training caption."""
    return [_trial(CATEGORIES[i % len(CATEGORIES)], i % 3 == 0, rng) for i in range(count)]


def _trial(category: str, unseen: bool, rng: np.random.Generator) -> Trial:
    spec = sample_spec(category, rng, "test")
    scene = place(spec, rng)
    specs = [spec]
    while len(specs) < 1 + NEAR + OTHER:
        near = len(specs) <= NEAR
        # 'four red apples' has six near-misses in all: now and then an edit of an edit counts, or this would not end.
        origin = spec if rng.random() < 0.9 else specs[rng.integers(len(specs))]
        other = near_miss(origin, rng) if near else sample_spec(_any_category(rng), rng, "test")
        if other not in specs and not satisfies(other, scene):
            specs.append(other)
    wording = "test" if unseen else "train"
    return Trial(category, spec, scene, tuple(caption(each, rng, wording) for each in specs))


def _any_category(rng: np.random.Generator) -> str:
    return CATEGORIES[rng.integers(len(CATEGORIES))]


@torch.no_grad()
def found(encoder: DualEncoder, pictures: Tensor, asked: Sequence[Trial]) -> np.ndarray:
    """Whether the right caption is the nearest of the 20, bool [B]; pictures uint8 [B, 128, 128, 3]."""
    hits = []
    for start in range(0, len(asked), BATCH):
        part = asked[start : start + BATCH]
        images = encoder.of_images(pictures[start : start + BATCH])
        texts = encoder.of_texts([text for trial in part for text in trial.captions])
        cosine = (images[:, None] * texts.unflatten(0, (len(part), -1))).sum(-1)
        hits.append(cosine.argmax(1) == 0)
    return torch.cat(hits).numpy()


def samples(engine: Engine, asked: Sequence[Trial], steps: int, checkpoint: str) -> Tensor:
    """One sample a trial of its right caption, with the checkpoint's own schedule, uint8 [B, 128, 128, 3]."""

    def decoded() -> Iterator[np.ndarray]:
        for start in range(0, len(asked), BATCH):
            part = asked[start : start + BATCH]
            requests = [
                Request(trial.captions[0], start + row, steps, checkpoint=checkpoint)
                for row, trial in enumerate(part)
            ]
            yield from (item.image for item in engine.generate(requests) if isinstance(item, Generation))

    return torch.from_numpy(np.stack(list(decoded())))


def measure(
    encoder: DualEncoder, engine: Engine, count: int, steps: int, checkpoint: str, seed: int = 78
) -> dict[str, object]:
    """The figures, each share with its 95 % interval over pictures, and whether the floors are held."""
    asked = trials(count, np.random.default_rng(seed))
    sprites = load_sprites()
    scenes = found(
        encoder, torch.from_numpy(np.stack([render(trial.scene, sprites) for trial in asked])), asked
    )
    pictures = samples(engine, asked, steps, checkpoint)
    hits = found(encoder, pictures, asked)
    seen = zip(asked, Detector.load("b").detect(pictures), strict=True)
    right = np.array([score(trial.spec, detection).strict for trial, detection in seen])
    categories = np.array([trial.category for trial in asked])
    shares = {"scenes": interval([scenes]), "all_samples": interval([hits])}
    shares["samples"] = interval([hits[right]]) if right.any() else {"mean": 0.0, "low": 0.0, "high": 0.0}
    return {
        "pictures": count,
        "samples_counted": int(right.sum()),
        **shares,
        "scenes_by_category": {
            name: round(float(scenes[categories == name].mean()), 4) for name in CATEGORIES
        },
        "fit": all(shares[name]["mean"] >= floor for name, floor in FLOORS.items()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", default="baseline", help="whose samples are judged")
    parser.add_argument("--pictures", type=int, default=700)
    parser.add_argument("--steps", type=int, default=16)
    asked = parser.parse_args()
    told = measure(DualEncoder.load(), Engine(), asked.pictures, asked.steps, asked.checkpoint)
    told = {"weights": file_version(WEIGHTS), **told}
    write_atomically(FITNESS, (json.dumps(told, indent=1) + "\n").encode())
    print(json.dumps(told))


if __name__ == "__main__":
    main()
