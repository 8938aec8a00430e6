"""Do the detectors see what a person sees? 100 sampled pictures, judged by A, by B and by eye.

`python -m cogrpo.evaluation.agreement --sheets FOLDER` paints test prompts drawn at random and writes five numbered
sheets without any verdict. Look at them, note the numbers of the wrong ones in a file (JSON:
`{"wrong": {"17": "two cats, not three"}}`), and ask again with `--eye FILE`: one JSON line with the agreement.
"""

from __future__ import annotations

import argparse
import json
import textwrap
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from cogrpo.emoji import prompts
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.emoji.verifier import score
from cogrpo.engine import Engine, Generation
from cogrpo.recipe import Request

COUNT, A_SHEET, COLUMNS = 100, 20, 5
STEPS, SEED = 16, 5
WIDTH, HEIGHT = 272, 200  # of one picture with its words


def paint(steps: int) -> tuple[list[PromptEntry], np.ndarray]:
    """Prompts and pictures uint8 [100, 128, 128, 3]."""
    entries = prompts.load("test")
    chosen = [entries[i] for i in np.random.default_rng(SEED).choice(len(entries), COUNT, replace=False)]
    requests = [Request(entry.prompt, SEED, steps, "cosine", checkpoint="baseline") for entry in chosen]
    made = [item for item in Engine().generate(requests) if isinstance(item, Generation)]
    return chosen, np.stack([item.image for item in made])


def sheet(entries: list[PromptEntry], pictures: np.ndarray, first: int) -> Image.Image:
    """Pictures with number and prompt, in rows of five."""
    page = Image.new("RGB", (COLUMNS * WIDTH, -(-len(entries) // COLUMNS) * HEIGHT), "white")
    pen, font = ImageDraw.Draw(page), ImageFont.load_default(13)
    for place, (entry, picture) in enumerate(zip(entries, pictures, strict=True)):
        x, y = place % COLUMNS * WIDTH, place // COLUMNS * HEIGHT
        page.paste(Image.fromarray(picture), (x + 4, y + 4))
        words = "\n".join(textwrap.wrap(entry.prompt, 19)[:7])
        pen.multiline_text((x + 140, y + 4), f"{first + place}\n{words}", "black", font)
    return page


def agreement(entries: list[PromptEntry], pictures: np.ndarray, wrong: dict[str, str]) -> dict[str, object]:
    """Shares of pictures on which two judges agree, and the numbers on which they do not."""
    judges = {"eye": np.array([str(number) not in wrong for number in range(COUNT)])}
    for name in ("a", "b"):
        found = Detector.load(name).detect(torch.from_numpy(pictures))
        judges[name] = np.array([score(e.spec, each).strict for e, each in zip(entries, found, strict=True)])
    told: dict[str, object] = {f"right by {name}": int(right.sum()) for name, right in judges.items()}
    for one, other in (("a", "eye"), ("b", "eye"), ("a", "b")):
        differ = (judges[one] != judges[other]).nonzero()[0]
        told[f"{one} and {other}"] = {"agree": COUNT - len(differ), "differ on": differ.tolist()}
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--eye", type=Path)
    parser.add_argument("--steps", type=int, default=STEPS)
    asked = parser.parse_args()
    entries, pictures = paint(asked.steps)
    if asked.sheets:
        asked.sheets.mkdir(parents=True, exist_ok=True)
        for first in range(0, COUNT, A_SHEET):
            part = slice(first, first + A_SHEET)
            sheet(entries[part], pictures[part], first).save(asked.sheets / f"sheet-{first:02}.png")
    if asked.eye:
        wrong = json.loads(asked.eye.read_text(encoding="utf-8"))["wrong"]
        print(json.dumps(agreement(entries, pictures, wrong)))


if __name__ == "__main__":
    main()
