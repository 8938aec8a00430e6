"""A masked model so small that every trajectory of two steps can be enumerated: the truth to test against.

N positions of two codes, logits with context, a table of random rewards. All probabilities are computed here
in float64 from the definition, the kept set as a sum over the orders in which it can be drawn; nothing is
shared with the code under test but the data types.
"""

from __future__ import annotations

from itertools import combinations, permutations, product

import torch
from torch import Tensor

from cogrpo.models.base import Condition, Prediction
from cogrpo.replay import Rollout

CODES = 2


class ToyModel:
    """Logits [N, 2] that depend on which codes are known; without the prompt, other logits."""

    def __init__(self, positions: int, seed: int = 0, sharpness: float = 1.0):
        draw = torch.Generator().manual_seed(seed)
        self.grid, self.vocab_size, self.cell = (1, positions), CODES, (1, 1)
        shapes = ((positions, CODES), (positions, CODES), (positions * CODES, positions * CODES))
        drawn = (sharpness * torch.randn(s, generator=draw, dtype=torch.float64) for s in shapes)
        self.own, self.blank, self.pairs = (tensor.requires_grad_() for tensor in drawn)
        self.parameters = [self.own, self.blank, self.pairs]

    def logits(self, tokens: Tensor, hidden: Tensor, own: Tensor) -> Tensor:
        """[B, N, 2] float64"""
        known = torch.nn.functional.one_hot(tokens, CODES).double() * ~hidden[..., None]
        return own + (known.flatten(1) @ self.pairs).view(len(tokens), -1, CODES)

    def forward(
        self, tokens: Tensor, hidden: Tensor, condition: Condition, progress: Tensor, unconditional: bool
    ) -> Prediction:
        conditional = self.logits(tokens, hidden, self.own)
        second = self.logits(tokens, hidden, self.blank).float() if unconditional else None
        return Prediction(conditional.float(), second, conditional.float().flatten(1))


class ToyMDP:
    """All R trajectories that keep `keep` of N positions in the first of two steps, and the rest in the last."""

    def __init__(self, positions: int, keep: int, seed: int = 0, sharpness: float = 1.0):
        self.model = ToyModel(positions, seed, sharpness)
        rows = []
        for first in product(range(CODES), repeat=positions):
            for chosen in combinations(range(positions), keep):
                rest = [position for position in range(positions) if position not in chosen]
                for codes in product(range(CODES), repeat=len(rest)):
                    last = list(first)
                    for position, code in zip(rest, codes, strict=True):
                        last[position] = code
                    rows.append((first, [position in chosen for position in range(positions)], last))
        self.first, self.last = (torch.tensor([row[i] for row in rows]) for i in (0, 2))  # [R, N]
        self.kept = torch.tensor([row[1] for row in rows])  # [R, N] bool, in the first step
        table = torch.randn((CODES,) * positions, generator=torch.Generator().manual_seed(seed + 1))
        self.rewards = table[tuple(self.last.T)].double()  # [R]

    def ratio(self) -> float:
        """A re-mask ratio that leaves the right number of positions hidden."""
        return float((~self.kept[0]).sum() + 0.5) / self.kept.shape[1]

    def log_probs(self, table: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities under a schedule [2, 4]: tempered, and un-tempered, [R, 2, N] float64 each; 0
        where the position was known."""
        states = [(self.first, torch.ones_like(self.kept)), (self.last, ~self.kept)]
        told = []
        for (sampled, hidden), (_, tau, _, scale) in zip(states, table.double(), strict=True):
            before = torch.where(hidden, 0, sampled)
            without = self.model.logits(before, hidden, self.model.blank)
            guided = without + scale * (self.model.logits(before, hidden, self.model.own) - without)
            for logits in (guided / tau, guided):
                chosen = logits.log_softmax(-1).gather(2, sampled[..., None])[..., 0]
                told.append(chosen.masked_fill(~hidden, 0))
        return torch.stack(told[0::2], dim=1), torch.stack(told[1::2], dim=1)

    def probabilities(self, table: Tensor) -> Tensor:
        """Of each trajectory, [R] float64: tokens, kept set, tokens."""
        log_q, log_p = self.log_probs(table)
        weights = (log_p[:, 0] / table[0, 2].double()).exp()  # [R, N]
        chosen = self.kept.nonzero()[:, 1].view(len(self.kept), -1)  # [R, k]
        of_set = torch.zeros(len(self.kept), dtype=torch.float64)
        for order in permutations(range(chosen.shape[1])):
            left, probability = weights.clone(), torch.ones_like(of_set)
            for position in chosen[:, list(order)].T:
                own = left.gather(1, position[:, None])
                probability = probability * (own / left.sum(dim=1, keepdim=True))[:, 0]
                left = left.scatter(1, position[:, None], 0.0)
            of_set = of_set + probability
        return log_q.sum(dim=(1, 2)).exp() * of_set

    def expected_reward(self, table: Tensor) -> Tensor:
        return self.probabilities(table) @ self.rewards

    def gradient(self, table: Tensor) -> Tensor:
        """Of the expected reward in all parameters, [parameters] float64."""
        slopes = torch.autograd.grad(self.expected_reward(table), self.model.parameters)
        return torch.cat([slope.flatten() for slope in slopes])

    @torch.no_grad()
    def finite_differences(self, table: Tensor, step: float = 1e-4) -> Tensor:
        """The same by central differences."""
        slopes = []
        for flat in [parameter.data.view(-1) for parameter in self.model.parameters]:
            for index, value in enumerate(flat.tolist()):
                flat[index] = value + step
                above = self.expected_reward(table)
                flat[index] = value - step
                slopes.append((above - self.expected_reward(table)) / (2 * step))
                flat[index] = value
        return torch.stack(slopes)

    @torch.no_grad()
    def rollout(self, table: Tensor) -> Rollout:
        """All trajectories as if they had been decoded, each once."""
        rows, positions = self.first.shape
        log_q, log_p = self.log_probs(table)
        every = torch.arange(rows).repeat_interleave(2)
        step = torch.arange(2).repeat(rows)
        hidden = torch.stack([torch.ones_like(self.kept), ~self.kept], dim=1)
        sampled = torch.stack([self.first, self.last], dim=1)
        return Rollout(
            Condition({"none": torch.zeros(rows, 1)}), 64, every, step, torch.full_like(step, 2),
            torch.where(hidden, 0, sampled).flatten(0, 1), hidden.flatten(0, 1), sampled.flatten(0, 1),
            torch.stack([self.kept, ~self.kept], dim=1).flatten(0, 1), table.float().repeat(rows, 1),
            log_q.flatten(0, 1).float(), log_p.flatten(0, 1).float(), torch.zeros(2 * rows),
        )  # fmt: skip
