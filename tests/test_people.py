"""What people say of a candidate, with made-up votes: win rate, hack meter, and what they asked for."""

from __future__ import annotations

import numpy as np
import pytest
from test_gate import BETTER, CONFIG, table

from cogrpo.gate import verdict
from cogrpo.gate_page import page
from cogrpo.people import GateVote, PeopleConfig, Taste, distance, hack_meter, people, taste, wilson

CONFIDENCE = 0.95


def cast(candidate: int = 0, champion: int = 0, tie: int = 0, bad: int = 0) -> list[GateVote]:
    told = {"candidate": candidate, "champion": champion, "tie": tie, "bad": bad}
    return [GateVote(f"prompt {n}", choice) for choice, often in told.items() for n in range(often)]


def row(**told: int):
    return people(cast(**told), CONFIDENCE, PeopleConfig())


def test_ties_and_both_bad_count_half():
    assert row(candidate=3, champion=1, tie=2, bad=2).win_rate == (3 + 1 + 1) / 8
    assert people([], CONFIDENCE, PeopleConfig()) is None


def test_the_interval_is_wilsons():
    # Newcombe 1998, table I: 81 of 263 and 15 of 148; 0 of 20 has no interval but Wilson's kind.
    assert wilson(81 / 263, 263, CONFIDENCE) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15 / 148, 148, CONFIDENCE) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20, CONFIDENCE) == pytest.approx((0.0, 0.1611), abs=1e-4)


@pytest.mark.parametrize(
    ("told", "required", "outcome"),
    [
        ({"candidate": 49}, False, "pass"),
        ({"champion": 49}, False, "fail"),
        ({"candidate": 50}, True, "pass"),
        ({"candidate": 25, "champion": 25}, True, "unclear"),
        ({"candidate": 100, "champion": 100}, True, "pass"),
        ({"candidate": 10, "champion": 90}, True, "fail"),
    ],
    ids=str,
)
def test_people_are_heard_from_fifty_on(told, required, outcome):
    found = row(**told)
    assert (found.required, found.outcome) == (required, outcome)


def test_the_hack_meter_is_the_gap_between_models_and_people():
    changes = np.full(60, 0.7)
    agree = hack_meter(changes, cast(candidate=69, champion=31), CONFIDENCE, 2000, 0)
    assert agree.people == pytest.approx(0.7, abs=0.01), "sqrt(2) probit(.69)"
    assert agree.gap == pytest.approx(0, abs=0.01) and agree.low < 0 < agree.high
    hacked = hack_meter(changes, cast(candidate=40, champion=60), CONFIDENCE, 2000, 0)
    assert hacked.gap == pytest.approx(0.7 + 0.358, abs=0.01) and hacked.low > 0
    assert hack_meter(changes, [], CONFIDENCE, 2000, 0) is None


def test_a_win_rate_of_nothing_or_all_stays_finite():
    low, middle, high = distance(np.array([0.0, 0.5, 1.0]), 10)
    assert middle == 0 and low == pytest.approx(-high) and np.isfinite(high)


def test_a_taste_is_told_by_prompts_not_by_votes():
    sure = taste("brightness", {f"p{n}": [0.1, 0.3] for n in range(20)}, CONFIDENCE, 1000, 0)
    assert (sure.direction, sure.prompts, sure.difference) == (1, 20, pytest.approx(0.2))
    split = taste(
        "brightness", {"loud": [0.5] * 50} | {f"p{n}": [-0.1] for n in range(20)}, CONFIDENCE, 1000, 0
    )
    assert split.direction != 1, "fifty votes on one prompt are one prompt"
    assert (
        taste("brightness", {f"p{n}": [(-1.0) ** n] for n in range(20)}, CONFIDENCE, 1000, 0).direction == 0
    )


def leaning(measure: str, difference: float, sure: bool = True) -> Taste:
    half = abs(difference) / 2 if sure else 2 * abs(difference)
    return Taste(
        measure=measure, prompts=40, difference=difference, low=difference - half, high=difference + half
    )


def judge(brightness: float, votes=(), tastes=(), rewards=BETTER):
    """A candidate whose brightness moved."""
    return verdict(table("b", 1, {**rewards, "brightness": brightness}), table(), CONFIG, votes, tastes)


@pytest.mark.parametrize(
    ("moved", "lean", "held"),
    [
        (0.2, leaning("brightness", 0.1), True),
        (-0.2, leaning("brightness", -0.1), True),
        (0.2, leaning("brightness", -0.1), False),
        (0.2, leaning("brightness", 0.1, sure=False), False),
        (0.2, leaning("saturation", 0.1), False),
        (0.0, leaning("brightness", 0.1), False),
    ],
)
def test_a_guard_that_moved_where_people_want_it_holds_and_does_not_promote(moved, lean, held):
    found = judge(moved, tastes=[lean])
    assert found.held == held and found.passed == (moved == 0)
    assert any("people asked for this" in reason for reason in found.reasons) == held


def test_what_people_asked_for_excuses_no_other_failure():
    lean = leaning("brightness", 0.1)
    assert not judge(0.2, tastes=[lean], rewards={}).held
    assert judge(0.2, votes=cast(champion=49), tastes=[lean]).held
    assert not judge(0.2, votes=cast(champion=60), tastes=[lean]).held


def test_people_stop_a_candidate_that_the_models_like_from_fifty_votes_on():
    assert judge(0.0, cast(champion=49)).passed
    stopped = judge(0.0, cast(champion=50))
    assert not stopped.passed and not stopped.held
    assert stopped.reasons == ("people: the candidate's win rate in 50 pairs is 0.00 [0.00, 0.07] (fail).",)
    assert judge(0.0, cast(candidate=40, champion=20)).passed


def test_the_page_says_what_people_said():
    html = page(judge(0.2, cast(candidate=30, champion=10), [leaning("brightness", 0.1)]))
    for part in (
        "win rate is 0.75",
        "Hack meter",
        "people asked for this",
        "Held-out votes prefer more brightness",
    ):
        assert part in " ".join(html.split())
    assert "Nobody has seen" in page(judge(0.0))
