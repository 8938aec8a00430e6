"""The gate: two score tables to a verdict with intervals. Nothing is promoted without one.

Candidate and champion decode the same prompts with the same seeds, each under its own mean schedule. What is compared
is the difference within a prompt, and the interval is a bootstrap over prompts: pictures of one prompt are no
independent evidence. Shapes: P prompts, R draws a prompt, K numbers of steps.

A guard that moved in the direction which held-out votes prefer stops a promotion as any other does, but not for good:
where nothing else speaks against the candidate, a person decides (`Verdict.held`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal, NamedTuple, Self

import numpy as np
from pydantic import Field, NonNegativeFloat, model_validator

from cogrpo.config import CONFIGS, Config
from cogrpo.people import GateVote, HackMeter, People, PeopleConfig, Taste, hack_meter, people
from cogrpo.schedule import Schedule, ScheduleError

DEFAULT = CONFIGS / "gate.yaml"

MIX = "mix"
LEAST_SPREAD = (
    1e-3  # of a reward: what hardly differs between the champion's pictures is no measure of a change
)

Outcome = Literal["pass", "fail", "unclear"]
Values = tuple[tuple[float, ...], ...]


class GateError(ValueError):
    """Tables that cannot be compared; the message is one sentence."""


class Draw(NamedTuple):
    seed: int  # of the first prompt's picture
    steps: int


class ScoreTable(Config):
    """What one checkpoint did on the frozen prompts.

    scores: of each picture, name -> [P][R]; groups: of each prompt's pictures together, name -> [P][K], K in the order
    of `steps`. `kl` among the scores is the divergence from the champion, so a champion's own is 0. Raises
    pydantic.ValidationError where a shape is wrong or a number is not finite.
    """

    checkpoint: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    prompts: Annotated[tuple[str, ...], Field(min_length=1)]
    draws: Annotated[tuple[Draw, ...], Field(min_length=1)]  # the same for every prompt
    rewards: dict[str, float]  # those of `scores` that were in the mix -> weight
    scores: dict[str, Values]
    groups: dict[str, Values]
    schedules: dict[int, tuple[Values, ...]]  # steps -> every mean schedule [T][4] that was used

    @property
    def steps(self) -> tuple[int, ...]:
        return tuple(sorted({draw.steps for draw in self.draws}))

    def seed(self, prompt: int, draw: int) -> int:
        """The seed of a picture. No two prompts share one: they would share their noise, and their luck."""
        return self.draws[draw].seed + prompt * len(self.draws) // len(self.steps)

    def by_prompt(self, name: str, steps: int | None) -> np.ndarray:
        """Means of a measure over the draws of `steps` (None: over all), float64 [P]."""
        if name in self.scores:
            chosen = [steps in (None, draw.steps) for draw in self.draws]
            return np.array(self.scores[name])[:, chosen].mean(axis=1)
        chosen = [steps in (None, each) for each in self.steps]
        return np.array(self.groups[name])[:, chosen].mean(axis=1)

    @model_validator(mode="after")
    def _shapes(self) -> Self:
        for columns, table in ((len(self.draws), self.scores), (len(self.steps), self.groups)):
            for name, rows in table.items():
                if len(rows) != len(self.prompts) or any(len(row) != columns for row in rows):
                    raise ValueError(f"{name} must have {len(self.prompts)} rows of {columns} numbers")
        if missing := [name for name in self.rewards if name not in self.scores]:
            raise ValueError(f"the reward {missing[0]} has no scores")
        if set(self.schedules) != set(self.steps) or not all(self.schedules.values()):
            raise ValueError("schedules must have one table or more for each number of steps")
        return self


class Rule(Config):
    """What the interval of a difference (candidate - champion) must show, in the measure's own unit."""

    must_rise: NonNegativeFloat | None = None  # its lower end lies above this
    may_fall: NonNegativeFloat | None = None  # its lower end lies at minus this or above
    may_rise: NonNegativeFloat | None = None  # its upper end lies at this or below

    @model_validator(mode="after")
    def _some(self) -> Self:
        if not self.model_dump(exclude_none=True):
            raise ValueError("a rule needs must_rise, may_fall or may_rise")
        return self

    def judge(self, low: float, high: float) -> Outcome:
        """'unclear' where the interval neither satisfies the rule nor excludes that it holds."""
        held = []  # for each part of the rule: whether it surely holds, whether it surely does not
        if self.must_rise is not None:
            held.append((low > self.must_rise, high <= self.must_rise))
        if self.may_fall is not None:
            held.append((low >= -self.may_fall, high < -self.may_fall))
        if self.may_rise is not None:
            held.append((high <= self.may_rise, low > self.may_rise))
        if all(surely for surely, _ in held):
            return "pass"
        return "fail" if any(excluded for _, excluded in held) else "unclear"

    def __str__(self) -> str:
        said = [f"must rise by more than {self.must_rise:g}"] if self.must_rise else []
        said += ["must rise"] if self.must_rise == 0 else []
        if self.may_fall is not None and self.may_fall == self.may_rise:
            return ", ".join([*said, f"may change by {self.may_fall:g}"])
        said += [f"may fall by {self.may_fall:g}"] if self.may_fall is not None else []
        said += [f"may rise by {self.may_rise:g}"] if self.may_rise is not None else []
        return ", ".join(said)


