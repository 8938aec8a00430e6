"""Score tables for the gate: what a model does under the mean of its schedule policy, on frozen prompts and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cogrpo import guards
from cogrpo.emoji.detector import Detector
from cogrpo.emoji.prompts import PromptEntry
from cogrpo.emoji.verifier import score
from cogrpo.exploration import STILL
from cogrpo.gate import Draw, ScoreTable
from cogrpo.grpo import k3
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import SchedulePolicy
from cogrpo.replay import Rollout, replay
from cogrpo.rewards.mixer import Mixer
from cogrpo.rollout import Groups, roll_out

PROMPTS_AT_ONCE = 8


@dataclass(frozen=True)
class Player:
    """Weights and schedule that are judged together; sha256 names them."""

    sha256: str
    model: MaskedImageModel
    policy: SchedulePolicy


@dataclass(frozen=True)
class Bench:
    """What every player is judged by.

    seeds: of the first prompt's pictures at each number of steps, one after another; those of the next prompt follow
    them (`ScoreTable.seed`). steps: in any order.
    """

    mixer: Mixer
    detector_b: Detector
    prompts: Sequence[PromptEntry]
    seeds: range
    steps: Sequence[int]
    block_rows: int

    def table(self, player: Player, champion: Player) -> tuple[ScoreTable, np.ndarray]:
        """The table of a player, and its pictures uint8 [P, R, H, W, 3]; R: seeds within steps."""
        lengths = sorted(self.steps)  # the order of a table's groups
        scores: dict[str, list[list[float]]] = {}
        groups: dict[str, list[list[float]]] = {}
        tables: dict[int, list[tuple]] = {steps: [] for steps in lengths}
        pictures = []
        for start in range(0, len(self.prompts), PROMPTS_AT_ONCE):
            rows = [self._rows(player, champion, start, steps) for steps in lengths]
            pictures.append(torch.cat([row.images for row, _ in rows], dim=1).numpy())
            for name in rows[0][1]:
                told = torch.cat([values[name] for _, values in rows], dim=1)
                scores.setdefault(name, []).extend(told.tolist())
            for index in range(len(rows[0][0].images)):
                told_groups = [guards.of_group(row.images[index], row.tokens[index]) for row, _ in rows]
                for name in told_groups[0]:
                    groups.setdefault(name, []).append([group[name] for group in told_groups])
            for row, _ in rows:
                tables[row.steps] += row.schedules
        return ScoreTable(
            checkpoint=player.sha256,
            prompts=tuple(entry.prompt for entry in self.prompts),
            draws=tuple(Draw(seed, steps) for steps in lengths for seed in self.seeds),
            rewards=self.mixer.weights,
            scores=scores,
            groups=groups,
            schedules={steps: tuple(dict.fromkeys(told)) for steps, told in tables.items()},
        ), np.concatenate(pictures)

    def _rows(
        self, player: Player, champion: Player, start: int, steps: int
    ) -> tuple[_Rows, dict[str, Tensor]]:
        """The pictures of the prompts from `start`, and their scores by name, [P, R] each."""
        entries, per_prompt = self.prompts[start : start + PROMPTS_AT_ONCE], len(self.seeds)
        first = self.seeds.start + start * per_prompt
        groups = roll_out(
            player.model, player.policy, [entry.prompt for entry in entries], per_prompt, steps,
            range(first, first + len(entries) * per_prompt), STILL, 0.0, self.block_rows,
        )  # fmt: skip
        specs = [entry.spec for entry in entries for _ in self.seeds]
        told = dict(self.mixer.scores(groups.images, groups.prompts))
        found = self.detector_b.detect(groups.images)
        right = [score(spec, detection).strict for spec, detection in zip(specs, found, strict=True)]
        told["detector_b"] = torch.tensor(right).float()
        told |= guards.of_pictures(groups.images)
        told["clamped"] = groups.clamped
        told["kl"] = (
            _divergence(groups.rollout, champion.model) if player is not champion else 0 * groups.clamped
        )
        shaped = {name: values.reshape(len(entries), per_prompt) for name, values in told.items()}
        return _Rows.of(groups, steps, len(entries)), shaped


@dataclass(frozen=True)
class _Rows:
    """The pictures of some prompts at one number of steps."""

    steps: int
    images: Tensor  # uint8 [P, R, H, W, 3]
    tokens: Tensor  # [P, R, N]
    schedules: list[tuple]

    @staticmethod
    def of(groups: Groups, steps: int, prompts: int) -> _Rows:
        told = groups.rollout
        used = [told.schedule[told.row == row].tolist() for row in range(len(groups.prompts))]
        tables = [tuple(tuple(values) for values in rows) for rows in used if len(rows) == steps]
        return _Rows(
            steps,
            groups.images.unflatten(0, (prompts, -1)),
            groups.tokens.unflatten(0, (prompts, -1)),
            tables,
        )


@torch.no_grad()
def _divergence(rollout: Rollout, champion: MaskedImageModel) -> Tensor:
    """KL to the champion in nats a kept token, k3 on the player's own samples, [B]."""
    rows = int(rollout.row.max()) + 1
    total, count = torch.zeros(rows), torch.zeros(rows)
    for chunk in replay(champion, rollout):
        told = chunk.recorded
        nats = (k3(chunk.old.tokens, chunk.new.tokens) * chunk.old.scored).sum(dim=1)
        total.index_add_(0, told.row, nats)
        count.index_add_(0, told.row, chunk.old.scored.sum(dim=1).float())
    return total / count
