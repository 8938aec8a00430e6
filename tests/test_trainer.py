"""Rounds of Co-GRPO on a model with known logits and a reward that can be read off the tokens."""

from __future__ import annotations

import pytest
import torch
from mock_model import MockModel
from torch import nn

from cogrpo import schedules
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.rewards.base import RewardError
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.mixer import Mixer
from cogrpo.trainer import Trainer, TrainingError
from cogrpo.trainer_config import TrainerConfig

PROMPTS = [f"prompt {number}" for number in range(6)]
SETTINGS = {
    "rewards": {"verifier": 1.0},
    "prompts_per_round": 2,
    "group": 4,
    "steps": (2, 3),
    "block_rows": 4,
    "objective": {"kl": 0.01},
    "model_update": {"rate": 0.02, "warmup": 1, "average": 0.5},
}


class Learner(MockModel):
    """The mock model as a network that learns."""

    precision = "float32"

    def __init__(self) -> None:
        super().__init__(vocab_size=12)
        self.features = self.vocab_size
        self.network = nn.Module()
        for name in ("own", "inward", "outward", "blank"):
            self.network.register_parameter(name, nn.Parameter(getattr(self, name)))
            setattr(self, name, getattr(self.network, name))

    def __deepcopy__(self, memo) -> Learner:
        copy = Learner()
        copy.network.load_state_dict(self.network.state_dict())
        return copy


class Bright:
    """Rewards low codes: red is five times the code."""

    name, version, range = "verifier", "test", (0.0, 1.0)
    broken: str = ""

    def __call__(self, images, prompts, context):
        score = 1 - images[..., 0].float().mean((1, 2)) / 60
        if self.broken == "nan":
            score[0] = torch.nan
        if self.broken == "shape":
            score = score[:-1]
        if self.broken == "raises":
            raise ZeroDivisionError("division by zero")
        return score


def trainer(seed: int = 0, body: str = "table", reward: Bright | None = None, **changes) -> Trainer:
    config = TrainerConfig.model_validate({**SETTINGS, "policy": {"body": body, "width": 8}, **changes})
    torch.manual_seed(seed)
    model = Learner()
    bases = [schedules.build("cosine", steps) for steps in config.steps]
    policy = SchedulePolicy(config.policy, bases, model.features)
    mixer = Mixer([reward or Bright()], config.rewards, ScoreCache())
    return Trainer(config, model, policy, mixer, PROMPTS, seed, rounds=20, start="0" * 64)


def weights(part: nn.Module) -> torch.Tensor:
    return torch.cat([p.detach().flatten().double().clone() for p in part.parameters()])


@pytest.mark.parametrize(
    ("arm", "moved"),
    [
        ("model", [(True, False)] * 3),
        ("schedule", [(False, True)] * 3),
        ("joint", [(True, True)] * 3),
        ("co", [(True, False), (False, True), (True, False)]),
    ],
)
def test_an_arm_moves_what_it_should_and_nothing_else(arm, moved):
    run = trainer(arm=arm)
    for theta, phi in moved:
        before = weights(run.model.network), weights(run.policy)
        run.advance()
        after = weights(run.model.network), weights(run.policy)
        assert (not torch.equal(before[0], after[0]), not torch.equal(before[1], after[1])) == (theta, phi)


def test_the_schedule_can_go_first():
    config = TrainerConfig.model_validate({**SETTINGS, "arm": "joint", "schedule_first": 2})
    assert [config.updates(round) for round in range(4)] == [(False, True)] * 2 + [(True, True)] * 2


@pytest.mark.parametrize("arm", ["model", "schedule", "joint"])
def test_the_reward_rises(arm):
    run = trainer(arm=arm, group=8, prompts_per_round=4, steps=(3,))
    rewards = [run.advance()["reward"] for _ in range(20)]
    if arm == "schedule":  # what a schedule can do for these rewards is little; it must not do harm
        assert sum(rewards[-5:]) > sum(rewards[:5]) - 0.1
    else:
        assert sum(rewards[-5:]) / 5 > sum(rewards[:5]) / 5 + 0.05


@pytest.mark.parametrize("body", ["table", "state"])
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_bit(body):
    whole = trainer(body=body, arm="joint")
    told = [whole.advance() for _ in range(4)]
    first = trainer(body=body, arm="joint")
    for _ in range(2):
        first.advance()
    second = trainer(body=body, arm="joint")
    second.restore({name: tensor.clone() for name, tensor in first.tensors().items()}, first.facts())
    again = [second.advance() for _ in range(2)]
    for old, new in zip(told[2:], again, strict=True):
        assert all(old[name] == new[name] for name in old if not name.startswith("seconds"))
    for name, tensor in whole.tensors().items():
        assert torch.equal(tensor, second.tensors()[name]), name


def test_another_seed_samples_other_pictures():
    assert trainer(seed=0).advance()["reward"] != trainer(seed=1).advance()["reward"]


def test_every_parameter_of_a_policy_that_reads_the_state_moves():
    run = trainer(arm="schedule", body="state")
    before = [p.detach().clone() for p in run.policy.parameters()]
    for _ in range(3):
        run.advance()
    assert not any(torch.equal(a, b) for a, b in zip(before, run.policy.parameters(), strict=True))


