"""The probability that a step keeps just those positions that it kept: log P(K), differentiable.

A step adds tau_r * Gumbel(0, 1) to the log-confidence of each hidden position and keeps the best. That draws
positions one after another without replacement, with weights w_i = p_i^(1 / tau_r) (Plackett-Luce). Recorded
is the set K that stays, not its order, and R, the set that is hidden again; with W_R the sum of w over R

    P(K) = integral over u in (0, 1) of prod over k in K of (1 - u^(w_k / W_R)).

With u = exp(-e^x) the logarithm of the integrand is strictly concave in x,

    log f(x) = x - e^x + sum over k in K of log(1 - exp(-e^(x + log(w_k / W_R)))),

and falls at both ends at least as fast as x - e^x does. So the trapezoid rule on a few points around its
maximum is exact to the precision of the numbers. (Method of Co-GRPO: the likelihood `exact`; the paper's own
likelihood leaves P(K) out, which biases its gradient.)
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

POINTS = 64
TAIL = 20.0  # nats below the maximum at which the integrand is cut off


def log_kept_set(log_confidence: Tensor, kept: Tensor, hidden: Tensor, temperature: Tensor) -> Tensor:
    """log P(K) of P steps, [P]; 0 where a step keeps all that was hidden.

    log_confidence [P, N]: guided, un-tempered log p of the sampled codes; kept, hidden [P, N] bool, hidden as
    it was before the step; temperature [P], the re-mask temperature. Raises ValueError where that is 0 and
    something is hidden again: the set is then no random draw.
    """
    rest = hidden & ~kept
    certain = ~rest.any(dim=1)
    if (temperature[~certain] <= 0).any():
        raise ValueError("remask_temperature: 0 is not allowed; the probability of a kept set needs more.")
    # A certain row is computed with some finite numbers, and its result replaced, so that no gradient is NaN.
    log_w = log_confidence / temperature.masked_fill(certain, 1)[:, None]
    log_rest = log_w.masked_fill(~(rest | certain[:, None]), -torch.inf).logsumexp(dim=1, keepdim=True)
    # Only K enters the product; an infinite ratio stands for a factor of 1.
    log_ratio = (log_w - log_rest).masked_fill(~kept, torch.inf)
    columns = kept.long().argsort(dim=1, descending=True)[:, : int(kept.sum(dim=1).max())]
    log_ratio = log_ratio.gather(1, columns)  # [P, k]
    x, width = _grid(log_ratio.detach())
    log_f = x - x.exp() + _log_factor(log_ratio[:, None] + x[..., None]).sum(dim=-1)  # [P, POINTS]
    return (log_f.logsumexp(dim=1) + width.log()).masked_fill(certain, 0)


def _log_factor(z: Tensor) -> Tensor:
    """log(1 - exp(-e^z)), which is z for very small z and 0 for large z, without overflow in its gradient."""
    y = z.clamp(-37, 5).exp()
    return torch.where(z < -37, z, (-torch.expm1(-y)).log())


def _grid(log_ratio: Tensor) -> tuple[Tensor, Tensor]:
    """Points [P, POINTS] over the support of the integrand, and the distance between them [P].

    The maximum lies in [0, log(1 + k)]. With m = e^maximum and c = TAIL / m, log f is TAIL below its maximum
    before it is (c + sqrt(c^2 + 8 c)) / 2 to the left, or log(1 + c + sqrt(2 c)) to the right: the term
    x - e^x alone sees to that.
    """
    low = torch.zeros_like(log_ratio[:, :1])
    high = torch.full_like(low, math.log1p(log_ratio.shape[1]))
    for _ in range(16):
        middle = (low + high) / 2
        y = (log_ratio + middle).clamp(-37, 5).exp()
        rising = 1 - middle.exp() + (y / torch.expm1(y)).sum(dim=1, keepdim=True) > 0
        low, high = torch.where(rising, middle, low), torch.where(rising, high, middle)
    c = TAIL / low.exp()
    left, right = (c + (c * (c + 8)).sqrt()) / 2, torch.log1p(c + (2 * c).sqrt())
    share = torch.linspace(0, 1, POINTS, dtype=low.dtype, device=low.device)
    return low - left + (left + right) * share, ((left + right) / (POINTS - 1))[:, 0]
