"""The gate from end to end: decodes candidate and champion, judges, and writes what people read.

candidate.json and champion.json are the score tables, verdict.json the verdict, report.html the page.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cogrpo.config import Config
from cogrpo.device import probe
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.evaluation.score_table import Bench, Player
from cogrpo.gate import GateConfig, ScoreTable, Verdict, verdict
from cogrpo.gate_page import PicturePair, page, png
from cogrpo.people import GateVote, Taste
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.registry import Checkpoint, Registry
from cogrpo.rewards.mixer import Mixer
from cogrpo.trace import write_atomically
from cogrpo.trainer_config import TrainerConfig
from cogrpo.training import GATE_SEEDS

SHOWN = 24  # pairs of pictures on the gate's page
CANDIDATE, CHAMPION, VERDICT, PAGE = "candidate.json", "champion.json", "verdict.json", "report.html"


@dataclass(frozen=True)
class Judged:
    """What a gate found."""

    verdict: Verdict
    candidate: ScoreTable
    champion: ScoreTable
    pictures: tuple[PicturePair, ...]  # of the same prompts and seeds

    def keep(self, put: Callable[[bytes], str]) -> list[dict[str, Any]]:
        """Prompt, seed and steps of each pair, and the names under which `put` keeps its PNG files."""
        return [
            {
                "prompt": pair.prompt, "seed": pair.seed, "steps": pair.steps,
                "before": put(png(pair.champion)), "after": put(png(pair.candidate)),
            }
            for pair in self.pictures
        ]  # fmt: skip


@dataclass(frozen=True)
class Gate:
    """What both players are asked. seeds: pictures of each prompt at each number of steps."""

    config: GateConfig
    prompts: Sequence[PromptEntry]
    seeds: int
    mixer: Mixer
    trainer: TrainerConfig  # that of the candidate's run
    first_seed: int = GATE_SEEDS

    def judge(
        self,
        registry: Registry,
        candidate: Checkpoint,
        champion: Checkpoint,
        out: Path,
        votes: Sequence[GateVote] = (),
        tastes: Sequence[Taste] = (),
    ) -> Judged:
        """Decode, judge and write, at every number of steps that either has learned.

        candidate: with the policy that it was trained with.
        Raises CheckpointError, GateError, RewardError or OSError."""
        learned, held = (registry.trained(checkpoint) for checkpoint in (candidate, champion))
        known = {*self.trainer.steps, *learned.policy.trained, *(held.policy.trained if held else ())}
        steps = tuple(sorted(known))
        played = _begun(learned.policy, steps) if held is None else held.policy
        champion_player = _player(registry, champion, played)
        candidate_player = _player(registry, candidate, learned.policy)
        seeds = range(self.first_seed, self.first_seed + self.seeds)
        bench = Bench(self.mixer, Detector.load("b"), self.prompts, seeds, steps, self.trainer.block_rows)
        out.mkdir(parents=True, exist_ok=True)
        before, old = bench.table(champion_player, champion_player)
        _write(out / CHAMPION, before)
        after, new = bench.table(candidate_player, champion_player)
        _write(out / CANDIDATE, after)
        result = verdict(after, before, self.config, votes, tastes)
        _write(out / VERDICT, result, indent=1)
        shown = np.random.default_rng(0).permutation(len(self.prompts))[:SHOWN].tolist()
        pairs = tuple(
            PicturePair(
                self.prompts[i].prompt, before.seed(i, 0), before.draws[0].steps, old[i, 0], new[i, 0]
            )
            for i in shown
        )
        write_atomically(out / PAGE, page(result, pairs).encode())
        return Judged(result, after, before, pairs)


def spread(entries: Sequence[PromptEntry], limit: int) -> list[PromptEntry]:
    """`limit` prompts, evenly over the list, and so over its categories."""
    return [entries[index] for index in np.linspace(0, len(entries) - 1, limit).round().astype(int)]


def _player(registry: Registry, weights: Checkpoint, policy: SchedulePolicy) -> Player:
    return Player(weights.sha256, registry.load(weights, probe().name), policy)


def _begun(policy: SchedulePolicy, steps: tuple[int, ...]) -> SchedulePolicy:
    """What loose weights play: the schedule from which a policy began, as a rule the best that was set by hand."""
    bounds = PolicyConfig(low=policy.config.low, high=policy.config.high)
    return SchedulePolicy(bounds, [policy.base_schedule(count) for count in steps])


def _write(path: Path, told: Config, indent: int | None = None) -> None:
    write_atomically(path, told.model_dump_json(indent=indent).encode())