class GateConfig(Config):
    confidence: Annotated[float, Field(gt=0.5, lt=1)]
    resamples: Annotated[int, Field(ge=100)]
    seed: int
    least_prompts: Annotated[int, Field(ge=2)]
    mix: Rule  # of all numbers of steps together, in standard deviations of the champion's pictures
    rewards: Rule  # each reward of the mix, over all numbers of steps together and at each
    measures: dict[str, Rule]  # at each number of steps
    people: PeopleConfig = PeopleConfig()


class Check(Config):
    name: str
    steps: int | None  # None: all numbers of steps together
    champion: float
    candidate: float
    difference: float
    low: float
    high: float
    rule: Rule
    outcome: Outcome
    asked: bool = False  # did not pass, but only because it moved where held-out votes want it


class Sanity(Config):
    """One look at the candidate's mean schedules for a number of steps."""

    steps: int
    outcome: Outcome
    told: str


class Verdict(Config):
    passed: bool
    candidate: str
    champion: str
    prompts: int
    draws: int
    confidence: float
    checks: tuple[Check, ...]
    schedules: tuple[Sanity, ...]
    people: People | None = None  # None where nobody was asked
    hack_meter: HackMeter | None = None
    tastes: tuple[Taste, ...] = ()

    @property
    def held(self) -> bool:
        """Whether all that speaks against the candidate is what people asked for, so that a person must decide."""
        against = [check for check in self.checks if check.outcome != "pass"]
        others = (
            self.passed or _refuses(self.people) or any(look.outcome != "pass" for look in self.schedules)
        )
        return not others and all(check.asked for check in against)

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why it did not pass, one sentence each."""
        checks = (
            f"{check.name}{_at(check.steps)}: {check.rule}, but the difference is {check.difference:+.4f} "
            f"[{check.low:+.4f}, {check.high:+.4f}] ({check.outcome}{'; people asked for this' * check.asked})."
            for check in self.checks
            if check.outcome != "pass"
        )
        asked = (str(self.people),) if _refuses(self.people) else ()
        return (*checks, *asked, *(look.told for look in self.schedules if look.outcome != "pass"))


def verdict(
    candidate: ScoreTable,
    champion: ScoreTable,
    config: GateConfig,
    votes: Sequence[GateVote] = (),
    tastes: Sequence[Taste] = (),
) -> Verdict:
    """Judge a candidate. Every check must pass; one that is unclear does not.

    votes: of people who saw both, blind; tastes: of held-out votes, in measures that have a rule.

    Raises GateError where the tables are not paired, are too small, or lack a measure that has a rule.
    """
    _check_paired(candidate, champion, config)
    steps = candidate.steps
    together = (None, *steps) if len(steps) > 1 else (None,)
    asked = [(name, T, config.rewards) for T in together for name in candidate.rewards]
    asked += [(name, T, rule) for name, rule in config.measures.items() for T in steps]
    wanted = {each.measure: each.direction for each in tastes}
    gain = _gain(candidate, champion)
    checks = (
        _held_against(MIX, None, config.mix, np.zeros_like(gain), gain, config),
        *(_asked(_check(*each, candidate, champion, config), wanted) for each in asked),
    )
    looks = tuple(_sanity(T, candidate.schedules[T]) for T in steps)
    row = people(votes, config.confidence, config.people)
    return Verdict(
        passed=all(each.outcome == "pass" for each in (*checks, *looks)) and not _refuses(row),
        candidate=candidate.checkpoint,
        champion=champion.checkpoint,
        prompts=len(candidate.prompts),
        draws=len(candidate.draws),
        confidence=config.confidence,
        checks=checks,
        schedules=looks,
        people=row,
        hack_meter=hack_meter(gain, votes, config.confidence, config.resamples, config.seed),
        tastes=tuple(tastes),
    )


def interval(differences: np.ndarray, config: GateConfig) -> tuple[float, float]:
    """Percentile bootstrap over prompts of the mean of [P]: the same resamples for every measure."""
    rng = np.random.default_rng(config.seed)
    picked = rng.integers(len(differences), size=(config.resamples, len(differences)))
    tail = 50 * (1 - config.confidence)
    low, high = np.percentile(differences[picked].mean(axis=1), [tail, 100 - tail])
    return float(low), float(high)


def _check(
    name: str,
    steps: int | None,
    rule: Rule,
    candidate: ScoreTable,
    champion: ScoreTable,
    config: GateConfig,
) -> Check:
    old, new = champion.by_prompt(name, steps), candidate.by_prompt(name, steps)
    return _held_against(name, steps, rule, old, new, config)


def _held_against(
    name: str, steps: int | None, rule: Rule, old: np.ndarray, new: np.ndarray, config: GateConfig
) -> Check:
    low, high = interval(new - old, config)
    return Check(
        name=name, steps=steps, champion=old.mean(), candidate=new.mean(), difference=(new - old).mean(),
        low=low, high=high, rule=rule, outcome=rule.judge(low, high),
    )  # fmt: skip


def _asked(check: Check, wanted: Mapping[str, int]) -> Check:
    """Marks a guard that left its rule on the one side to which held-out votes lean, and surely not on the other."""
    rule, direction = check.rule, wanted.get(check.name, 0)
    other, limit = (check.low, rule.may_fall) if direction > 0 else (-check.high, rule.may_rise)
    alone = rule.must_rise is None and (limit is None or other >= -limit)
    moved = direction * check.difference > 0
    return check.model_copy(update={"asked": check.outcome != "pass" and moved and alone})


def _refuses(row: People | None) -> bool:
    return row is not None and row.refuses


def _gain(candidate: ScoreTable, champion: ScoreTable) -> np.ndarray:
    """The change of the mix for each prompt [P]: the weighted mean of the rewards' changes, each in standard deviations
    of the champion's pictures, for each reward is normalised before it is mixed."""
    changes = [
        (candidate.by_prompt(name, None) - champion.by_prompt(name, None))
        / max(np.std(champion.scores[name]), LEAST_SPREAD)
        for name in candidate.rewards
    ]
    return np.average(changes, axis=0, weights=list(candidate.rewards.values()))


