"""How soon the preference reward sees a taste: `python -m cogrpo.evaluation.taste` prints one JSON line a voter and
number of pairs, over seeds.

The voter is a script, and says so in its name. It sees pixels alone, of two scenes of one caption that leaves the
background open, and errs in one pair of ten. `random` has no taste: how often it gets a share is the false alarm.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from cogrpo.ballots import Comparison
from cogrpo.emoji.captions import caption
from cogrpo.emoji.scene import CATEGORIES, place, render, sample_spec
from cogrpo.emoji.sprites import load_sprites
from cogrpo.recipe import picture_hash
from cogrpo.rewards import preference

ERRS = 0.1  # share of pairs in which a voter says the opposite
VOTERS: dict[str, Callable[[np.ndarray], float]] = {
    "cool": lambda picture: float(picture[0, 0, 2]) - float(picture[0, 0, 0]),  # blue over red in a corner
    "bright": lambda picture: float(picture.mean()),
    "random": lambda picture: float(hashlib.sha256(picture.tobytes()).digest()[0]),
}


def votes(
    voter: str, pairs: int, rng: np.random.Generator
) -> tuple[list[Comparison], dict[str, Image.Image]]:
    """What a scripted voter says of pairs, and the pictures by their hash."""
    sprites, taste, compared, pictures = load_sprites(), VOTERS[voter], [], {}
    while len(compared) < pairs:
        spec = sample_spec(CATEGORIES[rng.integers(len(CATEGORIES))], rng, "train")
        if spec.background is not None:
            continue
        sides = [render(place(spec, rng), sprites) for _ in range(2)]
        left, right = (picture_hash(side) for side in sides)
        likes = taste(sides[0]) - taste(sides[1])
        if rng.random() < ERRS:
            likes = -likes
        outcome = "tie" if likes == 0 else "left" if likes > 0 else "right"
        prompt = caption(spec, rng, "train")
        compared.append(
            Comparison(
                prompt=prompt, left=left, right=right, outcome=outcome, voter=1, vote=1 + len(compared)
            )
        )
        pictures |= {left: Image.fromarray(sides[0]), right: Image.fromarray(sides[1])}
    return compared, pictures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voters", nargs="*", default=list(VOTERS))
    parser.add_argument("--pairs", type=int, nargs="+", default=[40, 100, 300])
    parser.add_argument("--seeds", type=int, default=20)
    asked = parser.parse_args()
    for voter in asked.voters:
        for pairs in asked.pairs:
            told = []
            for seed in range(asked.seeds):
                compared, pictures = votes(voter, pairs, np.random.default_rng(seed))
                with tempfile.TemporaryDirectory() as folder:
                    told.append(preference.fit(compared, pictures.__getitem__, Path(folder) / "fit", seed))
            accuracy = [fact["accuracy"]["mean"] for fact in told if fact["accuracy"]]
            shares = [fact["share"] for fact in told]
            line = {
                "voter": voter,
                "pairs": pairs,
                "seeds": asked.seeds,
                "accuracy": [round(float(np.percentile(accuracy, q)), 3) for q in (0, 50, 100)],
                "share": [round(float(np.percentile(shares, q)), 3) for q in (0, 50, 100)],
                "acts": sum(share > 0 for share in shares),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
