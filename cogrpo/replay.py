"""Replay: the log-probabilities of recorded decisions under given weights, with gradients.

Each step of a decode is replayed from its recorded state, which is a leaf: an independent forward pass. So
there is no back-propagation through the steps, any steps may share a batch, and memory does not grow with
their number, if the caller runs backward chunk by chunk (paper section 4).

A replay repeats the decode's arithmetic: the same network calls of `block_rows` rows, each branch one call,
the recorded schedule, log-softmax in float32. The precision is that of the model; take the rollout's. Then
the ratio at unchanged weights is 1 (asserted by the trainer; traps 9 and 10). As in the decode, the first
steps of all rows of one prompt see one state and share its forward pass, and here its backward pass too.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor

from cogrpo.decode import Step, guide
from cogrpo.exploration import Exploration
from cogrpo.grpo import LogProbs
from cogrpo.kept_set import log_kept_set
from cogrpo.models.base import Condition, MaskedImageModel
from cogrpo.schedule import MOST_STEPS
from cogrpo.trace import Trace


@dataclass(frozen=True, eq=False)
class Rollout:
    """The decisions of some decodes: one entry for each step in which a row had something to reveal.

    D decisions, N positions, F numbers of an observation.
    """

    condition: Condition  # one entry a row
    block_rows: int  # rows of one network call, in decode and replay
    row: Tensor  # [D] int64
    step: Tensor  # [D] int64, 0-based
    steps: Tensor  # [D] int64, the length of the row's decode
    tokens: Tensor  # [D, N] int64 before the step
    hidden: Tensor  # [D, N] bool before the step
    sampled: Tensor  # [D, N] int64
    kept: Tensor  # [D, N] bool
    schedule: Tensor  # [D, 4] float32, as used
    token_logprob: Tensor  # [D, N] float32, guided and tempered; 0 where known
    log_confidence: Tensor  # [D, N] float32, guided and un-tempered; 0 where known
    entropy: Tensor  # [D] float32, nats
    actions: Tensor | None = None  # [D, 4] float64: u, where the schedules were drawn from a policy
    action_logprob: Tensor | None = None  # [D] float64
    observations: Tensor | None = None  # [D, F] float16, where that policy reads the state

    def __len__(self) -> int:
        return len(self.row)

    def __getitem__(self, index: Tensor) -> Rollout:
        """Some decisions, by number [P] int64 or by mask [D] bool."""
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{n: t[index] for n, t in tensors.items() if isinstance(t, Tensor)})

    @staticmethod
    def from_steps(
        steps: Sequence[Step],
        condition: Condition,
        block_rows: int,
        exploration: Exploration | None = None,
    ) -> Rollout:
        """All decisions of one finished decode, and the actions that `exploration` drew for it.

        Raises ValueError where the decode was not finished.
        """
        if not steps or steps[-1].hidden.any():
            raise ValueError("rollout: the decode is not finished.")
        parts = []
        tokens, hidden = torch.zeros_like(steps[0].sampled), torch.ones_like(steps[0].hidden)
        for step in steps:
            rows = (step.active & hidden.any(dim=1)).nonzero()[:, 0]
            drawn = {} if exploration is None else exploration.recorded(rows, step.index)
            decisions = Rollout(
                condition, block_rows, rows, torch.full_like(rows, step.index), step.steps[rows],
                tokens[rows], hidden[rows], step.sampled[rows], step.kept[rows], step.schedule[rows],
                step.token_logprob[rows], step.log_confidence[rows], step.entropy[rows], **drawn,
            )  # fmt: skip
            parts.append(decisions)
            tokens, hidden = torch.where(step.kept, step.sampled, tokens), step.hidden
        return _concatenate(parts)

    @staticmethod
    @torch.no_grad()
    def from_traces(
        traces: Sequence[Trace], condition: Condition, block_rows: int, model: MaskedImageModel
    ) -> Rollout:
        """All decisions of saved traces, such as those of voted pictures; one entry of `condition` a trace.

        A trace rounds its confidences, so their logarithms are computed again: `model` must hold the weights
        that made the traces, in the same precision. The actions of a policy are not in a trace.
        """
        parts = []
        for row, trace in enumerate(traces):
            steps = torch.arange(trace.steps)
            hidden, kept = torch.tensor(trace.hidden_before), torch.tensor(trace.kept)
            sampled = torch.tensor(trace.sampled.astype("int64"))
            decisions = Rollout(
                condition, block_rows, torch.full_like(steps, row), steps, torch.full_like(steps, trace.steps),
                sampled[-1].expand_as(sampled).masked_fill(hidden, 0), hidden, sampled, kept,
                torch.tensor(trace.schedule), torch.tensor(trace.token_logprob), torch.zeros(hidden.shape),
                torch.tensor(trace.entropy),
            )  # fmt: skip
            parts.append(decisions[hidden.any(dim=1)])
        told = _concatenate(parts)
        return replace(told, log_confidence=_scores(model, told, "exact")[1])


@dataclass(frozen=True, eq=False)
class Chunk:
    """Some decisions, replayed."""

    recorded: Rollout
    old: LogProbs  # as recorded
    new: LogProbs  # under the model, with gradients
    reference: LogProbs | None  # under the reference, without


def replay(
    model: MaskedImageModel,
    rollout: Rollout,
    likelihood: str = "fill",
    blocks: int = 1,
    reference: MaskedImageModel | None = None,
) -> Iterator[Chunk]:
    """Replay all decisions, `blocks` network calls at a time; likelihood as in `grpo.ObjectiveConfig`.

    A chunk's graph lives as long as the caller holds it: run backward before the next one is taken.
    """
    calls = _calls(rollout, likelihood)
    for start in range(0, len(calls), blocks):
        told = rollout[torch.cat(calls[start : start + blocks])]
        frozen = None
        if reference is not None:
            with torch.no_grad():
                frozen = log_probs(reference, told, likelihood)
        yield Chunk(told, recorded_log_probs(told, likelihood), log_probs(model, told, likelihood), frozen)


def recorded_log_probs(rollout: Rollout, likelihood: str) -> LogProbs:
    """What the rollout's own weights said."""
    return _log_probs(rollout, likelihood, rollout.token_logprob, rollout.log_confidence)


