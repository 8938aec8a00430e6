"""One round of Co-GRPO: seconds by phase, against its arithmetic, and its update against a loop without replay.

`python -m benchmarks.round` prints one JSON line a measurement, and writes them to a file with `--json FILE`. Pairs are
measured in turn in one process, as in `benchmarks.decode`. The round is that of `configs/rounds/embedded.yaml`, with
the verifier alone, both updates, and every group that spreads at all; repeats start from the same state.
"""

from __future__ import annotations

import argparse
import contextlib
import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import conv_flop_count, flop_registry

from benchmarks.decode import PROMPTS, compared, seconds, show, show_machine
from cogrpo import schedules, training
from cogrpo.config import CONFIGS, load_config
from cogrpo.device import DTYPES, matmul_gflops, probe
from cogrpo.grpo import ObjectiveConfig, model_loss
from cogrpo.models.base import MaskedImageModel
from cogrpo.models.emoji import WEIGHTS, EmojiModel
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.replay import Rollout, replay
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rollout import roll_out
from cogrpo.trainer import SECONDS, Trainer
from cogrpo.training import RunConfig

PAIRS = 7
GOAL = {"float32": 2.0, "bfloat16": 3.5}  # round / its arithmetic
UPDATE_GOAL, MEMORY_GOAL = 0.9, 0.5  # replay / step by step
LENGTHS = (4, 8, 16)
# Largest relative difference of the two gradients: sums in another order, in bfloat16 through rounded activations.
TOLERANCE = {"float32": 1e-4, "bfloat16": 2e-2}
ROUND = {"arm": "joint", "schedule_first": 0, "least_spread": 0.0, "rewards": {"verifier": 1.0}}


def trainer(steps: int, precision: str) -> Trainer:
    told = load_config(CONFIGS / "rounds" / "embedded.yaml", RunConfig)
    own = told.trainer.model_copy(update={**ROUND, "steps": (steps,)})
    made = training.build(told.model_copy(update={"trainer": own}))
    made.model.precision = made.average_model.precision = precision
    return made


def rounds(made: Trainer) -> Iterator[dict[str, float]]:
    """The metrics of the run's second round, again and again, no picture of it scored before."""
    made.advance()
    tensors, facts = {name: tensor.clone() for name, tensor in made.tensors().items()}, made.facts()
    while True:
        made.restore({name: tensor.clone() for name, tensor in tensors.items()}, facts)
        made.mixer.cache = ScoreCache()
        yield made.advance()


class Operations(TorchDispatchMode):
    """Counts multiplications and additions, forward and backward, by torch's own formulas.

    `FlopCounterMode` counts by module too, and stumbles over a view of a parameter that enters a module where nothing
    is recorded. Its formula for the backward pass of a convolution overlooks groups; here that is one forward pass for
    each of the two gradients.
    """

    total = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, kind = kwargs or {}, function._overloadpacket
        result = function(*args, **kwargs)
        if kind == torch.ops.aten.convolution_backward:
            out, inputs, weight, *_, wanted = args
            self.total += sum(wanted[:2]) * conv_flop_count(inputs.shape, weight.shape, out.shape)
        elif kind in flop_registry:
            self.total += flop_registry[kind](*args, **kwargs, out_val=result)
        return result


def whole_round(steps: int, precision: str, pairs: int) -> dict[str, object]:
    """Seconds by phase, and the round against its multiplications and additions at the rate of matrix products."""
    again = rounds(trainer(steps, precision))
    next(again)
    with Operations() as counted:
        next(again)
    flops, dtype, phases, measured = counted.total, DTYPES[precision], [], []
    for _ in range(pairs):
        before, metrics, after = matmul_gflops(dtype), next(again), matmul_gflops(dtype)
        phases.append({name: value for name, value in metrics.items() if name.startswith(SECONDS)})
        measured.append((sum(phases[-1].values()), 2 * flops / 1e9 / (before + after)))
    medians = {name: float(np.median([each[name] for each in phases])) for name in phases[0]}
    return {
        "seconds": {name.removeprefix(SECONDS): round(value, 3) for name, value in medians.items()},
        "gflop": flops / 1e9,
        "gflops": float(np.median([flops / ideal for _, ideal in measured])) / 1e9,
        **compared(measured),
        "goal": GOAL[precision],
    }


def recorded(model: MaskedImageModel, steps: int, prompts: int, group: int) -> Rollout:
    """A rollout of `group` rows a prompt, in network calls of as many rows as there are prompts, as in a round."""
    policy = SchedulePolicy(PolicyConfig(), [schedules.build("cosine", steps)])
    sigma, floor, seeds = policy.sigma(0), policy.config.remask_floor, range(prompts * group)
    return roll_out(model, policy, PROMPTS[:prompts], group, steps, seeds, sigma, floor, prompts).rollout


def by_replay(model: MaskedImageModel, rollout: Rollout, advantage: Tensor) -> None:
    """The gradient as `cogrpo.trainer` makes it."""
    config = ObjectiveConfig(kl=0)
    for chunk in replay(model, rollout):
        own = chunk.recorded
        loss, _ = model_loss(chunk.new, chunk.old, advantage[own.row], own.steps, len(advantage), config)
        loss.backward()


def step_by_step(model: MaskedImageModel, rollout: Rollout, advantage: Tensor) -> None:
    """The same gradient without replay: the steps in their order, all in one graph, and one backward pass."""
    gain = torch.zeros(())
    for index in range(int(rollout.steps.max())):
        for rows in torch.arange(len(advantage)).split(rollout.block_rows):
            told = rollout[(rollout.step == index) & torch.isin(rollout.row, rows)]
            if len(told):  # a row whose last token is known has nothing more to do
                gain = gain + _gain(model, told, advantage)
    (-gain / (len(advantage) * rollout.hidden.shape[1])).backward()


