import math
from itertools import combinations, permutations

import pytest
import torch

from cogrpo.decode import rank
from cogrpo.kept_set import log_kept_set


def by_orders(log_p: torch.Tensor, kept: list[int], temperature: float) -> float:
    """P(K) as the sum over the orders in which the kept positions can be drawn, in float64."""
    weights = (log_p.double() / temperature).exp()
    total = 0.0
    for order in permutations(kept):
        probability, left = 1.0, weights.clone()
        for position in order:
            probability *= float(left[position] / left.sum())
            left[position] = 0
        total += probability
    return total


def masks(positions: int, kept: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    mask = torch.zeros(1, positions, dtype=torch.bool)
    mask[0, kept] = True
    return mask, torch.ones_like(mask)


@pytest.mark.parametrize("temperature", [0.1, 0.7, 8.0])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_is_the_sum_over_orders_and_sums_to_one(temperature, count):
    log_p = torch.tensor([[-0.1, -0.4, -1.5, -3.0, -0.2, -6.0]])
    sets = [list(chosen) for chosen in combinations(range(6), count)]
    told = torch.cat([log_kept_set(log_p, *masks(6, k), torch.tensor([temperature])) for k in sets]).exp()
    assert float(told.sum()) == pytest.approx(1, abs=2e-5)
    assert told.tolist() == pytest.approx([by_orders(log_p[0], k, temperature) for k in sets], abs=2e-6)


def test_it_is_the_frequency_with_which_the_sampler_keeps_the_set():
    draws, temperature = 200_000, 0.5
    log_p = torch.tensor([-0.3, -1.2, -0.7, -2.0, -0.1])
    gumbel = -torch.empty(draws, 5).exponential_(generator=torch.Generator().manual_seed(0)).log()
    kept = rank(log_p + temperature * gumbel) < 2
    for chosen in combinations(range(5), 2):
        mask, hidden = masks(5, list(chosen))
        share = (kept == mask).all(dim=1).float().mean()
        told = log_kept_set(log_p[None], mask, hidden, torch.tensor([temperature])).exp()
        assert abs(share - told) < 0.005


def test_400_of_4096_in_float32():
    draw = torch.Generator().manual_seed(2)
    log_p = -4 * torch.rand(3, 4096, generator=draw, dtype=torch.float64)
    log_p[0] = -1.0  # equal weights: one of (4096 over 400) sets
    kept = torch.zeros(3, 4096, dtype=torch.bool)
    kept[:2, torch.randperm(4096, generator=draw)[:400]] = True
    kept[2] = log_p[2] >= log_p[2].topk(400).values[-1]  # the likeliest set
    temperature = torch.tensor([2.0, 0.5, 0.1], dtype=torch.float64)
    grown = [t.requires_grad_() for t in (log_p, log_p.detach().float())]
    fine = log_kept_set(grown[0], kept, torch.ones_like(kept), temperature)
    coarse = log_kept_set(grown[1], kept, torch.ones_like(kept), temperature.float())
    n, k = torch.tensor(4096.0, dtype=torch.float64), torch.tensor(400.0, dtype=torch.float64)
    combinations_log = torch.lgamma(n + 1) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    assert fine[0].item() == pytest.approx(-combinations_log.item(), rel=1e-9)
    assert torch.allclose(coarse.double(), fine, rtol=1e-5)
    slopes = [
        torch.autograd.grad(value.sum(), leaf)[0] for value, leaf in zip((fine, coarse), grown, strict=True)
    ]
    assert torch.allclose(slopes[1].double(), slopes[0], atol=1e-3 * slopes[0].abs().max())


def test_the_gradient_is_that_of_the_sum_over_orders():
    log_p = torch.tensor([[-0.4, -1.5, -0.2, -3.0, -0.9]], dtype=torch.float64, requires_grad=True)
    kept, hidden = masks(5, [0, 3])
    hidden[0, 4] = False
    temperature = torch.tensor([0.6], dtype=torch.float64)
    (slope,) = torch.autograd.grad(log_kept_set(log_p, kept, hidden, temperature).sum(), log_p)
    weights = (log_p / temperature).exp()[0]
    a, b, total = weights[0], weights[3], weights[:4].sum()
    (expected,) = torch.autograd.grad((a * b / total * (1 / (total - a) + 1 / (total - b))).log(), log_p)
    assert torch.allclose(slope, expected, atol=1e-8)
    assert slope[0, 4] == 0, "a position that was known before the step is in neither set"


def test_a_step_that_keeps_all_has_probability_one_and_no_gradient():
    log_p = torch.tensor([[-1.0, -2.0, 0.0], [-1.0, -2.0, -3.0]], requires_grad=True)
    hidden = torch.tensor([[True, True, False], [True, True, True]])
    kept = torch.tensor([[True, True, False], [True, False, False]])
    # The last step of a schedule may have re-mask temperature 0: it has no effect there.
    told = log_kept_set(log_p, kept, hidden, torch.tensor([0.0, 1.0]))
    assert told[0] == 0 and told[1] < 0
    (slope,) = torch.autograd.grad(told.sum(), log_p)
    assert (slope[0] == 0).all() and torch.isfinite(slope).all() and (slope[1] != 0).all()


def test_extreme_confidences_stay_finite():
    log_p = torch.tensor([[-1e-7, -60.0, -1e-6, -80.0], [-60.0, -1e-7, -90.0, -1e-6]], requires_grad=True)
    kept = torch.tensor([[True, False, True, False]]).expand(2, -1)
    told = log_kept_set(log_p, kept, torch.ones(2, 4, dtype=torch.bool), torch.full((2,), 0.1))
    assert told[0].item() == pytest.approx(0, abs=1e-6)
    # For weights as small as these P is 2 w_0 w_2 / (w_1 + w_3)^2, with w_1 = w_3 = 1 here.
    assert told[1].item() == pytest.approx((-60 - 90) / 0.1 - math.log(2), abs=1e-3)
    (slope,) = torch.autograd.grad(told.sum(), log_p)
    assert torch.isfinite(slope).all()


def test_no_temperature_no_probability():
    kept, hidden = masks(3, [1])
    with pytest.raises(ValueError, match="^remask_temperature: 0"):
        log_kept_set(torch.zeros(1, 3), kept, hidden, torch.zeros(1))
