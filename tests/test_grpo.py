import numpy as np
import pytest
import torch
from pydantic import ValidationError
from toy_mdp import ToyMDP

from cogrpo.grpo import (
    LogProbs,
    ObjectiveConfig,
    Ratios,
    advantages,
    clipped_surrogate,
    k3,
    model_loss,
    schedule_loss,
)
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.replay import replay
from cogrpo.schedule import Schedule


def table(toy: ToyMDP, remask_temperature: float, tau: float = 1.0, scale: float = 1.0) -> torch.Tensor:
    return torch.tensor([[toy.ratio(), tau, remask_temperature, scale], [0.0, tau, 0.0, scale]])


def expected_gradient(toy: ToyMDP, schedule: torch.Tensor, likelihood: str, baseline: float = 0.0):
    """The objective's gradient, as it is on average over trajectories: each enters with its probability."""
    config = ObjectiveConfig(likelihood=likelihood)
    rollout = toy.rollout(schedule)
    with torch.no_grad():
        probability = toy.probabilities(schedule)
    centred = toy.rewards - probability @ toy.rewards - baseline
    weighted = (probability * centred).float()
    for parameter in toy.model.parameters:
        parameter.grad = torch.zeros_like(parameter)
    for chunk in replay(toy.model, rollout, likelihood, blocks=2):
        told = chunk.recorded
        loss, _ = model_loss(chunk.new, chunk.old, weighted[told.row], told.steps, 1, config)
        loss.backward()
    positions = rollout.tokens.shape[1]
    return -positions * torch.cat([parameter.grad.view(-1) for parameter in toy.model.parameters])


def error(told: torch.Tensor, truth: torch.Tensor) -> float:
    return float((told - truth).norm() / truth.norm())


def cosine(told: torch.Tensor, truth: torch.Tensor) -> float:
    return float(torch.cosine_similarity(told, truth, dim=0))


def test_the_trajectories_of_the_toy_are_all():
    for keep in (1, 2):
        toy = ToyMDP(3, keep)
        with torch.no_grad():
            assert float(toy.probabilities(table(toy, 0.25, 1.3, 2.0)).sum()) == pytest.approx(1)


@pytest.mark.parametrize(
    "positions, keep, remask_temperature, tau, scale",
    [
        (3, 1, 0.25, 1, 1), (3, 1, 1, 1, 1), (3, 1, 4, 1, 1), (3, 2, 0.25, 1, 1), (4, 2, 0.25, 1, 1),
        (3, 2, 0.25, 0.6, 3), (3, 1, 0.1, 1.4, 0),
    ],
)  # fmt: skip
def test_exact_is_the_gradient_of_the_expected_reward(positions, keep, remask_temperature, tau, scale):
    toy = ToyMDP(positions, keep)
    schedule = table(toy, remask_temperature, tau, scale)
    assert error(expected_gradient(toy, schedule, "exact"), toy.gradient(schedule)) < 1e-3


def test_exact_equals_finite_differences():
    toy = ToyMDP(3, 1, seed=7)
    schedule = table(toy, 0.25, 0.8, 2.0)
    assert error(expected_gradient(toy, schedule, "exact"), toy.finite_differences(schedule)) < 1e-3


@pytest.mark.parametrize(
    "keep, remask_temperature, least, most",
    [(1, 0.25, 0.2, 0.6), (2, 0.25, 0.2, 0.7), (1, 1, 0.06, 0.3), (1, 4, 0.01, 0.1)],
)
def test_fill_has_the_right_direction_and_the_documented_bias(keep, remask_temperature, least, most):
    errors, cosines = [], []
    for seed in range(3):
        toy = ToyMDP(3, keep, seed)
        schedule = table(toy, remask_temperature)
        told, truth = expected_gradient(toy, schedule, "fill"), toy.gradient(schedule)
        errors.append(error(told, truth))
        cosines.append(cosine(told, truth))
    assert least < np.mean(errors) < most
    assert np.mean(cosines) > 0.9


def test_a_bad_baseline_harms_fill_and_leaves_exact_alone():
    """E[grad log pi] is 0 for `exact` alone, so rewards are centred within a group (8b)."""
    errors = {(likelihood, baseline): [] for likelihood in ("fill", "exact") for baseline in (0, 2)}
    for seed in range(3):
        toy = ToyMDP(3, 1, seed)
        schedule = table(toy, 0.25)
        for (likelihood, baseline), told in errors.items():
            gradient = expected_gradient(toy, schedule, likelihood, baseline)
            told.append(error(gradient, toy.gradient(schedule)))
    means = {case: np.mean(told) for case, told in errors.items()}
    assert means["exact", 2] < 1e-3
    assert means["fill", 2] > 1.3 * means["fill", 0]