def test_groups_without_spread_are_skipped_counted_and_move_nothing():
    run = trainer(arm="joint", least_spread=10.0)
    before = weights(run.model.network), weights(run.policy)
    assert run.advance()["frac_reward_zero_std"] == 1
    assert torch.equal(before[0], weights(run.model.network))
    assert torch.equal(before[1], weights(run.policy))


def test_a_round_without_an_informative_group_moves_nothing_and_is_told_alike():
    run = trainer(arm="joint")
    told = run.advance()
    before = {name: tensor.clone() for name, tensor in run.tensors().items()}
    run._advantages = lambda scores: (torch.zeros(8), torch.ones(2, dtype=torch.bool))
    skipped = run.advance()
    assert skipped["frac_reward_zero_std"] == 1 and list(skipped) == list(told)
    assert all(torch.equal(tensor, run.tensors()[name]) for name, tensor in before.items())


def test_a_round_leaves_the_tables_of_other_numbers_of_steps_alone():
    run, moved = trainer(arm="schedule"), set()
    for _ in range(8):
        before = [table.detach().clone() for table in run.policy.body.offsets]
        steps = run.advance()["steps"]
        for own, old, new in zip((2, 3), before, run.policy.body.offsets, strict=True):
            if not torch.equal(old, new):
                assert own == steps
                moved.add(own)
    assert moved == {2, 3}


def test_the_tensors_of_another_policy_are_refused_in_one_sentence():
    other = trainer(body="state")
    with pytest.raises(TrainingError, match=r"^checkpoint: .*not those of this model and policy\.$"):
        trainer().restore(other.tensors(), other.facts())


@pytest.mark.parametrize("broken", ["nan", "shape", "raises"])
def test_a_reward_that_breaks_its_contract_ends_the_round_and_changes_nothing(broken):
    reward = Bright()
    run = trainer(arm="joint", reward=reward)
    run.advance()
    before = {name: tensor.clone() for name, tensor in run.tensors().items()}
    reward.broken = broken
    with pytest.raises(RewardError, match="'verifier'"):
        run.advance()
    assert run.round == 1
    assert all(torch.equal(tensor, run.tensors()[name]) for name, tensor in before.items())
    reward.broken = ""
    run.advance()


@pytest.mark.parametrize("last_alone", [False, True])
def test_a_replay_that_does_not_repeat_the_rollout_stops_the_run(last_alone):
    run = trainer()
    sample = run._sample

    def changed():
        groups = sample()
        rollout = groups.rollout
        off = (rollout.step == rollout.steps - 1) | (not last_alone)
        rollout.token_logprob[off] += 0.01
        return groups

    run._sample = changed
    with pytest.raises(TrainingError, match="ratio at unchanged weights"):
        run.advance()


@pytest.mark.parametrize("broken", ["model", "policy"])
def test_a_gradient_that_is_not_finite_moves_neither_model_nor_policy(broken):
    run = trainer(arm="joint")
    run.advance()
    before = {name: tensor.clone() for name, tensor in run.tensors().items()}
    parameters = (run.model.network if broken == "model" else run.policy).parameters()
    hooks = [parameter.register_hook(lambda gradient: gradient * torch.nan) for parameter in parameters]
    with pytest.raises(FloatingPointError, match="nothing was updated"):
        run.advance()
    assert run.facts() == {"round": 1, "model_updates": 1}
    assert all(torch.equal(tensor, run.tensors()[name]) for name, tensor in before.items())
    for hook in hooks:
        hook.remove()
    run.advance()


def test_metrics_have_trls_names():
    told = trainer(arm="joint").advance()
    names = {
        "reward",
        "reward_std",
        "rewards/verifier/mean",
        "frac_reward_zero_std",
        "clip_ratio",
        "kl",
        "entropy",
    }
    assert names <= set(told)
    assert told["kl"] == pytest.approx(0, abs=1e-6), "the reference is the start"


def test_kl_is_told_only_where_there_is_a_reference():
    alone = trainer(arm="joint", objective={"kl": 0.0}).advance()
    assert not {"kl", "schedule/kl"} & set(alone)
    both = trainer(arm="joint", objective={"kl": 0.01, "schedule_kl": 0.01}).advance()
    assert {"kl", "schedule/kl"} <= set(both)


def test_numbers_of_steps_are_sorted():
    assert TrainerConfig.model_validate({**SETTINGS, "steps": (8, 4)}).steps == (4, 8)


@pytest.mark.parametrize(
    "changes",
    [
        {"group": 1},
        {"rewards": {"verifier": -1.0}},
        {"rewards": {"verifier": 0.0}},
        {"rewards": {"beauty": 1.0}},
        {"steps": ()},
        {"steps": (65,)},
        {"steps": (4, 8, 4)},
        {"spread_floor": float("inf")},
        {"arm": "both"},
        {"unknown": 1},
        {"arm": "model", "schedule_first": 3},
    ],
    ids=str,
)
def test_a_configuration_that_makes_no_sense_is_refused(changes):
    with pytest.raises(ValueError):
        TrainerConfig.model_validate({**SETTINGS, **changes})


def test_more_prompts_a_round_than_there_are_is_refused():
    with pytest.raises(TrainingError, match="prompts_per_round: 7"):
        trainer(prompts_per_round=7)


def test_the_policy_config_is_part_of_it():
    assert trainer().config.policy == PolicyConfig(width=8)
