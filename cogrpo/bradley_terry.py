"""Bradley-Terry with ties, on features: how much better one thing is liked than another (pure functions on arrays).

The model is Davidson's (J. Am. Stat. Assoc. 65, 1970): with utilities u = w . features and d = u_left - u_right,
P(left), P(right), P(tie) are proportional to exp(d / 2), exp(-d / 2) and exp(ties). Without ties it is Bradley and
Terry's (Biometrika 39, 1952). The negative log-likelihood is convex in (w, ties), and with the Gaussian prior its
minimum is unique. Shapes: N comparisons, D features.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import minimize

from cogrpo.people import wilson

LEFT, RIGHT, TIE = 1, -1, 0
TIES_MEAN, TIES_DEVIATION = -1.0, 2.0  # prior of `ties`: about every sixth comparison, and little is known
NEWTON_STEPS, NEWTON_CLOSE = 50, 1e-8


class Comparisons(NamedTuple):
    """difference [N, D]: features of the left one minus those of the right one; outcome [N] in {1, 0, -1}; weight [N]:
    how many votes each counts for; group [N] int: those of one group are never split."""

    difference: np.ndarray
    outcome: np.ndarray
    weight: np.ndarray
    group: np.ndarray

    def where(self, chosen: np.ndarray) -> Comparisons:
        return Comparisons(*(column[chosen] for column in self))


@dataclass(frozen=True)
class Fit:
    """w [D], its posterior covariance [D, D] (Laplace), and the log-odds of a tie between equals.

    evidence: Laplace's log probability of the comparisons under the prior, up to a constant of the data (MacKay 1992).
    """

    w: np.ndarray
    covariance: np.ndarray
    ties: float
    evidence: float


def loss(
    parameters: np.ndarray, data: Comparisons, precision: np.ndarray
) -> tuple[float, np.ndarray, np.ndarray]:
    """Negative log-posterior up to a constant, its gradient [D + 1] and its Hessian; parameters: w, then `ties`.

    Several at once: parameters [B, D + 1] and weights [B, N] give [B], [B, D + 1] and [B, D + 1, D + 1].
    """
    x, w, ties = data.difference, parameters[..., :-1], parameters[..., -1:]
    apart = w @ x.T / 2
    terms = np.stack([apart, -apart, np.broadcast_to(ties, apart.shape)])  # left, right, tie
    norm = np.logaddexp.reduce(terms)
    left, right, tie = np.exp(terms - norm)
    came = np.choose(np.array([2, 0, 1])[data.outcome], terms)  # 0: tie, 1: left, -1: right
    off = (parameters[..., -1] - TIES_MEAN) / TIES_DEVIATION
    value = (data.weight * (norm - came)).sum(axis=-1) + (precision * w**2).sum(axis=-1) / 2 + off**2 / 2
    lean = (left - right) / 2  # d norm / d difference
    slope = data.weight * (lean - data.outcome / 2)
    by_ties = (data.weight * (tie - (data.outcome == TIE))).sum(axis=-1) + off / TIES_DEVIATION
    gradient = np.concatenate([slope @ x + precision * w, by_ties[..., None]], axis=-1)
    hessian = np.empty((*parameters.shape, parameters.shape[-1]))
    bend = data.weight * ((left + right) / 4 - lean**2)
    hessian[..., :-1, :-1] = (x.T * bend[..., None, :]) @ x + np.diag(precision)
    hessian[..., -1, :-1] = hessian[..., :-1, -1] = -(data.weight * tie * lean) @ x
    hessian[..., -1, -1] = (data.weight * tie * (1 - tie)).sum(axis=-1) + 1 / TIES_DEVIATION**2
    return value, gradient, hessian


def fit(data: Comparisons, precision: np.ndarray) -> Fit:
    """The most probable parameters and the Gaussian around them. precision [D]: of the prior of w, whose mean is 0.

    Only directions in which some comparison differs are told anything, at most N of D; elsewhere the prior stands.
    """
    deviation = 1 / np.sqrt(precision)
    basis, triangle = np.linalg.qr((data.difference * deviation).T)  # [D, R], [R, N]
    inner, units = data._replace(difference=triangle.T), np.ones(basis.shape[1])
    found = minimize(
        lambda p: loss(p, inner, units)[:2], np.append(np.zeros(len(units)), TIES_MEAN), jac=True,
        hess=lambda p: loss(p, inner, units)[2], method="trust-exact", options={"gtol": 1e-6},
    )  # fmt: skip
    value, _, hessian = loss(found.x, inner, units)
    told = np.linalg.inv(hessian)[:-1, :-1]
    spread = np.eye(len(deviation)) + basis @ (told - np.eye(len(units))) @ basis.T
    return Fit(
        w=deviation * (basis @ found.x[:-1]),
        covariance=deviation[:, None] * spread * deviation,
        ties=float(found.x[-1]),
        evidence=float(-value - np.linalg.slogdet(hessian)[1] / 2),
    )


def refits(data: Comparisons, precision: np.ndarray, weights: np.ndarray, start: Fit) -> np.ndarray:
    """The most probable w [B, D] under each of B other weights of the same comparisons [B, N]: a bootstrap's.

    By Newton's method from the fit under the data's own weights, no step longer than one unit.
    """
    found = np.tile(np.append(start.w, start.ties), (len(weights), 1))
    resampled = data._replace(weight=weights)
    for _ in range(NEWTON_STEPS):
        _, gradient, hessian = loss(found, resampled, precision)
        step = np.linalg.solve(hessian, gradient[..., None])[..., 0]
        found -= step / np.maximum(1, np.abs(step).max(axis=1, keepdims=True))
        if np.abs(step).max() < NEWTON_CLOSE:
            break
    return found[:, :-1]


def best_fit(data: Comparisons, precisions: Sequence[np.ndarray]) -> Fit:
    """Under the prior, of several, that makes the comparisons most probable."""
    return max((fit(data, precision) for precision in precisions), key=lambda each: each.evidence)


class Accuracy(NamedTuple):
    """Share of decided comparisons that a fit without their group foresees, and its interval."""

    mean: float
    low: float
    high: float
    decided: int  # comparisons that are no tie
    groups: int  # among which these are


def cross_validate(
    data: Comparisons,
    precisions: Sequence[np.ndarray],
    seed: int,
    folds: int,
    confidence: float,
    resamples: int,
) -> Accuracy | None:
    """How well best fits foresee the votes on groups that they have not seen; None where there are fewer than `folds`
    groups with a decided comparison. The interval is a bootstrap over groups, its lower end Wilson's, each group
    counted once, where that is lower."""
    decided = data.outcome != TIE
    groups = np.unique(data.group[decided])
    if len(groups) < folds:
        return None
    right = np.zeros(len(data.outcome))
    for held in _folds(groups, folds, seed):
        out = np.isin(data.group, held)
        w = best_fit(data.where(~out), precisions).w
        right[out] = np.sign(data.difference[out] @ w) * data.outcome[out] > 0
    gained = np.array([(data.weight * right)[decided & (data.group == group)].sum() for group in groups])
    counted = np.array([data.weight[decided & (data.group == group)].sum() for group in groups])
    drawn = np.random.default_rng(seed).integers(len(groups), size=(resamples, len(groups)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(gained[drawn].sum(axis=1) / counted[drawn].sum(axis=1), [tail, 100 - tail])
    mean = gained.sum() / counted.sum()
    # Where all of a few groups are right, every resample is, too: a bootstrap alone takes a lucky streak for certainty.
    low = min(float(low), wilson(mean, len(groups), confidence)[0])
    return Accuracy(mean, low, float(high), int(decided.sum()), len(groups))


def _folds(groups: np.ndarray, folds: int, seed: int) -> Iterator[np.ndarray]:
    yield from np.array_split(np.random.default_rng(seed).permutation(groups), folds)
