"""The command line of the training side: `python -m cogrpo train|gate|export`."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from cogrpo import candidate, checkpoint, schedules, training
from cogrpo.checkpoint import CheckpointFileError
from cogrpo.config import ConfigError, load_config, validated
from cogrpo.device import probe
from cogrpo.emoji import prompts
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.prompts import PromptListError
from cogrpo.evaluation.score_table import Bench, Player
from cogrpo.gate import DEFAULT, GateConfig, GateError, verdict
from cogrpo.gate_page import PicturePair, page
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.recipe import whole
from cogrpo.registry import Checkpoint, Registry
from cogrpo.rewards.base import RewardError
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.mixer import Mixer
from cogrpo.trace import write_atomically
from cogrpo.trainer import TrainingError
from cogrpo.training import MOST_SEEDS, RunConfig

REFUSED = (CheckpointFileError, ConfigError, GateError, PromptListError, RewardError, TrainingError)
SHOWN = 24  # pairs of pictures on the gate's page
SPLITS = ("validation", "test")  # prompts that a gate may ask
FIRST_SEED = MOST_SEEDS  # of the gate's pictures: none of those by which a run chose its checkpoint


def train(asked: argparse.Namespace) -> int:
    config = _configured(asked)
    _check_device(asked.device)
    if asked.dry_run:
        print(json.dumps(_dry_run(config)))
        return 0
    done = checkpoint.latest_round(asked.out)
    bar = tqdm(total=config.rounds, initial=done, unit="round", file=sys.stderr, dynamic_ncols=True)
    with bar:
        for line in training.run(config, asked.out):
            print(json.dumps(line), flush=True)
            bar.update(line["round"] - bar.n)
            bar.set_postfix(reward=f"{line['reward']:.3f}", steps=line["steps"])
    chosen = asked.out / training.CHOSEN
    told = {"checkpoint": str(chosen), "sha256": candidate.load(chosen).sha256, "rounds": config.rounds}
    print(json.dumps(told), flush=True)
    return 0


def gate(asked: argparse.Namespace) -> int:
    config, facts = load_config(asked.config, GateConfig), candidate.load(asked.candidate).facts
    told = validated(facts.get("config"), RunConfig, f"{asked.candidate}/{candidate.FACTS}").trainer
    if asked.split not in SPLITS:
        raise GateError(f"split: {asked.split!r} is not allowed; allowed are {' and '.join(SPLITS)}.")
    entries = prompts.load(asked.split)
    if asked.limit is not None:
        entries = _spread(entries, whole("limit", asked.limit, config.least_prompts, len(entries)))
    # One picture a prompt says nothing about collapse.
    seeds = range(FIRST_SEED, FIRST_SEED + whole("seeds", asked.seeds, 2, MOST_SEEDS))
    registry = Registry()
    against = Path(asked.against)
    champion = registry.at(against) if against.is_dir() else registry.resolve(asked.against)
    players = {
        "champion": _player(registry, champion, told.steps),
        "candidate": _player(registry, registry.at(asked.candidate), told.steps),
    }
    mixer = Mixer.load(told.rewards, ScoreCache(None))
    bench = Bench(mixer, Detector.load("b"), entries, seeds, told.steps, told.block_rows)
    asked.out.mkdir(parents=True, exist_ok=True)
    tables, pictures = {}, {}
    for name, player in players.items():
        tables[name], pictures[name] = bench.table(player, players["champion"])
        write_atomically(asked.out / f"{name}.json", tables[name].model_dump_json().encode())
    result = verdict(tables["candidate"], tables["champion"], config)
    write_atomically(asked.out / "verdict.json", result.model_dump_json(indent=1).encode())
    shown = np.random.default_rng(0).permutation(len(entries))[:SHOWN]
    draw = tables["champion"].draws[0]
    pairs = [
        PicturePair(
            entries[i].prompt, draw.seed, draw.steps, pictures["champion"][i, 0], pictures["candidate"][i, 0]
        )
        for i in shown
    ]
    write_atomically(asked.out / "report.html", page(result, pairs).encode())
    for check in result.checks:
        at = "all" if check.steps is None else check.steps
        span = f"{check.difference:+.4f} [{check.low:+.4f}, {check.high:+.4f}]"
        print(
            f"{check.name:<18} T {at!s:<4} {check.champion:.4f} -> {check.candidate:.4f}  {span}  {check.outcome}"
        )
    print("passed" if result.passed else "\n".join(("not passed:", *result.reasons)))
    return int(not result.passed)


def export(asked: argparse.Namespace) -> int:
    sha256 = candidate.export(asked.checkpoint, asked.out)
    print(json.dumps({"out": str(asked.out), "sha256": sha256}))
    return 0


def _configured(asked: argparse.Namespace) -> RunConfig:
    """The file's configuration with what the command line says instead. Raises ConfigError."""
    told = load_config(asked.config, RunConfig).model_dump(mode="json")
    for name in ("rounds", "seed"):
        if getattr(asked, name) is not None:
            told[name] = getattr(asked, name)
    if asked.arm is not None:
        told["trainer"] |= {"arm": asked.arm}
        if asked.arm in ("model", "schedule"):
            told["trainer"]["schedule_first"] = 0
    if asked.steps is not None:
        told["trainer"]["steps"] = asked.steps.split(",")
    return validated(told, RunConfig, str(asked.config))


