"""Does a taste that only votes tell reach the pictures? A simulated voter, and labelled so.

`python -m benchmarks.taste_transfer cool` starts the app with its worker and an empty data folder. A script then votes
through `/pair` and `/vote`, seeing pixels only: `cool` likes cool backgrounds, `bright` bright pictures, `random`
anything. Rounds start by themselves (configs/rounds/taste.yaml); where one waits for a person, the script promotes it
as an admin would, and says so. It prints a JSON line for each round and, at the end, one with how often the voter
prefers the new champion to the old on test prompts that leave the background open, and what the verifier says of both.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from gradio_client import Client

from benchmarks.serving import ROOT, picture, server
from cogrpo.config import load_config
from cogrpo.emoji import prompts
from cogrpo.emoji.judge import Judge
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.engine import Engine, Generation
from cogrpo.evaluation.emoji import interval
from cogrpo.evaluation.taste import VOTERS
from cogrpo.loop_config import RoundConfig
from cogrpo.recipe import Request
from cogrpo.registry import Registry
from db import rounds
from db.models import Round
from db.session import Store

CONFIG = ROOT / "configs" / "rounds" / "taste.yaml"
STEPS, SEEDS, BATCH = 8, 2, 16
ADMIN = "simulated-admin"
LOOK = 2.0  # s between two looks at a round
Taste = Callable[[np.ndarray], float]


def cast(client: Client, taste: Taste, count: int) -> dict[str, int]:
    """Vote on so many pairs; how often each outcome was said."""
    said = dict.fromkeys(("left", "right", "tie"), 0)
    for _ in range(count):
        pair = client.predict("collect", "simulated-voter", "", api_name="/pair")
        likes = taste(picture(pair["left"])) - taste(picture(pair["right"]))
        outcome = "tie" if likes == 0 else "left" if likes > 0 else "right"
        client.predict(pair["presentation"], outcome, "simulated-voter", api_name="/vote")
        said[outcome] += 1
    return said


def settled(store: Store, client: Client, number: int) -> tuple[Round, bool]:
    """A round once it has ended, and whether it was held for a person; a candidate that is held is promoted."""
    held = False
    while True:
        with store.read() as session:
            row = session.get(Round, number)
            if row is not None and row.ended_at is not None:
                return row, held
            waits = row is not None and row.state == "gated"
        if waits:
            held = True
            client.predict(ADMIN, number, api_name="/promote")
        time.sleep(LOOK)


def line(row: Round, held: bool) -> dict[str, object]:
    report = row.report or {}
    return {
        "event": "round", "round": row.id, "state": row.state, "held": held,
        "seconds": round((row.ended_at - row.created_at).total_seconds()),
        "preference": report.get("preference"), "weights": report.get("weights"), "words": report.get("words"),
    }  # fmt: skip


def paint(engine: Engine, checkpoint: str, entries: Sequence[PromptEntry]) -> np.ndarray:
    """Pictures uint8 [P, SEEDS, H, W, 3], each with a seed of its own, which is the same for every checkpoint."""
    jobs = [
        Request(entry.prompt, place * SEEDS + seed, STEPS, checkpoint=f"emoji:{checkpoint}")
        for place, entry in enumerate(entries)
        for seed in range(SEEDS)
    ]
    made = [
        item.image
        for start in range(0, len(jobs), BATCH)
        for item in engine.generate(jobs[start : start + BATCH])
        if isinstance(item, Generation)
    ]
    return np.stack(made).reshape(len(entries), SEEDS, *made[0].shape)


def transfer(data: Path, taste: Taste, old: str, new: str) -> dict[str, object]:
    """What the voter and the verifier say of two checkpoints, on the test prompts."""
    engine, judge, entries = Engine(Registry(data)), Judge(), prompts.load("test")
    before, after = (paint(engine, checkpoint, entries) for checkpoint in (old, new))
    open_ = np.array([entry.spec.background is None for entry in entries])
    likes = np.array(
        [
            [np.sign(taste(b) - taste(a)) for a, b in zip(*pair, strict=True)]
            for pair in zip(before[open_], after[open_], strict=True)
        ]
    )
    specs = [entry.spec for entry in entries for _ in range(SEEDS)]
    strict = [
        np.array(
            [verdict.strict for verdict in judge.score(told.reshape(-1, *told.shape[2:]), specs)], dtype=float
        )
        for told in (before, after)
    ]
    before_right, after_right = (told.reshape(len(entries), SEEDS) for told in strict)
    return {
        "pairs": likes.size,
        "prefers_new": interval([(likes + 1) / 2]),  # ties half
        "decided": int(np.count_nonzero(likes)),
        "of_decided": round(float((likes > 0).sum() / max(1, np.count_nonzero(likes))), 4),
        "strict_before": round(float(before_right.mean()), 4),
        "strict_after": round(float(after_right.mean()), 4),
        "strict_change": interval([after_right - before_right]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("voter", choices=sorted(VOTERS))
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--minutes", type=float, default=90, help="no round begins that would end after them")
    parser.add_argument("--data", type=Path, help="a data folder to keep; an empty one")
    asked = parser.parse_args()
    config, taste = load_config(CONFIG, RoundConfig), VOTERS[asked.voter]
    with tempfile.TemporaryDirectory() as spare:
        data, begun = (asked.data or Path(spare)).resolve(), time.monotonic()
        settings = {"STUDIO_ROUNDS": str(CONFIG), "STUDIO_ADMIN_TOKEN": ADMIN, "STUDIO_WORKER": "embedded"}
        old = Registry(data).resolve("champion").sha256
        with server(data, **settings) as address:
            client, store = Client(address, verbose=False), Store.existing(data)
            longest, number = 0.0, 0
            while number < asked.rounds and time.monotonic() - begun + longest < asked.minutes * 60:
                number, start = number + 1, time.monotonic()
                said = cast(client, taste, config.loop.least_votes)
                print(
                    json.dumps({"event": "votes", "voter": f"simulated: {asked.voter}", **said}), flush=True
                )
                print(json.dumps(line(*settled(store, client, number))), flush=True)
                longest = max(longest, time.monotonic() - start)
            with store.read() as session:
                assert len(rounds.listed(session)) == number
        minutes = (time.monotonic() - begun) / 60
        new = Registry(data).resolve("champion").sha256
        told = {
            "event": "transfer",
            "voter": f"simulated: {asked.voter}",
            "rounds": number,
            "minutes": round(minutes, 1),
            "old": old,
            "new": new,
        }
        print(json.dumps(told | transfer(data, taste, old, new)))


if __name__ == "__main__":
    main()
