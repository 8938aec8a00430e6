"""The command line of the training side: `python -m cogrpo train|gate|export`."""

from __future__ import annotations

import argparse
import json
import resource
import sys
from pathlib import Path

import torch
from tqdm import tqdm

from cogrpo import candidate, checkpoint, training
from cogrpo.checkpoint import CheckpointFileError
from cogrpo.config import ConfigError, load_config, validated
from cogrpo.emoji import prompts
from cogrpo.emoji.prompts import PromptListError
from cogrpo.gate import DEFAULT, GateConfig, GateError
from cogrpo.gate_run import Gate, spread
from cogrpo.recipe import MOST_SEED, whole
from cogrpo.registry import Registry
from cogrpo.rewards.base import RewardError
from cogrpo.rewards.cache import ScoreCache
from cogrpo.trainer import TrainingError
from cogrpo.training import GATE_SEEDS, MOST_SEEDS, RunConfig

REFUSED = (CheckpointFileError, ConfigError, GateError, PromptListError, RewardError, TrainingError)
SPLITS = ("validation", "test")  # prompts that a gate may ask


def train(asked: argparse.Namespace) -> int:
    config = _configured(asked)
    device = training_device(asked.device)
    if asked.dry_run:
        print(json.dumps(_dry_run(config, device)))
        return 0
    done = checkpoint.latest_round(asked.out)
    bar = tqdm(total=config.rounds, initial=done, unit="round", file=sys.stderr, dynamic_ncols=True)
    with bar:
        for line in training.run(config, asked.out, device):
            print(json.dumps(line), flush=True)
            bar.update(line["round"] - bar.n)
            bar.set_postfix(reward=f"{line['reward']:.3f}", steps=line["steps"])
    chosen = asked.out / training.CHOSEN
    told = {"checkpoint": str(chosen), "sha256": candidate.load(chosen).sha256, "rounds": config.rounds}
    print(json.dumps(told), flush=True)
    return 0


def gate(asked: argparse.Namespace) -> int:
    config, facts = load_config(asked.config, GateConfig), candidate.load(asked.candidate).facts
    told = validated(facts.get("config"), RunConfig, f"{asked.candidate}/{candidate.FACTS}")
    if asked.split not in SPLITS:
        raise GateError(f"split: {asked.split!r} is not allowed; allowed are {' and '.join(SPLITS)}.")
    entries = prompts.load(asked.split)
    if asked.limit is not None:
        entries = spread(entries, whole("limit", asked.limit, config.least_prompts, len(entries)))
    # One picture a prompt says nothing about collapse.
    seeds = whole("seeds", asked.seeds, 2, MOST_SEEDS)
    registry = Registry()
    against = Path(asked.against)
    champion = registry.at(against) if against.is_dir() else registry.resolve(asked.against)
    mixer = training.mixer_of(told, registry, ScoreCache(None))
    first = whole("first seed", asked.first_seed, GATE_SEEDS, MOST_SEED)
    bench = Gate(config, entries, seeds, mixer, told.trainer, first)
    result = bench.judge(registry, registry.at(asked.candidate), champion, asked.out).verdict
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


def _dry_run(config: RunConfig, device: str) -> dict[str, object]:
    told = training.rehearse(config, device)
    seconds = {phase: round(value, 2) for phase, value in told["seconds"].items()}
    memory = {"peak_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)}
    if device != "cpu":
        memory["peak_device_mib"] = round(torch.cuda.max_memory_allocated(device) / 2**20)
    return {**memory, "seconds": seconds, "hours": round(told["hours"], 2)}


def training_device(asked: str) -> str:
    """Where a network is trained: `auto` is the CPU, which is enough for the embedded model and repeats to the bit.

    Raises TrainingError for a device that is not here."""
    kind, _, number = asked.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (number and (kind != "cuda" or not number.isdecimal())):
        raise TrainingError(f"device: {asked!r} is unknown; allowed are auto, cpu and cuda[:n].")
    if kind == "cuda" and torch.cuda.device_count() <= int(number or 0):
        raise TrainingError(
            f"device: {asked!r} is not allowed: torch finds no such device here; allowed are auto and cpu."
        )
    return "cpu" if kind == "auto" else asked


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
    command.add_argument("--device", default="auto", help="auto, cpu or cuda[:n]; auto is the CPU")
    command.set_defaults(run=lambda asked, engine, judge: train(asked))

    command = commands.add_parser("gate", help="hold a candidate against the champion")
    command.add_argument("candidate", type=Path, help="a candidate's folder, such as runs/train/chosen")
    command.add_argument("--against", default="champion", help="a candidate's folder, or [MODEL:]NAME")
    command.add_argument("--config", type=Path, default=DEFAULT, help="thresholds")
    command.add_argument("--split", default="validation", help="prompts: validation or test")
    command.add_argument("--seeds", default="2", help="pictures a prompt at each number of steps")
    command.add_argument(
        "--first-seed",
        default=str(GATE_SEEDS),
        help="another one for a look at other pictures of the same prompts",
    )
    command.add_argument("--limit", help="that many prompts, evenly over the split")
    command.add_argument(
        "--out", type=Path, default=Path("gate"), help="folder for verdict.json and report.html"
    )
    command.set_defaults(run=lambda asked, engine, judge: gate(asked))

    command = commands.add_parser("export", help="weights, schedule and card that others can use without us")
    command.add_argument("checkpoint", type=Path, help="a candidate's folder")
    command.add_argument("--out", type=Path, required=True, help="a new folder")
    command.set_defaults(run=lambda asked, engine, judge: export(asked))