def log_probs(model: MaskedImageModel, rollout: Rollout, likelihood: str) -> LogProbs:
    """The same under `model`: all decisions in one graph, so for a chunk of a rollout."""
    return _log_probs(rollout, likelihood, *_scores(model, rollout, likelihood))


def _log_probs(rollout: Rollout, likelihood: str, tokens: Tensor, log_confidence: Tensor) -> LogProbs:
    scored = _scored(rollout, likelihood)
    tokens = tokens.masked_fill(~scored, 0)
    if likelihood == "fill":
        return LogProbs(tokens, scored)
    temperature = rollout.schedule[:, 2]
    return LogProbs(tokens, scored, log_kept_set(log_confidence, rollout.kept, rollout.hidden, temperature))


def _scored(rollout: Rollout, likelihood: str) -> Tensor:
    """Which tokens enter the likelihood, [D, N] bool."""
    return {"fill": rollout.kept, "exact": rollout.hidden}[likelihood]


def _scores(model: MaskedImageModel, rollout: Rollout, likelihood: str) -> tuple[Tensor, Tensor]:
    """As `_score`, of any number of decisions."""
    calls = _calls(rollout, likelihood)
    tokens, confidence = zip(*[_score(model, rollout[call], likelihood) for call in calls], strict=True)
    order = torch.cat(calls).argsort()
    return torch.cat(tokens)[order], torch.cat(confidence)[order]


