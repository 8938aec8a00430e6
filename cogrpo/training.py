"""A training run: from a configuration file to a checkpoint, resumable after a kill at any moment.

Every finished round is checkpointed *before* its line is told, the line with it, and all chance of a round comes from
(seed, round). So the same command, started again, goes on, tells every round, and ends with the same hash.
"""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from cogrpo import candidate, checkpoint, schedules, sinks
from cogrpo.config import Config
from cogrpo.device import probe
from cogrpo.emoji import prompts as emoji_prompts
from cogrpo.exploration import STILL
from cogrpo.policy import SchedulePolicy
from cogrpo.registry import Registry, own_policy
from cogrpo.rewards import preference
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.mixer import Mixer
from cogrpo.rollout import roll_out
from cogrpo.sinks import SinkName
from cogrpo.trace import write_atomically
from cogrpo.trainer import SECONDS, Trainer, TrainingError
from cogrpo.trainer_config import Count, TrainerConfig

CACHE, METRICS, CHOSEN, LOCK = "scores.jsonl", "metrics.jsonl", "chosen", ".lock"
VALIDATION = "validation/"  # before the name of a figure, in a round's metrics
MOST_SEEDS = 1000  # of a prompt's pictures
GATE_SEEDS = 2**20  # those of the gate begin here; a run's validation stays below


class ValidationConfig(Config):
    """How a run is judged while it goes: averaged weights, mean schedule, prompts that train nothing."""

    every: Count = 10  # rounds
    per_category: Count = 10  # prompts
    seeds: Annotated[int, Field(ge=1, le=MOST_SEEDS)] = (
        1  # pictures of each prompt, each with a seed of its own
    )


class RunConfig(Config):
    model: Literal["emoji"] = "emoji"
    checkpoint: str = "baseline"  # the weights to start from, and the reference of the KL penalty
    # From which the policy starts: a form, a table file, or `learned`, the mean schedule of a candidate.
    schedule: str = "cosine"
    preference: str = ""  # the folder of a fitted preference reward, in the data folder
    prompts: str = "train"  # a split of the embedded prompts, or a .jsonl file in their format
    categories: tuple[str, ...] = ()  # () means all
    rounds: Count
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    choose: Literal["last", "best"] = "last"  # by the validation reward
    sink: SinkName = "files"  # `trackio` shows the lines of the run, too; they are in its folder in any case
    trainer: TrainerConfig
    validation: ValidationConfig = ValidationConfig()


def build(config: RunConfig, cache: Path | None = None, device: str = "cpu") -> Trainer:
    """Load all that a run needs, and write nothing. device: where the network is trained; the rest is the CPU's.

    Raises CheckpointError, ScheduleError, RewardError, PromptListError or TrainingError."""
    registry = Registry()
    weights = registry.resolve(f"{config.model}:{config.checkpoint}")
    prompts = training_prompts(config)
    model = registry.load(weights, probe().name)
    model.network.to(device)
    # The seed decides the first weights of a `state` policy, too.
    torch.manual_seed(config.seed)
    policy = first_policy(config, own_policy(registry, config.schedule, weights), model.features)
    mixer = mixer_of(config, registry, ScoreCache(cache))
    return Trainer(config.trainer, model, policy, mixer, prompts, config.seed, config.rounds, weights.sha256)


def first_policy(config: RunConfig, own: SchedulePolicy | None, features: int) -> SchedulePolicy:
    """The policy of round 0. own: the one that was trained with the weights, where the run begins from what it learned.

    A table becomes the base of a new policy. A policy that reads the state has no table, so it goes on itself, with its
    own body, width and bounds. What was learned at a number of steps that this run does not train is kept as it is.
    Raises ScheduleError."""
    told, learned = config.trainer.policy, () if own is None else own.trained
    lengths = sorted({*config.trainer.steps, *learned})
    if own is not None and own.config.body == "state":
        kept = {name: getattr(own.config, name) for name in ("body", "width", "low", "high")}
        bases = [own.base_schedule(steps) for steps in lengths]
        policy = SchedulePolicy(told.model_copy(update=kept), bases, features)
        policy.body.load_state_dict(own.body.state_dict())
        return policy
    bases = [
        schedules.resolve(config.schedule, steps, config.model, learned=own and own.mean_schedule(steps))
        for steps in lengths
    ]
    return SchedulePolicy(told, bases, features)


