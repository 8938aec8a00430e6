"""From votes to comparisons: pairs, rankings, ratings, and how much each voter counts for."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from cogrpo.ballots import Comparison, comparisons, weights

A, B, C, D = ("a" * 64, "b" * 64, "c" * 64, "d" * 64)


@dataclass
class Cast:
    id: int
    kind: str
    shown: tuple[str, ...]
    voter: int = 1
    prompt: str = "a dog"
    outcome: str | None = None
    ranking: tuple[int, ...] | None = None
    overall: int | None = None
    named: bool = True

    @property
    def pictures(self):
        return tuple((pixels, "file") for pixels in self.shown)


def rating(number: int, picture: str, overall: int | None, **told) -> Cast:
    return Cast(number, "rating", (picture,), overall=overall, **told)


@pytest.mark.parametrize("outcome", ["left", "right", "tie", "bad"])
def test_a_pair_is_one_comparison(outcome):
    (one,) = comparisons([Cast(7, "pair", (A, B), voter=3, outcome=outcome)])
    assert (one.left, one.right, one.outcome, one.weight, one.voter, one.vote) == (A, B, outcome, 1, 3, 7)


def test_a_ranking_is_all_its_pairs_and_each_picture_counts_once():
    told = comparisons([Cast(1, "ranking", (A, B, C, D), ranking=(2, 0, 3, 1))])
    assert [(one.left, one.right) for one in told] == [(C, A), (C, D), (C, B), (A, D), (A, B), (D, B)]
    assert {one.outcome for one in told} == {"left"} and {one.weight for one in told} == {1 / 3}
    for picture in (A, B, C, D):
        assert sum(one.weight for one in told if picture in (one.left, one.right)) == pytest.approx(1)


def test_two_ratings_that_differ_by_two_are_a_pair():
    told = comparisons([rating(1, A, 3), rating(2, B, 4), rating(3, C, 5)])
    assert [(one.left, one.right, one.outcome, one.vote) for one in told] == [(A, C, "right", 3)]
    (one,) = comparisons([rating(1, A, 7), rating(2, B, 5)])
    assert one.outcome == "left"


def test_ratings_of_other_voters_prompts_or_the_same_picture_are_no_pair():
    assert comparisons([rating(1, A, 1), rating(2, B, 7, voter=2)]) == []
    assert comparisons([rating(1, A, 1), rating(2, B, 7, prompt="a cat")]) == []
    assert comparisons([rating(1, A, 1), rating(2, A, 7)]) == []
    assert comparisons([rating(1, A, None), rating(2, B, 7)]) == []


def test_all_who_gave_no_name_count_as_one_voter():
    unnamed = [Cast(vote, "pair", (A, B), voter=vote, outcome="left", named=False) for vote in range(10, 110)]
    named = [
        Cast(vote, "pair", (A, B), voter=voter, outcome="right") for voter in (1, 2) for vote in range(4)
    ]
    told = weights(comparisons([*unnamed, *named]))
    assert sum(told[:100]) == pytest.approx(4 * 5) and told[100:] == [1.0] * 8


def test_ratings_of_two_who_gave_no_name_are_no_pair():
    assert comparisons([rating(1, A, 1, named=False), rating(2, B, 7, voter=2, named=False)]) == []


def said(voter: int, times: int) -> list[Comparison]:
    return [
        Comparison(prompt="a dog", left=A, right=B, outcome="left", voter=voter, vote=vote)
        for vote in range(times)
    ]


def test_a_lone_voter_counts_in_full():
    assert weights(said(1, 40)) == [1.0] * 40 and weights([]) == []


def test_who_votes_a_hundred_times_as_often_counts_as_ten():
    told = weights([*said(1, 4), *said(2, 4), *said(3, 400)])
    assert told[:8] == [1.0] * 8 and sum(told[8:]) == pytest.approx(4 * 10)