def _gain(model: MaskedImageModel, told: Rollout, advantage: Tensor) -> Tensor:
    """Ratio times advantage, summed over the tokens that some rows kept in a step."""
    progress = torch.stack([told.step, told.steps], dim=1)
    guided = bool((told.schedule[:, 3] != 1).any())
    prediction = model.forward(told.tokens, told.hidden, told.condition[told.row], progress, guided)
    row, position = told.kept.nonzero(as_tuple=True)
    logits, schedule = prediction.conditional[row, position], told.schedule[row]
    if guided:
        plain = prediction.unconditional[row, position]
        logits = plain + schedule[:, 3:] * (logits - plain)
    codes = told.sampled[row, position, None]
    new = (logits / schedule[:, 1:2]).log_softmax(dim=-1).gather(1, codes)[:, 0]
    ratio = (new - told.token_logprob[row, position]).exp()
    return (ratio * advantage[told.row[row]]).sum()


Update = Callable[[MaskedImageModel, Rollout, Tensor], None]


def gradient(update: Update, model: MaskedImageModel, rollout: Rollout, advantage: Tensor) -> Tensor:
    model.network.zero_grad(set_to_none=True)
    update(model, rollout, advantage)
    return torch.cat([p.grad.flatten() for p in model.network.parameters() if p.grad is not None])


def difference(model: MaskedImageModel, rollout: Rollout, advantage: Tensor) -> float:
    """Of the two gradients, relative to one of them."""
    ours, theirs = (gradient(update, model, rollout, advantage) for update in (by_replay, step_by_step))
    return float((ours - theirs).norm() / theirs.norm())


class _Held:
    """A tensor that autograd keeps."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


class Saved:
    """Bytes that autograd keeps for backward passes, weights aside: now and at most. They do not depend on the machine,
    as the memory of a process does."""

    def __init__(self, model: MaskedImageModel) -> None:
        self._weights = {weight.untyped_storage().data_ptr() for weight in model.network.parameters()}
        self._uses: Counter[int] = Counter()
        self.now = self.most = 0

    def pack(self, tensor: Tensor) -> _Held:
        storage, held = tensor.untyped_storage(), _Held(tensor)
        key, size = storage.data_ptr(), storage.nbytes()
        if key in self._weights:
            return held
        self.now += 0 if self._uses[key] else size
        self.most = max(self.most, self.now)
        self._uses[key] += 1
        weakref.finalize(held, self._release, key, size)
        return held

    def _release(self, key: int, size: int) -> None:
        self._uses[key] -= 1
        self.now -= 0 if self._uses[key] else size


def most_saved(update: Update, model: MaskedImageModel, rollout: Rollout) -> int:
    saved = Saved(model)
    with saved_tensors_hooks(saved.pack, lambda held: held.tensor):
        gradient(update, model, rollout, torch.linspace(-1, 1, len(rollout.condition)))
    return saved.most


def one_update(model: EmojiModel, steps: int, pairs: int) -> dict[str, object]:
    rollout = recorded(model, steps, prompts=4, group=8)
    given = (model, rollout, torch.linspace(-1, 1, len(rollout.condition)))
    apart = difference(*given)  # also warms up
    if apart > TOLERANCE[model.precision]:
        raise AssertionError(f"The gradients differ by {apart:.2g}.")
    measured = [
        (seconds(gradient, by_replay, *given), seconds(gradient, step_by_step, *given)) for _ in range(pairs)
    ]
    told = {"replay_ms": 1e3 * float(np.median([ours for ours, _ in measured])), **compared(measured)}
    return {**told, "gradients_differ": f"{apart:.1e}", "goal": UPDATE_GOAL}


def memory(model: EmojiModel) -> dict[str, object]:
    """How the memory of an update grows with the number of steps, and our growth over the other's."""
    told = {}
    for update in (by_replay, step_by_step):
        bytes_of = [
            most_saved(update, model, recorded(model, steps, prompts=4, group=1)) for steps in LENGTHS
        ]
        told[update.__name__] = [round(each / 2**20, 1) for each in bytes_of]
    ours, theirs = (told[update.__name__] for update in (by_replay, step_by_step))
    growth = (ours[-1] / ours[0]) / (theirs[-1] / theirs[0])
    return {
        "steps": LENGTHS,
        **{f"{name}_mib": each for name, each in told.items()},
        "ratio": growth,
        "goal": MEMORY_GOAL,
    }


def measure(pairs: int) -> None:
    show_machine()
    for precision, steps in [*((name, 4) for name in DTYPES), (probe().name, 8)]:
        show("round", precision=precision, steps=steps, **whole_round(steps, precision, pairs))
    for precision in DTYPES:
        model = EmojiModel.load(WEIGHTS / "model.safetensors", precision)
        model.network.requires_grad_(True)
        for steps in (4, 8):
            show("update / step by step", precision=precision, steps=steps, **one_update(model, steps, pairs))
        show("memory of an update", precision=precision, **memory(model))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where the lines go, instead of the screen")
    parser.add_argument("--pairs", type=int, default=PAIRS)
    asked = parser.parse_args()
    if asked.json is None:
        measure(asked.pairs)
        return
    with asked.json.open("w") as file, contextlib.redirect_stdout(file):
        measure(asked.pairs)


if __name__ == "__main__":
    main()