def mixer_of(config: RunConfig, registry: Registry, cache: ScoreCache) -> Mixer:
    """The rewards of a run. Raises RewardError."""
    fitted = preference.read(registry.data / config.preference) if config.preference else None
    return Mixer.load(config.trainer.rewards, cache, fitted, config.trainer.reward_placement)


def run(config: RunConfig, out: Path, device: str = "cpu") -> Iterator[dict[str, Any]]:
    """Train up to `config.rounds`, going on from `out` where it holds a checkpoint of this configuration.

    Yields one line of metrics a round, which is also kept in `metrics.jsonl`. Raises what `build` and `Trainer.advance`
    raise, TrainingError where `out` belongs to another run or a run is going on there, CheckpointFileError where its
    last checkpoint is damaged, OSError.
    """
    told = config.model_dump(mode="json")
    trainer = build(config, out / CACHE, device)
    with sinks.opened(config.sink, out.name, told) as report, _alone(out):
        best: float | None = None
        last = checkpoint.latest(out)
        if last is not None:
            saved = checkpoint.load(last)
            _check_same(out, saved.facts, told, trainer)
            trainer.restore(saved.tensors, saved.facts)
            best = saved.facts["best"]
        if _forget_after(out / METRICS, trainer.round) < trainer.round:
            yield _told(out, saved.facts["line"], report)
        while trainer.round < config.rounds:
            metrics: dict[str, Any] = {"round": trainer.round + 1, **trainer.advance()}
            if _validates(config, trainer.round):
                metrics |= validate(trainer, config)
            score = metrics.get(f"{VALIDATION}reward")
            if score is not None and (config.choose == "last" or best is None or score > best):
                best = score
                hand_over(trainer, config, metrics, out / CHOSEN)
            facts = {
                **trainer.facts(),
                "config": told,
                "origin": trainer.origin,
                "best": best,
                "line": metrics,
            }
            checkpoint.save(out, trainer.round, trainer.tensors(), facts)
            yield _told(out, metrics, report)


def rehearse(config: RunConfig, device: str = "cpu") -> dict[str, Any]:
    """What a run costs, from one round and one validation that are thrown away: seconds by phase, and hours.

    The round has the most steps and both updates, and every group that spreads at all is informative; hours count each
    phase as often as the run has it. So they are an upper bound.
    """
    dearest = {"arm": "joint", "schedule_first": 0, "steps": config.trainer.steps[-1:], "least_spread": 0.0}
    longest = config.model_copy(update={"trainer": config.trainer.model_copy(update=dearest)})
    trainer = build(longest, device=device)
    metrics = trainer.advance()
    seconds = {
        name.removeprefix(SECONDS): value for name, value in metrics.items() if name.startswith(SECONDS)
    }
    start = time.perf_counter()
    validate(trainer, config)
    seconds["validation"] = time.perf_counter() - start
    updates = [config.trainer.updates(round) for round in range(config.rounds)]
    often = dict.fromkeys(seconds, config.rounds) | {
        "replay": sum(theta for theta, _ in updates),
        "validation": sum(_validates(config, round) for round in range(1, config.rounds + 1)),
    }
    return {"seconds": seconds, "hours": sum(seconds[phase] * often[phase] for phase in seconds) / 3600}


def hand_over(trainer: Trainer, config: RunConfig, metrics: Mapping[str, Any], folder: Path) -> str:
    """Write the run's candidate of this round, with what its validation says of it; returns its hash."""
    facts = {
        "config": config.model_dump(mode="json"),
        "rounds": trainer.round,
        "origin": trainer.origin,
        "weights": trainer.mixer.weights,
        "figures": {name: value for name, value in metrics.items() if name.startswith(VALIDATION)},
    }
    return candidate.save(folder, trainer.average_model, trainer.average_policy, facts)