@pytest.mark.parametrize("step, column", [(0, 1), (0, 2), (0, 3), (1, 1), (1, 3)])
def test_the_schedules_gradient_is_exact(step, column):
    """One number varies, by quadrature; the others stay at their means."""
    toy = ToyMDP(3, 1)
    policy = SchedulePolicy(PolicyConfig(), [Schedule("base", table(toy, 0.5, 1.0, 2.0))])
    sigma = torch.tensor([0.4, 0.4, 0.4, 0.4], dtype=torch.float64)
    nodes, weights = np.polynomial.hermite_e.hermegauss(16)
    weights = torch.from_numpy(weights / weights.sum())
    count, steps = torch.arange(2), torch.full((2,), 2)

    def outcomes(shift: float) -> tuple[torch.Tensor, torch.Tensor]:
        with torch.no_grad():
            u = policy.mean(None, count, steps).repeat(len(nodes), 1, 1)  # [Q, 2, 4]
            u[:, step, column] += shift + sigma[column] * torch.from_numpy(nodes)
            rewards = [float(toy.expected_reward(values)) for values in policy.value(u)]
        return u, torch.tensor(rewards, dtype=torch.float64)

    h = 0.02
    truth = float(weights @ (outcomes(h)[1] - outcomes(-h)[1])) / (2 * h)
    u, rewards = outcomes(0)
    advantage = (weights * (rewards - weights @ rewards)).repeat_interleave(2)
    every = (count.repeat(len(nodes)), steps.repeat(len(nodes)))
    new = policy.log_prob(u.flatten(0, 1), policy.mean(None, *every), sigma, *every)
    loss, _ = schedule_loss(new, new.detach(), advantage, every[1], 1, ObjectiveConfig())
    loss.backward()
    slope = -2 * float(policy.body.offsets[0].grad[step, column])  # the loss averages over two steps
    assert slope == pytest.approx(truth, rel=1e-3)


REWARDS = torch.rand(2, 5, 8, generator=torch.Generator().manual_seed(4))
WEIGHTS = torch.tensor([1.0, 0.5])


def test_advantages_are_centred_and_standardised_before_they_are_mixed():
    told, skipped = advantages(REWARDS, WEIGHTS)
    first = (REWARDS[0] - REWARDS[0].mean(1, keepdim=True)) / REWARDS[0].std(1, correction=0, keepdim=True)
    alone, _ = advantages(REWARDS[:1], WEIGHTS[:1])
    assert torch.allclose(alone, first, atol=1e-5)
    assert not skipped.any()
    assert torch.allclose(told.mean(dim=1), torch.zeros(5), atol=1e-6)
    # A reward of a hundredth of the range says as much, as long as it spreads by more than the floor.
    small = torch.stack([REWARDS[0], REWARDS[1] / 100])
    assert torch.allclose(advantages(small, WEIGHTS, floor=1e-3)[0], told, atol=1e-3)


def test_advantages_do_not_depend_on_order_or_level():
    told, _ = advantages(REWARDS, WEIGHTS)
    order = torch.randperm(8, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(advantages(REWARDS[..., order], WEIGHTS)[0], told[:, order], atol=1e-5)
    assert torch.allclose(advantages(REWARDS + 3, WEIGHTS)[0], told, atol=1e-4)


def test_a_small_spread_is_not_blown_up():
    told, skipped = advantages(1e-3 * REWARDS[:1], WEIGHTS[:1], floor=0.05)
    assert told.abs().max() < 0.02 and not skipped.any()


def test_groups_without_spread_are_skipped_and_give_exactly_nothing():
    rewards = REWARDS.clone()
    rewards[:, 1] = 0.1  # not a binary fraction: its mean is not it in bits
    rewards[0, 3] = 0.7
    told, skipped = advantages(rewards, WEIGHTS)
    assert skipped.tolist() == [False, True, False, False, False]
    assert (told[1] == 0).all()
    assert torch.allclose(told[3], 0.5 * advantages(REWARDS[1:], torch.ones(1))[0][3], atol=1e-6)
    _, only = advantages(rewards, torch.tensor([1.0, 0.0]))
    assert only.tolist() == [False, True, False, True, False], "a reward without weight says nothing"


def test_the_surrogate_stops_where_the_ratio_has_gone_far_enough():
    log_ratio = torch.tensor([0.5, 0.5, -0.5, -0.5, 0.1], requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    gain = clipped_surrogate(log_ratio, advantage, 0.2)
    expected = [1.2, -np.exp(0.5), np.exp(-0.5), -0.8, 2 * np.exp(0.1)]
    assert gain.tolist() == pytest.approx(expected)
    (slope,) = torch.autograd.grad(gain.sum(), log_ratio)
    assert (slope == 0).tolist() == [True, False, False, True, False]
    told = Ratios.of(log_ratio, advantage, 0.2, torch.zeros(5))
    assert told.clipped == 2 and told.count == 5
    assert told.metrics(True)["ratio_max"] == pytest.approx(np.exp(0.5))


def test_k3_estimates_the_divergence():
    draw = torch.Generator().manual_seed(0)
    p, q = (torch.randn(6, generator=draw).softmax(0) for _ in range(2))
    log_p = p.log().requires_grad_()
    estimate = (p * k3(log_p, q.log())).sum()
    assert estimate.item() == pytest.approx(float((p * (p / q).log()).sum()), abs=1e-6)
    assert (k3(log_p, q.log()) >= 0).all()


def chunk(rows: int = 3, positions: int = 4) -> tuple[LogProbs, LogProbs, torch.Tensor]:
    draw = torch.Generator().manual_seed(5)
    scored = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 1, 0]], dtype=torch.bool)
    old = -torch.rand(rows, positions, generator=draw) * scored
    new = (old + 0.1 * torch.randn(rows, positions, generator=draw) * scored).requires_grad_()
    return LogProbs(new, scored), LogProbs(old, scored), torch.tensor([1.0, -2.0, 0.5])