def _score(model: MaskedImageModel, call: Rollout, likelihood: str) -> tuple[Tensor, Tensor]:
    """(log-probability, log-confidence) [P, N] of the sampled codes where scored, else 0; the second is 0 for
    `fill`, which has no use for it.

    One call of the network for decisions of at most `block_rows` states, padded with the first of them.
    """
    firsts, state = _states(call)
    slots = torch.arange(call.block_rows)
    padded = call[firsts[slots.masked_fill(slots >= len(firsts), 0)]]
    progress = torch.stack([padded.step, padded.steps], dim=1)
    guided = bool((call.schedule[:, 3] != 1).any())
    prediction = model.forward(padded.tokens, padded.hidden, call.condition[padded.row], progress, guided)

    place, position = _scored(call, likelihood).nonzero(as_tuple=True)  # [n]
    device = prediction.conditional.device
    # Not by two indices: the sum of the gradients of one state's decisions then has no fixed order.
    flat = (state[place] * call.hidden.shape[1] + position).to(device)
    codes, schedule = call.sampled[place, position, None].to(device), call.schedule[place].to(device)
    # For `guide` each scored position is a row of its own: [n, 1, V].
    conditional = prediction.conditional.flatten(0, 1).index_select(0, flat)[:, None]
    unconditional = prediction.unconditional.flatten(0, 1).index_select(0, flat)[:, None] if guided else None
    logits = guide(conditional, unconditional, schedule[:, 3])[:, 0].float()

    empty = torch.zeros(call.hidden.shape)
    log_q = (logits / schedule[:, 1:2]).log_softmax(dim=-1).gather(1, codes)[:, 0].cpu()
    token_logprob = empty.index_put((place, position), log_q)
    if likelihood == "fill":
        return token_logprob, empty
    log_p = logits.log_softmax(dim=-1).gather(1, codes)[:, 0].cpu()
    return token_logprob, empty.index_put((place, position), log_p)


def _calls(rollout: Rollout, likelihood: str) -> list[Tensor]:
    """The decisions [p] of each network call: of no more than `block_rows` states, and with no more scored positions
    than that many decisions have at most, so that a large group does not need more memory than a small one.

    States with guidance come first, so that as few calls as possible run the second branch.
    """
    firsts, state = _states(rollout)
    plain = torch.ones(len(firsts), dtype=torch.bool)
    plain[state[rollout.schedule[:, 3] != 1]] = False
    most = rollout.block_rows * rollout.hidden.shape[1]
    weight = _scored(rollout, likelihood).sum(dim=1).tolist()
    told, calls, room, states = state.tolist(), [], 0, set()
    for decision in (plain[state] * len(firsts) + state).argsort(stable=True).tolist():
        room, states = room - weight[decision], states | {told[decision]}
        if not calls or room < 0 or len(states) > rollout.block_rows:
            calls.append([])
            room, states = most - weight[decision], {told[decision]}
        calls[-1].append(decision)
    return [torch.tensor(call) for call in calls]


def _states(rollout: Rollout) -> tuple[Tensor, Tensor]:
    """What the network saw: the first decision of each state [S], and the state of each decision [D].

    Before the first step nothing is revealed, so all rows of one prompt and length see the same.
    """
    row, every = rollout.row, torch.arange(len(rollout))
    first = -1 - rollout.condition.alike[row] * (MOST_STEPS + 1) - rollout.steps
    keys, state = torch.where(rollout.step == 0, first, every).unique(return_inverse=True)
    return every.new_full(keys.shape, len(every)).scatter_reduce(0, state, every, "amin"), state


def _concatenate(parts: Sequence[Rollout]) -> Rollout:
    """Decisions of the same rows, one part after another."""
    told = {f.name: [getattr(part, f.name) for part in parts] for f in fields(Rollout)}
    joined = {name: torch.cat(part) for name, part in told.items() if isinstance(part[0], Tensor)}
    return replace(parts[0], **joined)