@torch.no_grad()
def validate(trainer: Trainer, config: RunConfig) -> dict[str, float]:
    """Mean scores of averaged weights under their mean schedule, on validation prompts, the same at every round.
    `validation/reward`, by which `choose: best` chooses, is their weighted mean, each reward in its own unit.

    Each picture has a seed of its own: with one for all prompts they would share their noise, and their luck."""
    told: dict[str, float] = {}
    chosen, each = validation_prompts(config.validation.per_category), config.validation.seeds
    seeds = range(len(chosen) * each)
    for steps in config.trainer.steps:
        groups = roll_out(
            trainer.average_model, trainer.average_policy, chosen, each, steps, seeds, STILL, 0.0,
            config.trainer.block_rows,
        )  # fmt: skip
        for name, scores in trainer.mixer.scores(groups.images, groups.prompts).items():
            told[f"{VALIDATION}{name}/{steps}"] = float(scores.mean())
    weights, units = trainer.mixer.weights, trainer.mixer.units
    means = [
        told[f"{VALIDATION}{name}/{steps}"] / units[name] * weights[name]
        for name in weights
        for steps in config.trainer.steps
    ]
    return {**told, f"{VALIDATION}reward": sum(means) / sum(weights.values()) / len(config.trainer.steps)}


def training_prompts(config: RunConfig) -> list[str]:
    """The prompts to train on. Raises PromptListError, and TrainingError for an unknown category or a test prompt."""
    entries = emoji_prompts.load(config.prompts)
    known = dict.fromkeys(entry.category for entry in entries)
    for category in config.categories:
        if category not in known:
            raise TrainingError(f"categories: {category!r} is unknown; allowed are {', '.join(known)}.")
    tests = {entry.prompt for entry in emoji_prompts.load("test")}
    for entry in entries:
        if entry.prompt in tests:
            raise TrainingError(
                f"prompts: {config.prompts!r} is not allowed for training: {entry.prompt!r} is a test prompt."
            )
    return [entry.prompt for entry in entries if not config.categories or entry.category in config.categories]


def validation_prompts(per_category: int) -> list[str]:
    """The first prompts of each category of the validation list."""
    taken: dict[str, list[str]] = {}
    for entry in emoji_prompts.load("validation"):
        taken.setdefault(entry.category, []).append(entry.prompt)
    return [prompt for prompts in taken.values() for prompt in prompts[:per_category]]


@contextmanager
def _alone(out: Path) -> Iterator[None]:
    """Make a folder and keep other runs out of it; the lock ends with the process, however it ends."""
    out.mkdir(parents=True, exist_ok=True)
    with (out / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrainingError(f"out: a run is going on in {out}; choose another folder.") from None
        yield


def _validates(config: RunConfig, round: int) -> bool:
    """Whether the run is judged after a round, 1-based."""
    return round % config.validation.every == 0 or round == config.rounds


def _check_same(out: Path, facts: dict[str, Any], config: dict[str, Any], trainer: Trainer) -> None:
    """Raises TrainingError where a run that goes on would not end as the one that began."""
    if facts["config"] != config:
        raise TrainingError(f"out: {out} holds a run of another configuration; choose another folder.")
    before = facts.get("origin", {})
    other = [name for name, value in trainer.origin.items() if before.get(name) != value]
    if other:
        raise TrainingError(
            f"out: {out} holds a run with other {' and '.join(other)}; choose another folder."
        )


def _told(out: Path, line: dict[str, Any], report: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    with (out / METRICS).open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    report(line)
    return line


def _forget_after(path: Path, round: int) -> int:
    """Drop the lines of rounds that a kill undid, and one that it cut off; returns the last round that is left."""
    if not path.exists():
        return 0
    lines = path.read_text(encoding="utf-8").splitlines()
    kept = [line for line in lines if round_of(line) <= round]
    write_atomically(path, "".join(line + "\n" for line in kept).encode())
    return int(round_of(kept[-1])) if kept else 0


def round_of(line: str) -> float:
    """The round that a line of `metrics.jsonl` tells of; infinity where a kill cut the line off."""
    try:
        return json.loads(line)["round"]
    except (ValueError, KeyError, TypeError):
        return float("inf")
