"""The sampler: the only place where tokens are drawn.

One step, in this order: forward -> the schedule acts -> guide -> sample -> score -> rank -> keep.
Shapes: B rows, N positions, V codes, M hidden positions of one row.

The network runs in padded blocks of one fixed row count, each branch a call of its own, and all arithmetic after it has
shapes that depend on the row alone. So a row's numbers are the same bits alone, in a batch, and replayed, and rows that
see the same, as all rows of one prompt do at first, share one row of the network.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from cogrpo import noise
from cogrpo.models.base import Condition, MaskedImageModel
from cogrpo.schedule import Schedule

BLOCK_ROWS = 4
TOP = 5
SAMPLER_VERSION = 1


@dataclass(frozen=True)
class Step:
    """What one step did, for all rows. A finished row idles: its last tokens, nothing kept."""

    index: int  # 0-based
    steps: Tensor  # [B] int64, the length of each row's decode
    active: Tensor  # [B] bool
    schedule: Tensor  # [B, 4] float32, as used
    sampled: Tensor  # [B, N] int64: the code drawn where hidden before the step, the known token elsewhere
    kept: Tensor  # [B, N] bool, revealed in this step
    hidden: Tensor  # [B, N] bool, still hidden after it
    confidence: Tensor  # [B, N] float32: guided, un-tempered p of `sampled`; known: as it was when kept
    token_logprob: Tensor  # [B, N] float32: log-prob under guided logits / tau_s; 0 where known before
    entropy: Tensor  # [B] float32, nats: guided, un-tempered, mean over the positions hidden before the step
    top_codes: Tensor  # [B, N, 5] int64, 0 where known before
    top_probs: Tensor  # [B, N, 5] float32, guided, un-tempered, 0 where known before
    clamped: Tensor  # [B] bool: r asked for more, or fewer, hidden positions than the step can leave
    log_confidence: Tensor  # [B, N] float32: log of `confidence` where hidden before the step, else 0


class Actor(Protocol):
    """What acts the schedule out step by step, from what the network just saw."""

    def act(self, features: Tensor, rows: Tensor, index: int, steps: Tensor) -> Tensor:
        """The schedule's numbers [b, 4] float32 of step `index`, for one padded row block.

        features [b, D] of this step's forward pass, rows [b] int64 (the last may repeat the first: padding),
        steps [b] int64, the length of each row's decode.
        """


def guide(
    conditional: Tensor, unconditional: Tensor | None, scale: Tensor, out: Tensor | None = None
) -> Tensor:
    """Guided logits l = l_u + s (l_c - l_u).

    conditional, unconditional [B, M, V] (None where every scale is 1), scale [B]; `out` may be `conditional`.
    Where s is 1 or 0 a branch is taken as it is: l_u + (l_c - l_u) is not l_c in bits, and a row must not depend on
    whether its neighbours want guidance.
    """
    s = scale.view(-1, 1, 1)
    if unconditional is None or (s == 1).all():
        return conditional
    plain = torch.where(s == 1, conditional, unconditional) if ((s == 1) | (s == 0)).any() else None
    guided = torch.sub(conditional, unconditional, out=out).mul_(s).add_(unconditional)
    return guided if plain is None else torch.where((s == 1) | (s == 0), plain, guided)


@torch.no_grad()
def decode(
    model: MaskedImageModel,
    condition: Condition,
    schedules: Sequence[Schedule],
    seeds: Sequence[int],
    block_rows: int = BLOCK_ROWS,
    cancel: threading.Event | None = None,
    actor: Actor | None = None,
) -> Iterator[Step]:
    """Decode one row for each schedule and seed; rows may differ in both, and in length.

    With an `actor` the schedules give the lengths only, and the actor their numbers; both branches run then,
    because the guidance scale is known only after the forward pass.
    Yields one Step a step. Ends early, between steps, when `cancel` is set.
    Raises ValueError where the numbers of rows disagree, FloatingPointError where the network returns NaN.
    """
    rows = len(schedules)
    if not rows == len(seeds) == len(condition):
        counts = f"{len(condition)} conditions, {rows} schedules and {len(seeds)} seeds"
        raise ValueError(f"decode: {counts} do not match.")
    positions = model.grid[0] * model.grid[1]
    steps = torch.tensor([schedule.steps for schedule in schedules])
    longest = int(steps.max())
    # [B, T, 4]; a finished row repeats its last numbers.
    table = torch.stack([s.table[torch.arange(longest).clamp(max=s.steps - 1)] for s in schedules])
    tokens = torch.zeros(rows, positions, dtype=torch.int64)
    hidden = torch.ones(rows, positions, dtype=torch.bool)
    confidence = torch.zeros(rows, positions)
    network, scratch = _Blocks(model, condition, block_rows, actor), _Scratch()

    for index in range(longest):
        if cancel is not None and cancel.is_set():
            return
        action = table[:, index].clone()  # an actor overwrites it, block by block
        uniform = noise.uniform(seeds, index, noise.SAMPLE, positions)
        gumbel = noise.gumbel(seeds, index, noise.REMASK, positions)
        sampled, draws = tokens.clone(), _Draws.begin(confidence, min(TOP, model.vocab_size))
        working = (index < steps) & hidden.any(dim=1)
        for row, conditional, unconditional in network(tokens, hidden, index, steps, action, working):
            where = hidden[row].nonzero()[:, 0]
            logits = scratch.guided(conditional, unconditional, action[row, 3:], where)
            sampled[row, where] = draws.draw(row, where, logits, action[row, 1].item(), uniform[row], scratch)
        confidence = draws.confidence

        masked = hidden.sum(dim=1)
        remain, clamped = still_hidden(action[:, 0], masked, index == steps - 1, positions)
        # Known positions rank last by -inf, so they are neither counted nor kept again.
        score = (draws.confidence_log + action[:, 2:3] * gumbel).masked_fill(~hidden, -torch.inf)
        kept = hidden & working[:, None] & (rank(score) < (masked - remain)[:, None])
        tokens, hidden = torch.where(kept, sampled, tokens), hidden & ~kept
        yield Step(
            index, steps, index < steps, action, sampled, kept, hidden, confidence, draws.token_logprob,
            draws.entropy, draws.top_codes, draws.top_probs, clamped & working, draws.confidence_log,
        )  # fmt: skip


def still_hidden(ratio: Tensor, masked: Tensor, last: Tensor, positions: int) -> tuple[Tensor, Tensor]:
    """How many positions stay hidden: floor(r N) clamped to [1, masked - 1], or 0 at the last step.

    Where one position is left it is revealed.
    ratio [B], masked [B], last [B] bool. Returns (count [B] int64, clamped [B] bool).
    """
    asked = (ratio.double() * positions).floor().long()
    remain = torch.minimum(asked.clamp(min=1), masked - 1).clamp(min=0)
    return remain.masked_fill(last, 0), (remain != asked) & ~last


def rank(score: Tensor) -> Tensor:
    """Rank of each position, 0 for the highest score [B, N]; ties by position, so the count kept is exact."""
    order = score.argsort(dim=1, descending=True, stable=True)
    ranks = torch.arange(score.shape[1]).expand_as(order)
    return torch.empty_like(order).scatter_(1, order, ranks)


class _Blocks:
    """Runs the network over the states of the working rows, `size` a call, padded with one of the block."""

    def __init__(
        self, model: MaskedImageModel, condition: Condition, size: int, actor: Actor | None = None
    ) -> None:
        self.model, self.condition, self.size, self.actor = model, condition, size, actor
        self.conditions: dict[tuple[int, ...], Condition] = {}  # of the blocks of the latest step

    def __call__(
        self, tokens: Tensor, hidden: Tensor, index: int, steps: Tensor, action: Tensor, working: Tensor
    ) -> Iterator[tuple[int, Tensor, Tensor | None]]:
        """Yields (row, conditional [N, V], unconditional [N, V] or None) for each working row.

        An actor writes its numbers into `action` [B, 4] before the rows of its block are yielded.
        """
        guided = ((action[:, 3] != 1) | (self.actor is not None)).tolist()
        # Rows that want guidance lie together, so that as few blocks as possible run the second branch.
        order = sorted(working.nonzero()[:, 0].tolist(), key=lambda row: not guided[row])
        prompts, shared = self.condition.alike.tolist(), {}
        for row in order:
            # Before the first step nothing is revealed: all rows of one prompt and length see the same.
            state = (prompts[row], int(steps[row])) if index == 0 else row
            shared.setdefault(state, []).append(row)
        states = list(shared.values())
        known, self.conditions = self.conditions, {}
        for start in range(0, len(states), self.size):
            block = states[start : start + self.size]
            padded = tuple(_padded([rows[0] for rows in block], self.size))
            condition = known[padded] if padded in known else self.condition[list(padded)]
            self.conditions[padded] = condition
            picked = torch.tensor(padded)
            progress = torch.stack([torch.full_like(picked, index), steps[picked]], dim=1)
            prediction = self.model.forward(
                tokens[picked], hidden[picked], condition, progress, unconditional=guided[padded[0]]
            )
            served = [(place, row) for place, rows in enumerate(block) for row in rows]
            if self.actor is not None:
                features = prediction.features.cpu()
                for at in range(0, len(served), self.size):
                    places, rows = torch.tensor(_padded(served[at : at + self.size], self.size)).unbind(dim=1)
                    action[rows] = self.actor.act(features[places], rows, index, steps[rows])
            for place, row in served:
                second = prediction.unconditional
                yield row, prediction.conditional[place], None if second is None else second[place]


def _padded(items: list[Any], size: int) -> list[Any]:
    return items + [items[0]] * (size - len(items))


class _Scratch:
    """Buffers [M, V] for one row, kept between rows: fresh pages of this size cost more than the arithmetic."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}

    def get(self, name: str, like: Tensor, positions: int) -> Tensor:
        """Uninitialised [positions, V], `like` [N, V] in type and device."""
        if name not in self.buffers:
            self.buffers[name] = torch.empty_like(like, memory_format=torch.contiguous_format)
        return self.buffers[name][:positions]

    def guided(
        self, conditional: Tensor, unconditional: Tensor | None, scale: Tensor, where: Tensor
    ) -> Tensor:
        """Guided logits [M, V] of the hidden positions `where` of one row [N, V]."""
        where, count = where.to(conditional.device), len(where)
        lc = torch.index_select(conditional, 0, where, out=self.get("logits", conditional, count))[None]
        if unconditional is None:
            return guide(lc, None, scale)[0]
        lu = torch.index_select(unconditional, 0, where, out=self.get("work", conditional, count))[None]
        return guide(lc, lu, scale.to(lc.device), out=lc)[0]


