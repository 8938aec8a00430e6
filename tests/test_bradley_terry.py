"""Bradley-Terry with ties: its likelihood against a direct computation, its symmetry, its doubt, its foresight."""

from __future__ import annotations

import numpy as np
import pytest

from cogrpo.bradley_terry import (
    LEFT,
    RIGHT,
    TIE,
    TIES_DEVIATION,
    TIES_MEAN,
    Comparisons,
    best_fit,
    cross_validate,
    fit,
    loss,
)

RULES = {"folds": 5, "confidence": 0.99, "resamples": 500}


def made_up(count, rng, w=(2.0, 0.0, 0.0), ties=-1.0, groups=20) -> Comparisons:
    """Comparisons by somebody with utilities w."""
    x = rng.normal(size=(count, len(w)))
    odds = np.exp(np.stack([x @ w / 2, -(x @ np.array(w)) / 2, np.full(count, ties)]))
    draw = rng.random(count) * odds.sum(axis=0)
    outcome = np.where(draw < odds[0], LEFT, np.where(draw < odds[0] + odds[1], RIGHT, TIE))
    return Comparisons(x, outcome, np.ones(count), np.arange(count) % groups)


def test_the_loss_is_what_davidsons_formula_says():
    data = made_up(7, np.random.default_rng(0))._replace(weight=np.arange(1.0, 8))
    w, ties, precision = np.array([0.5, -1.0, 0.2]), 0.3, np.array([1.0, 2.0, 3.0])
    told = 0.0
    for x, outcome, weight, _ in zip(*data, strict=True):
        better, worse = np.exp(x @ w), 1.0  # the strengths of the left one and of the right one
        even = np.exp(ties) * np.sqrt(better * worse)
        strength = {LEFT: better, RIGHT: worse, TIE: even}[outcome]
        told -= weight * np.log(strength / (better + worse + even))
    told += (precision * w**2).sum() / 2 + ((ties - TIES_MEAN) / TIES_DEVIATION) ** 2 / 2
    assert loss(np.append(w, ties), data, precision)[0] == pytest.approx(told, rel=1e-12)


def test_gradient_and_hessian_are_those_of_the_loss():
    data, precision = made_up(30, np.random.default_rng(1)), np.ones(3)
    at, step = np.array([0.4, -0.7, 0.1, -0.5]), 1e-5
    _, gradient, hessian = loss(at, data, precision)
    for place in range(len(at)):
        beside = np.eye(len(at))[place] * step
        up, down = loss(at + beside, data, precision), loss(at - beside, data, precision)
        assert gradient[place] == pytest.approx((up[0] - down[0]) / (2 * step), abs=1e-6)
        assert hessian[place] == pytest.approx((up[1] - down[1]) / (2 * step), abs=1e-5)


def test_swapping_the_sides_changes_nothing():
    data = made_up(50, np.random.default_rng(2))
    swapped = data._replace(difference=-data.difference, outcome=-data.outcome)
    one, other = fit(data, np.ones(3)), fit(swapped, np.ones(3))
    assert one.w == pytest.approx(other.w, abs=1e-6) and one.ties == pytest.approx(other.ties, abs=1e-6)


def test_a_taste_and_how_often_it_ties_are_found():
    found = fit(made_up(3000, np.random.default_rng(3), w=(2.0, -1.0, 0.0), ties=0.5), np.full(3, 0.1))
    assert found.w == pytest.approx([2.0, -1.0, 0.0], abs=0.2) and found.ties == pytest.approx(0.5, abs=0.15)


def test_a_vote_of_weight_two_is_two_votes():
    data = made_up(20, np.random.default_rng(4))
    twice = Comparisons(*(np.concatenate([column, column]) for column in data))
    heavy = data._replace(weight=np.full(20, 2.0))
    assert fit(heavy, np.ones(3)).w == pytest.approx(fit(twice, np.ones(3)).w, abs=1e-6)