def _dry_run(config: RunConfig) -> dict[str, object]:
    told = training.rehearse(config)
    seconds = {phase: round(value, 2) for phase, value in told["seconds"].items()}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"peak_mib": round(peak), "seconds": seconds, "hours": round(told["hours"], 2)}


def _check_device(asked: str) -> None:
    """Raises TrainingError where the embedded model, the only one so far, cannot train on a device."""
    kind, _, number = asked.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise TrainingError(f"device: {asked!r} is unknown; allowed are auto, cpu and cuda[:n].")
    if kind == "cuda":
        here = torch.cuda.device_count() > int(number or 0)
        why = (
            "the embedded model trains on the CPU alone so far" if here else "torch finds no such device here"
        )
        raise TrainingError(f"device: {asked!r} is not allowed: {why}; allowed are auto and cpu.")


def _player(registry: Registry, weights: Checkpoint, steps: tuple[int, ...]) -> Player:
    """Weights and the schedule policy that they were trained with; loose weights play their `auto` schedule."""
    told = registry.trained(weights)
    if told is None:
        bases = [schedules.resolve(schedules.AUTO, count, weights.model) for count in steps]
        policy = SchedulePolicy(PolicyConfig(), bases)
    else:
        policy = told.policy
    return Player(weights.sha256, registry.load(weights, probe().name), policy)


def _spread(entries: list, limit: int) -> list:
    """`limit` prompts, evenly over the list, and so over its categories."""
    return [entries[index] for index in np.linspace(0, len(entries) - 1, limit).round().astype(int)]


def add_commands(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("train", help="improve a model and its schedule by Co-GRPO")
    command.add_argument("--config", type=Path, required=True, help="a file of configs/rounds")
    command.add_argument("--arm", choices=("co", "joint", "model", "schedule"), help="instead of the file's")
    command.add_argument("--rounds", type=int, help="instead of the file's")
    command.add_argument("--seed", type=int, help="instead of the file's")
    command.add_argument("--steps", help="numbers of decoding steps, as in 4,8, instead of the file's")
    command.add_argument(
        "--out", type=Path, default=Path("runs/train"), help="folder of the run; goes on where it is"
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="one round thrown away: memory, seconds by phase, hours at most",
    )
    command.add_argument("--device", default="auto", help="auto, cpu or cuda[:n]; auto is the CPU so far")
    command.set_defaults(run=lambda asked, engine, judge: train(asked))

    command = commands.add_parser("gate", help="hold a candidate against the champion")
    command.add_argument("candidate", type=Path, help="a candidate's folder, such as runs/train/chosen")
    command.add_argument("--against", default="champion", help="a candidate's folder, or [MODEL:]NAME")
    command.add_argument("--config", type=Path, default=DEFAULT, help="thresholds")
    command.add_argument("--split", default="validation", help="prompts: validation or test")
    command.add_argument("--seeds", default="2", help="pictures a prompt at each number of steps")
    command.add_argument("--limit", help="that many prompts, evenly over the split")
    command.add_argument(
        "--out", type=Path, default=Path("gate"), help="folder for verdict.json and report.html"
    )
    command.set_defaults(run=lambda asked, engine, judge: gate(asked))

    command = commands.add_parser("export", help="weights, schedule and card that others can use without us")
    command.add_argument("checkpoint", type=Path, help="a candidate's folder")
    command.add_argument("--out", type=Path, required=True, help="a new folder")
    command.set_defaults(run=lambda asked, engine, judge: export(asked))