@dataclass
class _Draws:
    """What was drawn in one step; rows that do not work keep the zeros."""

    confidence: Tensor  # [B, N]; known positions keep the value of the step before
    confidence_log: Tensor  # [B, N]
    token_logprob: Tensor  # [B, N]
    entropy: Tensor  # [B]
    top_codes: Tensor  # [B, N, 5]
    top_probs: Tensor

    @staticmethod
    def begin(confidence: Tensor, top: int) -> _Draws:
        zeros = torch.zeros_like(confidence)
        codes = torch.zeros(*confidence.shape, top, dtype=torch.int64)
        probs = torch.zeros(codes.shape)
        return _Draws(confidence.clone(), zeros, zeros.clone(), zeros[:, 0].clone(), codes, probs)

    def draw(
        self, row: int, where: Tensor, logits: Tensor, temperature: float, uniform: Tensor, scratch: _Scratch
    ) -> Tensor:
        """Draw a code for each hidden position and note what it was drawn from; returns the codes [M].

        logits [M, V] are overwritten; uniform [N].
        """
        log_p, q, work = (scratch.get(name, logits, len(logits)) for name in ("log_p", "q", "work"))
        torch.log_softmax(logits, -1, out=log_p)
        torch.softmax(logits, -1, out=q)
        # The clamp makes p log p 0 where p is 0, also where a logit is -inf.
        self.entropy[row] = -torch.clamp(log_p, min=-1e4, out=work).mul_(q).sum(dim=-1).mean()
        if self.entropy[row].isnan():
            raise FloatingPointError("The network returned a logit that is not a number.")
        top_codes = top(logits, self.top_codes.shape[-1])
        self.top_codes[row, where] = top_codes.cpu()
        self.top_probs[row, where] = q.gather(1, top_codes).cpu()
        log_q = log_p
        if temperature != 1:
            torch.div(logits, temperature, out=work)
            torch.softmax(work, -1, out=q)
            log_q = torch.log_softmax(work, -1, out=logits)
        codes = inverse_cdf(q, uniform[where].to(q.device), out=work)[:, None]
        chosen = log_p.gather(1, codes)[:, 0].cpu()
        self.confidence_log[row, where], self.confidence[row, where] = chosen, chosen.exp()
        self.token_logprob[row, where] = log_q.gather(1, codes)[:, 0].cpu()
        return codes[:, 0].cpu()