STEPS = torch.tensor([2, 4, 2])


def test_token_weight_is_one_constant_and_step_weight_a_mean_of_means():
    new, old, advantage = chunk()
    gain = clipped_surrogate(new.tokens - old.tokens, advantage[:, None], 0.2) * new.scored
    by_token, _ = model_loss(new, old, advantage, STEPS, 10, ObjectiveConfig())
    assert by_token.item() == pytest.approx(-gain.sum().item() / (4 * 10))
    by_step, _ = model_loss(new, old, advantage, STEPS, 10, ObjectiveConfig(weight="step"))
    means = gain.sum(dim=1) / new.scored.sum(dim=1)
    assert by_step.item() == pytest.approx(-(means / STEPS).sum().item() / 10)


def test_the_step_ratio_is_the_geometric_mean():
    new, old, advantage = chunk()
    told, ratios = model_loss(new, old, advantage, STEPS, 1, ObjectiveConfig(ratio="step", clip=0.9))
    count = new.scored.sum(dim=1)
    geometric = ((new.tokens - old.tokens).sum(dim=1) / count).exp()
    assert told.item() == pytest.approx(-(geometric * advantage * count).sum().item() / 4)
    assert ratios.largest == pytest.approx(geometric.max().item())
    same = LogProbs(old.tokens.clone().requires_grad_(), old.scored)
    slopes = []
    for ratio in ("token", "step"):
        loss, _ = model_loss(same, old, advantage, STEPS, 1, ObjectiveConfig(ratio=ratio))
        slopes.append(torch.autograd.grad(loss, same.tokens)[0])
    assert torch.allclose(*slopes, atol=1e-7), "on-policy both ratios have one gradient"


def test_the_reference_pulls_and_the_loss_of_chunks_adds_up():
    new, old, advantage = chunk()
    config = ObjectiveConfig(kl=0.5)
    plain, _ = model_loss(new, old, advantage, STEPS, 2, config)
    pulled, ratios = model_loss(new, old, advantage, STEPS, 2, config, reference=old)
    divergence = (k3(new.tokens, old.tokens) * new.scored).sum()
    assert (pulled - plain).item() == pytest.approx(0.5 * divergence.item() / 8, rel=1e-4)
    assert ratios.metrics(True)["kl"] == pytest.approx(divergence.item() / 6, rel=1e-4)
    parts, measured = [], Ratios()
    for row in range(3):
        part = [LogProbs(told.tokens[row : row + 1], told.scored[row : row + 1]) for told in (new, old)]
        own = advantage[row : row + 1], STEPS[row : row + 1]
        loss, one = model_loss(*part, *own, 2, config, reference=part[1])
        parts.append(loss)
        measured = measured + one
    assert sum(parts).item() == pytest.approx(pulled.item(), rel=1e-5)
    assert measured.metrics(True) == pytest.approx(ratios.metrics(True), rel=1e-5)


def test_no_advantage_no_gradient():
    new, old, _ = chunk()
    loss, _ = model_loss(new, old, torch.zeros(3), STEPS, 1, ObjectiveConfig())
    (slope,) = torch.autograd.grad(loss, new.tokens)
    assert (slope == 0).all()


def test_exact_is_refused_with_step_weight():
    with pytest.raises(ValidationError, match="weight"):
        ObjectiveConfig(likelihood="exact", weight="step")
