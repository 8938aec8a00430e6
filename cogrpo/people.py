"""What people say of a candidate, and how that fits what the models say: pure arithmetic for the gate.

Win rate: blind pairs of candidate and champion, a tie and 'both bad' count half. Its interval is Wilson's (1927), which
holds for few votes; halves spread less than wins and losses, so it is wide enough for them, too. It takes votes as
independent.

Hack meter: how much more the model rewards rose than people's opinion did, both in standard deviations of one picture.
Of the rewards that is (candidate - champion) / (standard deviation of the champion's pictures), averaged over rewards;
of people, sqrt(2) probit(win rate), which is the same distance if quality is Gaussian (Thurstone 1927, case V).

Taste: which way held-out votes, which the candidate was not trained on, lean in a measure that a guard watches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import NormalDist
from typing import Annotated, Literal, NamedTuple

import numpy as np
from pydantic import Field, NonNegativeFloat

from cogrpo.config import Config

Choice = Literal["candidate", "champion", "tie", "bad"]
POINTS: dict[str, float] = {"candidate": 1.0, "champion": 0.0, "tie": 0.5, "bad": 0.5}
NORMAL = NormalDist()


class PeopleConfig(Config):
    required_from: Annotated[int, Field(ge=1)] = 50  # votes; below that the row is told and decides nothing
    may_fall: NonNegativeFloat = 0.1  # the interval's lower end must lie at .5 minus this or above
    least_held_out: Annotated[int, Field(ge=2)] = 20  # prompts from which a taste is told


class GateVote(NamedTuple):
    prompt: str
    choice: Choice


class People(Config):
    """The row 'people, candidate against champion'."""

    votes: int
    win_rate: float
    low: float
    high: float
    required: bool
    outcome: Literal["pass", "fail", "unclear"]

    @property
    def refuses(self) -> bool:
        """Whether it stops a promotion."""
        return self.required and self.outcome != "pass"

    def __str__(self) -> str:
        span = f"{self.win_rate:.2f} [{self.low:.2f}, {self.high:.2f}]"
        return f"people: the candidate's win rate in {self.votes} pairs is {span} ({self.outcome})."


class HackMeter(Config):
    """In standard deviations; above 0 the models like the candidate better than people do."""

    rewards: float
    people: float
    gap: float
    low: float
    high: float


class Taste(Config):
    """Mean of a measure in preferred pictures minus that in the others, and its interval."""

    measure: str
    prompts: int
    difference: float
    low: float
    high: float

    @property
    def direction(self) -> int:
        """1 or -1 where people surely prefer more or less of it, else 0."""
        return int(self.low > 0) - int(self.high < 0)


def people(votes: Sequence[GateVote], confidence: float, config: PeopleConfig) -> People | None:
    """The row of these votes, or None where there are none."""
    if not votes:
        return None
    count, rate = len(votes), float(np.mean([POINTS[vote.choice] for vote in votes]))
    low, high = wilson(rate, count, confidence)
    floor = 0.5 - config.may_fall
    outcome = "pass" if low >= floor else "fail" if high < floor else "unclear"
    required = count >= config.required_from
    return People(votes=count, win_rate=rate, low=low, high=high, required=required, outcome=outcome)


def wilson(rate: float, count: int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share."""
    z2 = NORMAL.inv_cdf((1 + confidence) / 2) ** 2
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    half = np.sqrt(z2 * (rate * (1 - rate) / count + z2 / (4 * count**2))) / (1 + z2 / count)
    return max(0.0, float(middle - half)), min(1.0, float(middle + half))


def hack_meter(
    changes: np.ndarray, votes: Sequence[GateVote], confidence: float, resamples: int, seed: int
) -> HackMeter | None:
    """changes: of the rewards, in standard deviations, for each prompt of the gate [P]. None without votes.

    The interval is a bootstrap over prompts on the one side, over votes on the other.
    """
    if not votes:
        return None
    points, rng = np.array([POINTS[vote.choice] for vote in votes]), np.random.default_rng(seed)
    rewards, opinion = float(changes.mean()), float(distance(points.mean(), len(points)))
    drawn = changes[rng.integers(len(changes), size=(resamples, len(changes)))].mean(axis=1)
    asked = points[rng.integers(len(points), size=(resamples, len(points)))].mean(axis=1)
    tail = 50 * (1 - confidence)
    low, high = np.percentile(drawn - distance(asked, len(points)), [tail, 100 - tail])
    return HackMeter(rewards=rewards, people=opinion, gap=rewards - opinion, low=float(low), high=float(high))


def distance(rate: np.ndarray | float, count: int) -> np.ndarray:
    """Win rates of `count` votes in standard deviations; half a vote off 0 and 1, where it would be infinite."""
    inside = np.clip(rate, 0.5 / count, 1 - 0.5 / count)
    return np.sqrt(2) * np.vectorize(NORMAL.inv_cdf)(inside)


def taste(
    measure: str, differences: Mapping[str, Sequence[float]], confidence: float, resamples: int, seed: int
) -> Taste:
    """differences: of each prompt, the measure in the preferred picture minus that in the other, vote by vote.

    The interval is a bootstrap over prompts.
    """
    means = np.array([np.mean(told) for told in differences.values()])
    picked = np.random.default_rng(seed).integers(len(means), size=(resamples, len(means)))
    tail = 50 * (1 - confidence)
    low, high = np.percentile(means[picked].mean(axis=1), [tail, 100 - tail])
    return Taste(
        measure=measure, prompts=len(means), difference=float(means.mean()), low=float(low), high=float(high)
    )
