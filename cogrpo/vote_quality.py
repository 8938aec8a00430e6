"""How far votes can be trusted: known answers, second looks, agreement, time, sides, and what was found of each vote.

Measures of trust look at valid and unchecked votes, as strengths do; times and findings look at all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import numpy as np
from scipy.stats import binomtest

from cogrpo import krippendorff
from cogrpo.config import Config
from cogrpo.contests import CHECKS, TRUSTED, CastVote, voter
from cogrpo.leaderboard import CONFIDENCE, RESAMPLES, SEED
from cogrpo.people import wilson

LEAST = 20  # votes, or pairs, below which a measure is told without a verdict
VALIDITIES = ("valid", "unchecked", "suspicious", "rejected")
NEITHER = "neither"  # a tie, or both are bad

Verdict = Literal["told", "cannot tell yet"]


class Share(Config):
    """`right` of `asked`, and Wilson's interval of that share; None of nothing."""

    verdict: Verdict
    right: int
    asked: int
    rate: float | None
    low: float | None
    high: float | None


class Agreement(Config):
    """Krippendorff's alpha with its interval, a bootstrap over pairs; None where it is not defined, or of few pairs."""

    verdict: Verdict
    pairs: int  # that two voters or more have seen
    votes: int  # on these
    voters: int
    alpha: float | None
    low: float | None
    high: float | None


class Dwell(Config):
    """How long both pictures were in sight, milliseconds; None where no vote says so."""

    votes: int  # that say so
    unknown: int  # that do not
    lower_quartile: float | None
    median: float | None
    upper_quartile: float | None


class Sides(Config):
    """How often either side was preferred; p: of a difference as large by chance alone (exact binomial, two-sided)."""

    verdict: Literal["no bias seen", "left is preferred", "right is preferred", "cannot tell yet"]
    left: int
    right: int
    rate: float | None  # of left
    low: float | None
    high: float | None
    p: float | None


class Found(Config):
    """reasons: kind of reason -> votes; a vote may have several."""

    votes: int
    reasons: dict[str, int]


class Quality(Config):
    """mirror_waits: second looks whose first one has no vote that counts."""

    gold: Share
    mirrored: Share
    mirror_waits: int
    agreement: Agreement
    dwell: Dwell
    sides: Sides
    validity: dict[str, Found]


def quality(votes: Sequence[CastVote]) -> Quality:
    """All measures of the votes of a store."""
    pairs = [vote for vote in votes if vote.kind == "pair" and not vote.erased]
    trusted = [vote for vote in pairs if vote.validity in TRUSTED]
    mirrored, waits = _mirrored(trusted)
    return Quality(
        gold=_share([vote.outcome == vote.gold for vote in trusted if vote.gold]),
        mirrored=_share(mirrored),
        mirror_waits=waits,
        agreement=_agreement([vote for vote in trusted if vote.purpose not in CHECKS]),
        dwell=_dwell(pairs),
        sides=_sides([vote.outcome for vote in trusted]),
        validity={validity: _found(votes, validity) for validity in VALIDITIES},
    )


def preferred(vote: CastVote) -> str:
    """The picture that a vote on a pair prefers, by its hash, or NEITHER: which side it stood on does not matter."""
    left, right = vote.sides
    return {"left": left.pixels, "right": right.pixels}.get(vote.outcome, NEITHER)


def _share(answers: Sequence[bool]) -> Share:
    right, asked = sum(answers), len(answers)
    rate = right / asked if asked else None
    low, high = wilson(rate, asked, CONFIDENCE) if asked else (None, None)
    return Share(verdict=_verdict(asked), right=right, asked=asked, rate=rate, low=low, high=high)


def _mirrored(votes: Sequence[CastVote]) -> tuple[list[bool], int]:
    """Whether each second look said what the first had said, and how many have no first one to hold against."""
    first = {vote.presentation: preferred(vote) for vote in votes}
    second = [vote for vote in votes if vote.mirror_of is not None]
    same = [preferred(vote) == first[vote.mirror_of] for vote in second if vote.mirror_of in first]
    return same, len(second) - len(same)


def _agreement(votes: Sequence[CastVote]) -> Agreement:
    """Values are the picture with the lower hash, the other one, and neither, so that sides do not matter.

    Of several votes by one voter on a pair the first counts."""
    said: dict[tuple[str, ...], dict[int, str]] = defaultdict(dict)
    for vote in votes:
        pictures = sorted(side.pixels for side in vote.sides)
        picked = preferred(vote)
        value = picked if picked == NEITHER else str(pictures.index(picked))
        said[vote.prompt, *pictures].setdefault(voter(vote), value)
    several = {pair: told for pair, told in said.items() if len(told) > 1}
    counts = krippendorff.tallied([list(told.values()) for told in several.values()])
    found = float(krippendorff.alpha(counts))
    low, high, defined = None, None, not np.isnan(found)
    if defined and len(several) >= LEAST:
        share = np.full(len(counts), 1 / len(counts))
        drawn = np.random.default_rng(SEED).multinomial(len(counts), share, RESAMPLES)
        # A resample in which all say the same shows no agreement beyond chance.
        resampled = np.nan_to_num(krippendorff.alpha(counts, drawn), nan=0.0)
        tail = 50 * (1 - CONFIDENCE)
        low, high = map(float, np.percentile(resampled, [tail, 100 - tail]))
    return Agreement(
        verdict=_verdict(len(several) if defined else 0),
        pairs=len(several),
        votes=int(counts.sum()),
        voters=len({who for told in several.values() for who in told}),
        alpha=found if defined else None,
        low=low,
        high=high,
    )


def _dwell(votes: Sequence[CastVote]) -> Dwell:
    told = [vote.dwell_ms for vote in votes if vote.dwell_ms is not None]
    lower, median, upper = map(float, np.percentile(told, [25, 50, 75])) if told else (None, None, None)
    return Dwell(
        votes=len(told),
        unknown=len(votes) - len(told),
        lower_quartile=lower,
        median=median,
        upper_quartile=upper,
    )


def _sides(outcomes: Sequence[str | None]) -> Sides:
    left, right = outcomes.count("left"), outcomes.count("right")
    decided = left + right
    if not decided:
        nothing = dict.fromkeys(("rate", "low", "high", "p"))
        return Sides(verdict="cannot tell yet", left=0, right=0, **nothing)
    tested = binomtest(left, decided)
    ends = tested.proportion_ci(CONFIDENCE)
    p = float(tested.pvalue)
    if decided < LEAST:
        verdict = "cannot tell yet"
    elif p >= 1 - CONFIDENCE:
        verdict = "no bias seen"
    else:
        verdict = "left is preferred" if left > right else "right is preferred"
    rate, low, high = left / decided, float(ends.low), float(ends.high)
    return Sides(verdict=verdict, left=left, right=right, rate=rate, low=low, high=high, p=p)


def _found(votes: Sequence[CastVote], validity: str) -> Found:
    chosen = [vote for vote in votes if vote.validity == validity]
    reasons = Counter(
        reason.partition(":")[0].strip() for vote in chosen for reason in (vote.reason or "").split(";")
    )
    del reasons[""]
    return Found(votes=len(chosen), reasons=dict(reasons.most_common()))


def _verdict(count: int) -> Verdict:
    return "told" if count >= LEAST else "cannot tell yet"
