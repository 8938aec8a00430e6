"""Records the decode that a cold page plays, and beside it the same seed under cosine: `python -m ui.record_example`
writes both to ui/static.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from cogrpo.recipe import Recipe, Request
from cogrpo.registry import Registry, data_folder
from cogrpo.trace import Trace
from ui import payload
from ui.generation import Generations
from ui.records import Records

PROMPT = "a fox to the left of a tree on a light blue background"
SEEDS_TRIED = 50
PLACE = Path(__file__).parent / "static" / "example.trace"
RIVAL = PLACE.with_name("example-cosine.trace")


def record(generations: Generations, recipe: Recipe) -> Trace:
    """Decode a recipe to a shared trace, which needs no server."""
    *updates, generation = generations.engine.decode([recipe])
    pictures = [payload.png(update.images()[0]) for update in updates]
    # No milliseconds: how long it took on another machine is nobody's figure.
    extras = {"baselines": generations.baselines(recipe), "verifier": generations.verdict(generation)}
    return generations.shared(generation.trace, pictures, generations.engine.model(recipe), **extras)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--seed", type=int, default=0, help="the first seed to try")
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--checkpoint", default="champion", help="one that has learned a schedule")
    asked = parser.parse_args()
    generations = Generations(Records(None), Registry(data_folder()))
    for seed in range(asked.seed, asked.seed + SEEDS_TRIED):
        recipe = generations.engine.prepare(
            Request(asked.prompt, seed, asked.steps, checkpoint=asked.checkpoint)
        )
        own = record(generations, recipe)
        if own.extras["verifier"]["strict"]:
            own.save(PLACE)
            record(generations, generations.rival(recipe)).save(RIVAL)
            print(f"{PLACE.name}: seed {seed}")
            return
    raise SystemExit(f"None of {SEEDS_TRIED} seeds gave a picture in which the detector found everything.")


if __name__ == "__main__":
    main()