def test_more_votes_leave_less_doubt_and_none_leave_the_prior():
    rng, precision = np.random.default_rng(5), np.full(3, 4.0)
    spread = [fit(made_up(count, rng), precision).covariance.trace() for count in (0, 10, 100, 1000)]
    assert spread[0] == pytest.approx(3 / 4) and spread == sorted(spread, reverse=True)


def test_foresight_is_judged_on_groups_that_the_fit_has_not_seen():
    # Each group's votes follow a sign of its own: known groups are foreseen perfectly, new ones not at all.
    rng = np.random.default_rng(6)
    group, x = np.repeat(np.arange(40), 4), np.repeat(np.eye(40), 4, axis=0)
    sign = np.repeat(rng.choice([LEFT, RIGHT], 40), 4)
    told = cross_validate(Comparisons(x, sign, np.ones(160), group), [np.full(40, 0.01)], seed=0, **RULES)
    assert told.mean == 0  # a group nobody has seen has no difference: no side is foreseen


def test_a_taste_is_foreseen_and_chance_is_not():
    taste = cross_validate(made_up(300, np.random.default_rng(7), groups=100), [np.ones(3)], seed=0, **RULES)
    chance = [
        cross_validate(
            made_up(300, np.random.default_rng(s), (0, 0, 0), groups=60), [np.ones(3)], seed=s, **RULES
        )
        for s in range(20)
    ]
    assert 0.5 < taste.low < taste.mean < taste.high
    assert sum(one.low > 0.5 for one in chance) <= 1  # half a percent a look


@pytest.mark.parametrize("votes", [6, 120])
def test_a_lucky_streak_is_no_certainty_however_many_votes_say_the_same_of_few_prompts(votes):
    sure = made_up(votes, np.random.default_rng(3), w=(80.0, 0.0, 0.0), groups=6)
    told = cross_validate(sure, [np.ones(3)], seed=0, **RULES)
    assert told.mean > 0.9 and told.high == 1 and told.low < 0.5 and told.decided == votes


def test_ties_say_nothing_of_accuracy_and_too_few_groups_nothing_at_all():
    data = made_up(40, np.random.default_rng(8), groups=4)
    assert cross_validate(data, [np.ones(3)], seed=0, **RULES) is None
    even = data._replace(outcome=np.zeros(40, dtype=int), group=np.arange(40))
    assert cross_validate(even, [np.ones(3)], seed=0, **RULES) is None


def test_the_votes_choose_the_prior_under_which_they_are_most_probable():
    """Many features, a taste in the first three: the prior that lets those speak wins, and foresees better."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 103))
    data = Comparisons(x, np.sign(x[:, :3] @ [3.0, -2.0, 1.0]).astype(int), np.ones(60), np.arange(60))
    alike, first, last = (np.repeat([1 / a, 100 / b], [3, 100]) for a, b in ((1, 1), (9, 0.01), (0.01, 9)))
    best = best_fit(data, [alike, first, last])
    assert best.evidence == fit(data, first).evidence > fit(data, alike).evidence > fit(data, last).evidence
    chosen, fixed = (
        cross_validate(data, priors, seed=0, **RULES).mean for priors in ([alike, first, last], [last])
    )
    assert chosen > 0.9 > fixed


def test_the_evidence_is_the_probability_of_the_comparisons():
    """One feature: against the integral over w and ties."""
    rng = np.random.default_rng(1)
    data = made_up(30, rng)._replace(difference=rng.normal(size=(30, 1)))
    precisions = [np.array([p]) for p in (0.1, 1.0, 10.0)]
    w, ties = np.meshgrid(np.linspace(-12, 12, 121), np.linspace(-7, 5, 61), indexing="ij")

    def integral(precision: np.ndarray) -> float:
        grid = [
            loss(np.array([a, b]), data, precision)[0] for a, b in zip(w.ravel(), ties.ravel(), strict=True)
        ]
        return float(np.logaddexp.reduce(-np.array(grid)) + np.log(precision[0]) / 2)

    laplace, exact = ([f(p) for p in precisions] for f in (lambda p: fit(data, p).evidence, integral))
    assert np.diff(laplace) == pytest.approx(np.diff(exact), abs=0.1)