def inverse_cdf(probabilities: Tensor, uniform: Tensor, out: Tensor | None = None) -> Tensor:
    """The code at which the running sum of [M, V] passes `uniform` [M]; never a code of probability 0.

    One number a position, not one a code as Gumbel-max needs: V times less noise, and two schedules that
    leave a position's distribution nearly alone draw the same code from the same number.
    """
    running = torch.cumsum(probabilities, dim=-1, out=out)
    target = (uniform * running[:, -1])[:, None]
    return torch.searchsorted(running, target, right=True)[:, 0]


def top(logits: Tensor, count: int) -> Tensor:
    """Codes of the `count` largest of [M, V], largest first, [M, count]. Looks inside the best groups only."""
    group = 64
    positions, codes = logits.shape
    whole = codes - codes % group
    if whole < group * count:
        return logits.topk(count).indices
    # The largest codes lie in the groups with the largest maxima, or in the rest that makes no group.
    groups = logits[:, :whole].unflatten(1, (-1, group))
    best = groups.amax(dim=-1).topk(count).indices[..., None]  # [M, count, 1]
    inside = groups.gather(1, best.expand(-1, -1, group)).flatten(1)
    place = torch.cat([inside, logits[:, whole:]], dim=1).topk(count).indices
    code = best[..., 0].gather(1, (place // group).clamp(max=count - 1)) * group + place % group
    return torch.where(place < count * group, code, place - count * group + whole)