def _check_paired(candidate: ScoreTable, champion: ScoreTable, config: GateConfig) -> None:
    for field in ("prompts", "draws"):
        if getattr(candidate, field) != getattr(champion, field):
            raise GateError(f"{field}: candidate and champion must have the same, in the same order.")
    if len(candidate.prompts) < config.least_prompts:
        count = len(candidate.prompts)
        raise GateError(f"prompts: {count} are too few; allowed are {config.least_prompts} or more.")
    if not candidate.rewards:
        raise GateError("rewards: the candidate's table names none; at least one is needed.")
    for table, whose in ((candidate, "candidate"), (champion, "champion")):
        for name in (*candidate.rewards, *config.measures):
            if name not in table.scores and name not in table.groups:
                raise GateError(f"measures: {name!r} is missing in the table of the {whose}.")


def _sanity(steps: int, tables: Sequence[Values]) -> Sanity:
    """Every value lies inside its range. r may rise: the clamp then acts, and the measure `clamped` counts it."""
    for rows in tables:
        try:
            table = Schedule("candidate", np.array(rows)).table
        except ScheduleError as error:
            return Sanity(steps=steps, outcome="fail", told=f"Schedule{_at(steps)}: {error}")
        if len(table) != steps:
            told = f"Schedule{_at(steps)}: a table of {len(table)} rows is not allowed."
            return Sanity(steps=steps, outcome="fail", told=told)
    told = f"Schedule{_at(steps)}: every value is inside its range."
    return Sanity(steps=steps, outcome="pass", told=told)


def _at(steps: int | None) -> str:
    return "" if steps is None else f" at {steps} steps"
