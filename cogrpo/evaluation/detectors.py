"""How far the two detectors can be trusted: `python -m cogrpo.evaluation.detectors` prints one JSON line each.

Objects right on clean scenes and on their reconstructions by the tokenizer, right scenes accepted, and near-misses
(a right scene edited until it no longer shows its caption) refused.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from cogrpo.emoji.detector import CORNERS, Detector
from cogrpo.emoji.scene import (
    CATEGORIES,
    MOST,
    SIZE,
    Placed,
    Scene,
    Spec,
    place,
    render,
    sample_spec,
    satisfies,
)
from cogrpo.emoji.sprites import load_sprites
from cogrpo.emoji.tokenizer import Tokenizer
from cogrpo.emoji.verifier import score
from cogrpo.emoji.vocabulary import CLASSES, FAMILIES
from cogrpo.models.emoji import WEIGHTS

EDITS = ("swap colours", "mirror", "add", "remove", "move")
FAR = (
    CORNERS - 1
)  # the last corner; an object moves by its own size, one cell of the 2 x 2 that a picture holds


def _free(objects: tuple[Placed, ...]) -> bool:
    pairs = ((a, b) for i, a in enumerate(objects) for b in objects[i + 1 :])
    inside = all(0 <= item.row <= FAR and 0 <= item.col <= FAR for item in objects)
    return inside and all(max(abs(a.row - b.row), abs(a.col - b.col)) >= SIZE for a, b in pairs)


def edit(kind: str, scene: Scene, rng: np.random.Generator) -> Scene | None:
    """One random edit, or None where it does not apply."""
    objects = list(scene.objects)
    chosen = int(rng.integers(len(objects)))
    match kind:
        case "swap colours":
            other = int(rng.integers(len(objects)))
            mine, theirs = CLASSES[objects[chosen].cls], CLASSES[objects[other].cls]
            swapped = FAMILIES[mine.noun].get(theirs.colour), FAMILIES[theirs.noun].get(mine.colour)
            if None in swapped:
                return None
            objects[chosen] = replace(objects[chosen], cls=swapped[0])
            objects[other] = replace(objects[other], cls=swapped[1])
        case "mirror":
            axis = ("row", "col")[rng.integers(2)]
            objects = [replace(item, **{axis: FAR - getattr(item, axis)}) for item in objects]
        case "add" if len(objects) < MOST:
            row, col = (int(value) for value in rng.integers(CORNERS, size=2))
            objects.append(Placed(int(rng.integers(len(CLASSES))), row, col))
        case "remove" if len(objects) > 1:
            del objects[chosen]
        case "move":
            axis = ("row", "col")[rng.integers(2)]
            step = SIZE * int(rng.choice((-1, 1)))
            objects[chosen] = replace(objects[chosen], **{axis: getattr(objects[chosen], axis) + step})
        case _:
            return None
    return Scene(tuple(objects), scene.background) if _free(tuple(objects)) else None


def near_misses(count: int, rng: np.random.Generator) -> list[tuple[str, Spec, Scene]]:
    """`count` edited scenes that no longer show their caption, each kind of edit equally often."""
    found: list[tuple[str, Spec, Scene]] = []
    while len(found) < count:
        kind = EDITS[len(found) % len(EDITS)]
        spec = sample_spec(CATEGORIES[rng.integers(len(CATEGORIES))], rng, "test")
        edited = edit(kind, place(spec, rng), rng)
        if edited is not None and not satisfies(spec, edited):
            found.append((kind, spec, edited))
    return found


def objects_right(scenes: list[Scene], pictures: Tensor, detector: Detector) -> float:
    """Share of objects found with class and corner, of the larger of shown and found (a ghost counts as wrong)."""
    right = total = 0
    for scene, found in zip(scenes, detector.detect(pictures), strict=True):
        right += len(set(scene.objects) & set(found.objects))
        total += max(len(scene.objects), len(found.objects))
    return right / total


def measure(
    detector: Detector, scenes: int = 490, misses: int = 200, seed: int = 77
) -> dict[str, float | str]:
    rng, sprites = np.random.default_rng(seed), load_sprites()
    specs: list[Spec] = [sample_spec(CATEGORIES[i % len(CATEGORIES)], rng, "test") for i in range(scenes)]
    shown = [place(spec, rng) for spec in specs]
    pictures = torch.from_numpy(np.stack([render(scene, sprites) for scene in shown]))
    tokenizer = Tokenizer.load(WEIGHTS / "tokenizer.safetensors")
    again = torch.cat([tokenizer.decode(tokenizer.encode(part)) for part in pictures.split(16)])
    accepted = [
        score(spec, found).strict for spec, found in zip(specs, detector.detect(pictures), strict=True)
    ]
    wrong = near_misses(misses, rng)
    edited = torch.from_numpy(np.stack([render(scene, sprites) for _, _, scene in wrong]))
    pairs = zip(wrong, detector.detect(edited), strict=True)
    refused = [not score(spec, found).strict for (_, spec, _), found in pairs]
    return {
        "detector": detector.name,
        "objects right, clean": objects_right(shown, pictures, detector),
        "objects right, reconstructed": objects_right(shown, again, detector),
        "right scenes accepted": float(np.mean(accepted)),
        "near-misses refused": float(np.mean(refused)),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=["a", "b"])
    for name in parser.parse_args().names:
        print(json.dumps(measure(Detector.load(name))), flush=True)
