"""Records the decode that a cold page plays: `python -m ui.record_example` writes ui/static/example.trace."""

from __future__ import annotations

import argparse
from pathlib import Path

from cogrpo.recipe import Request
from cogrpo.registry import Registry, data_folder
from ui import payload
from ui.generation import Generations
from ui.records import Records

PROMPT = "a fox to the left of a tree on a light blue background"
SEEDS_TRIED = 50
PLACE = Path(__file__).parent / "static" / "example.trace"


def record(generations: Generations, request: Request, place: Path) -> bool:
    """Decode `request` and write it as a shared trace, which needs no server.

    Returns whether the detector found all that was asked for; only then is anything written.
    """
    recipe = generations.engine.prepare(request)
    model = generations.engine.model(recipe)
    *updates, generation = generations.engine.decode([recipe])
    verifier = generations.verdict(generation)
    if verifier["strict"]:
        pictures = [payload.png(update.images()[0]) for update in updates]
        # No milliseconds: how long it took on another machine is nobody's figure.
        extras = {"baselines": generations.baselines(recipe), "verifier": verifier}
        generations.shared(generation.trace, pictures, model, **extras).save(place)
    return verifier["strict"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prompt", default=PROMPT)
    parser.add_argument("--seed", type=int, default=0, help="the first seed to try")
    parser.add_argument("--steps", type=int, default=8)
    asked = parser.parse_args()
    generations = Generations(Records(None), Registry(data_folder()))
    for seed in range(asked.seed, asked.seed + SEEDS_TRIED):
        if record(generations, Request(asked.prompt, seed, asked.steps), PLACE):
            print(f"{PLACE.name}: seed {seed}")
            return
    raise SystemExit(f"None of {SEEDS_TRIED} seeds gave a picture in which the detector found everything.")


if __name__ == "__main__":
    main()
