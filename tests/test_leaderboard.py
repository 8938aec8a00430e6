"""The leaderboard: strengths that are known come out, what cannot be told is not told, and no vote is dropped."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest
from leaderboard_rows import filled, painted
from round_rows import champion, pair, sha, voter

from cogrpo import contests, krippendorff
from cogrpo.ballots import UNNAMED
from cogrpo.bradley_terry import Comparisons, fit, loss, refits
from cogrpo.leaderboard import LEAST_GAMES, LEAST_VOTERS, Game, board, boards
from cogrpo.vote_quality import LEAST, quality
from db import arena, rounds, standings, voters
from db.models import Generation, Vote, Voter
from db.session import Store

STRENGTHS = {"a": 1.2, "b": 0.5, "c": 0.0, "d": -0.4, "e": -1.3}  # their mean is 0
TIES = -0.5  # log-odds of a tie between equals


def simulated(
    count: int, seed: int = 0, voters: int = 40, strengths: dict[str, float] = STRENGTHS
) -> list[Game]:
    """Games between players of these strengths, as Davidson's model has them."""
    rng, names, games = np.random.default_rng(seed), sorted(strengths), []
    for number in range(count):
        left, right = rng.permutation(names)[:2]
        apart = (strengths[left] - strengths[right]) / 2
        odds = np.exp([apart, -apart, TIES])
        outcome = ("left", "right", ("tie", "bad")[number % 2])[
            np.searchsorted(odds.cumsum(), rng.random() * odds.sum())
        ]
        category = ("single", "two")[number % 2]
        games.append(Game(str(left), str(right), outcome, int(rng.integers(voters)), f"p{number}", category))
    return games


def games(outcomes: str, left: str = "a", right: str = "b", voters: int = 1) -> list[Game]:
    """One game a letter: l, r, t or b."""
    words = {"l": "left", "r": "right", "t": "tie", "b": "bad"}
    return [Game(left, right, words[o], n % voters, f"p{n}", "single") for n, o in enumerate(outcomes)]


def test_known_strengths_lie_within_their_intervals():
    covered = []
    for seed in range(6):
        told = board(simulated(600, seed))
        assert [row.player for row in told.standings][0] == "a" and told.standings[-1].player == "e"
        covered += [row.low <= STRENGTHS[row.player] <= row.high for row in told.standings]
    assert np.mean(covered) >= 0.92, "95 % intervals hold 95 % of the time"
    assert told.resampled == "voters" and told.verdict == "told"
    assert sum(row.strength for row in told.standings) == pytest.approx(0, abs=1e-9)


def test_neighbours_whose_difference_may_be_zero_are_not_distinguishable():
    told = board(simulated(600, strengths={"a": 1.0, "b": -0.5, "c": -0.5}))
    first, second, last = told.standings
    assert first.player == "a" and first.above_next.verdict == "stronger" and first.above_next.low > 0
    assert second.above_next.verdict == "not distinguishable"
    assert second.above_next.low <= 0 <= second.above_next.high
    assert last.above_next is None
    assert second.above_next.difference == pytest.approx(second.strength - last.strength)


def test_few_games_are_listed_apart_and_a_board_of_one_is_no_board():
    told = board(games("l" * (LEAST_GAMES - 1)))
    assert told.verdict == "cannot tell yet" and told.standings == ()
    assert [(row.player, row.games, row.wins, row.losses) for row in told.few] == [
        ("a", LEAST_GAMES - 1, LEAST_GAMES - 1, 0),
        ("b", LEAST_GAMES - 1, 0, LEAST_GAMES - 1),
    ]
    told = board([*games("lrt" * 10), *games("ll", right="c")])
    assert told.verdict == "told" and {row.player for row in told.standings} == {"a", "b"}
    assert [row.player for row in told.few] == ["c"] and told.few[0].games == 2
    told = board([*games("l" * 10), *games("r" * 10, right="c")])  # a alone has games enough
    assert told.verdict == "cannot tell yet" and [row.player for row in told.few] == ["a", "b", "c"]


def test_a_lucky_streak_is_no_certainty():
    """Every resample of games that were all won has them all won."""
    first, second = board(games("l" * LEAST_GAMES, voters=LEAST_VOTERS)).standings
    assert first.high - first.low > 1 and first.above_next.verdict == "stronger"
    assert first.strength < 5, "and who never lost is not infinitely strong"
    assert (second.wins, second.losses) == (0, LEAST_GAMES)


def test_ties_only_leave_both_equal():
    told = board(games("tb" * 30))
    assert [row.strength for row in told.standings] == pytest.approx([0, 0], abs=1e-6)
    assert told.standings[0].above_next.verdict == "not distinguishable"
    assert [row.ties for row in told.standings] == [60, 60] and told.standings[0].win_rate == 0.5
    assert told.wins == ((0, 0), (0, 0)) and told.pairs == ((0, 60), (60, 0))


def test_both_bad_is_a_tie():
    assert board(games("lrt" * 10)).standings == board(games("lrb" * 10)).standings


def test_the_sides_do_not_matter():
    flipped = {"left": "right", "right": "left", "tie": "tie", "bad": "bad"}
    one = simulated(200)
    other = [game._replace(left=game.right, right=game.left, outcome=flipped[game.outcome]) for game in one]
    for here, there in zip(board(one).standings, board(other).standings, strict=True):
        assert here.player == there.player and here.games == there.games
        assert (here.strength, here.low) == pytest.approx((there.strength, there.low), abs=1e-6)


def test_of_few_voters_prompts_are_resampled_and_of_many_whole_voters():
    assert board(games("lrt" * 20, voters=1)).resampled == "prompts"
    assert board(games("lrt" * 20, voters=LEAST_VOTERS)).resampled == "voters"
    # Ten voters who never agree with each other know less than 200 independent votes.
    split = [Game("a", "b", "left" if n % 10 < 6 else "right", n % 10, f"p{n}", "x") for n in range(200)]
    alone = [game._replace(voter=0) for game in split]
    width = [board(each).standings[0].above_next for each in (split, alone)]
    assert width[0].high - width[0].low > 1.5 * (width[1].high - width[1].low)
    assert width[0].verdict == "not distinguishable" and width[1].verdict == "stronger"


def test_players_that_no_chain_of_games_links_are_not_compared():
    told = board([*games("l" * 25), *games("ll" + "t" * 30, "c", "d")])
    assert [row.player for row in told.standings] == ["a", "c", "d", "b"]
    assert [row.above_next.verdict for row in told.standings[:-1]] == [
        "unlinked",
        "not distinguishable",
        "unlinked",
    ]
    linked = board([*games("l" * 25), *games("ll" + "t" * 30, "c", "d"), *games("t", "c", "b")])
    assert "unlinked" not in [row.above_next.verdict for row in linked.standings[:-1]]


def test_the_matrix_counts_every_game_once_and_categories_have_boards_of_their_own():
    told = boards(simulated(300))
    assert list(told) == ["all", "single", "two"]
    assert told["single"].games == told["two"].games == 150
    pairs, wins = np.array(told["all"].pairs), np.array(told["all"].wins)
    assert (pairs == pairs.T).all() and pairs.sum() == 600 and not pairs.diagonal().any()
    assert ((wins + wins.T) <= pairs).all()
    assert [pairs[n].sum() for n in range(5)] == [row.games for row in told["all"].standings]
    assert told["all"].players == tuple(row.player for row in told["all"].standings)
    assert boards(simulated(300)) == told, "the same votes give the same page"


def test_without_games_nothing_is_told():
    assert list(boards([])) == ["all"]
    told = board([])
    assert (told.verdict, told.games, told.players, told.few) == ("cannot tell yet", 0, (), ())


def test_a_refit_under_other_weights_is_the_fit_of_these():
    rng, precision = np.random.default_rng(0), np.full(3, 0.25)
    x, outcome = rng.integers(-1, 2, (30, 3)).astype(float), rng.integers(-1, 2, 30)
    data = Comparisons(x, outcome, np.ones(30), np.arange(30))
    weights = rng.integers(0, 4, (5, 30)).astype(float)
    weights[4, :20] = 0  # far from the start
    found = refits(data, precision, weights, fit(data, precision))
    for row, weight in zip(found, weights, strict=True):
        assert row == pytest.approx(fit(data._replace(weight=weight), precision).w, abs=1e-4)
    parameters = rng.normal(size=(5, 4))
    together = loss(parameters, data._replace(weight=weights), precision)
    for n in range(5):
        alone = loss(parameters[n], data._replace(weight=weights[n]), precision)
        for one, other in zip(together, alone, strict=True):
            assert one[n] == pytest.approx(other, rel=1e-12)


# Krippendorff (2011), section C: four observers, twelve units, values missing.
PUBLISHED = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)


def test_alpha_is_that_of_the_published_examples():
    rows = [line.split() for line in PUBLISHED]
    units = [[value for value in unit if value != "."] for unit in zip(*rows, strict=True)]
    counts = krippendorff.tallied(units)
    assert counts.shape == (11, 5) and counts.sum() == 40, "what one observer saw alone is left out"
    assert krippendorff.alpha(counts) == pytest.approx(0.743, abs=5e-4)
    two = zip("0100000010", "1110010000", strict=True)  # section A: two observers, ten units
    assert krippendorff.alpha(krippendorff.tallied([list(unit) for unit in two])) == pytest.approx(
        0.095, abs=5e-4
    )


def test_alpha_is_not_defined_where_all_say_the_same():
    assert np.isnan(krippendorff.alpha(krippendorff.tallied([["x", "x"]] * 9)))
    assert np.isnan(krippendorff.alpha(krippendorff.tallied([["x"], []])))
    assert krippendorff.alpha(krippendorff.tallied([["x", "x"], ["y", "y"]])) == 1


@dataclass(frozen=True)
class Side:
    checkpoint: str = "c" * 64
    schedule: str = "cosine"
    pixels: str = "left"
    model: str = "emoji"
    steps: int = 8
    guidance: str = "auto"


@dataclass(frozen=True)
class Cast:
    """A vote on a pair by somebody with a name, of which nothing bad is known."""

    outcome: str | None = "left"
    voter: int = 1
    sides: tuple[Side, ...] = (Side(), Side(pixels="right"))
    kind: str = "pair"
    purpose: str = "collect"
    named: bool = True
    erased: bool = False
    replaced: bool = False
    prompt: str = "a dog"
    validity: str = "unchecked"
    reason: str | None = None
    dwell_ms: int | None = None
    presentation: int | None = None
    mirror_of: int | None = None
    gold: str | None = None


OWN, BASE = Side(schedule="learned"), Side(checkpoint="b" * 64)


@pytest.mark.parametrize(
    ("changed", "use"),
    [
        ({"sides": (OWN, BASE)}, "checkpoints"),
        ({"sides": (OWN, Side())}, "schedules"),
        ({"sides": (OWN, OWN)}, "alike"),
        (
            {"sides": (Side(), BASE)},
            "mixed",
        ),  # weights that have a policy, under another schedule than their own
        ({"sides": (OWN, replace(BASE, schedule="linear"))}, "mixed"),
        ({"sides": (OWN, replace(BASE, steps=4))}, "mixed"),
        ({"sides": (OWN, replace(OWN, guidance="3.0"))}, "mixed"),
        ({"sides": (OWN, replace(BASE, model="amused"))}, "other model"),
        ({"sides": (OWN, BASE), "purpose": "gate", "validity": "valid"}, "checkpoints"),
        ({"purpose": "gold"}, "gold"),
        ({"purpose": "mirror"}, "mirror"),
        ({"validity": "suspicious"}, "suspicious"),
        ({"validity": "rejected", "purpose": "gold"}, "rejected"),
        ({"erased": True}, "erased"),
        ({"kind": "ranking", "sides": ()}, "ranking"),
        ({"kind": "rating", "sides": ()}, "rating"),
        ({"kind": "rating", "sides": (), "replaced": True}, "replaced"),
    ],
)
def test_every_vote_has_one_use(changed: dict, use: str):
    known = Cast(sides=(OWN, OWN))  # by which the checkpoint is known to have a policy
    assert contests.uses([known, Cast(**changed)], "emoji")[1] == use


def test_games_are_between_checkpoints_or_schedules_and_who_gave_no_name_is_one_voter():
    votes = [Cast("tie", 7, (OWN, BASE)), Cast("left", 8, (Side(schedule="sqrt"), OWN), named=False)]
    used = contests.uses(votes, "emoji")
    category = {"a dog": "single"}
    (between,) = contests.checkpoint_games(votes, used, category)
    assert between == Game("c" * 12, "b" * 12, "tie", 7, "a dog", "single")
    (between,) = contests.schedule_games(votes, used, {})
    assert between == Game("sqrt", f"learned by {'c' * 12}", "left", UNNAMED, "a dog", "other")
    told = contests.counted(used)
    assert list(told) == list(contests.USES) and sum(told.values()) == 2
    assert told["checkpoints"] == told["schedules"] == 1


def test_nothing_is_told_of_no_votes():
    told = quality([])
    assert told.gold.verdict == told.mirrored.verdict == told.agreement.verdict == "cannot tell yet"
    assert told.sides.verdict == "cannot tell yet" and told.sides.p is None and told.dwell.median is None
    assert told.agreement.alpha is None and told.gold.rate is None
    assert {found.votes for found in told.validity.values()} == {0}


def test_known_answers_and_second_looks():
    gold = [Cast("left", purpose="gold", gold=("left", "right")[n % 4 == 0]) for n in range(LEAST)]
    told = quality(gold).gold
    assert (told.right, told.asked, told.verdict) == (15, 20, "told") and told.low < 0.75 < told.high
    assert quality(gold[:-1]).gold.verdict == "cannot tell yet", "one fewer"
    assert quality([Cast("tie", purpose="gold", gold="left")]).gold.right == 0
    first = Cast("left", presentation=1)
    same = Cast("right", sides=first.sides[::-1], purpose="mirror", presentation=2, mirror_of=1)
    lost = replace(same, presentation=3, mirror_of=99)
    told = quality([first, same, replace(same, outcome="left"), replace(same, outcome="bad"), lost])
    assert (told.mirrored.right, told.mirrored.asked, told.mirror_waits) == (1, 3, 1)
    tie = quality([replace(first, outcome="tie"), replace(same, outcome="bad")]).mirrored
    assert (tie.right, tie.asked) == (1, 1), "neither is better, both times"


def test_agreement_is_of_voters_who_saw_the_same_pictures_on_whatever_side():
    def seen(number: int, voter: int, outcome: str, swapped: bool = False, **more) -> Cast:
        sides = (Side(pixels=f"{number}x"), Side(pixels=f"{number}y"))
        return Cast(outcome, voter, sides[::-1] if swapped else sides, prompt=f"p{number}", **more)

    votes = []
    for number in range(30):
        side = ("left", "right", "tie")[number % 3]
        other = {"left": "right", "right": "left", "tie": "bad"}[side]
        votes += [seen(number, 1, side), seen(number, 2, other, swapped=True)]
    told = quality(votes).agreement
    assert (told.alpha, told.low, told.high, told.pairs, told.votes, told.voters) == (1, 1, 1, 30, 60, 2)
    votes += [seen(number, 3, "right") for number in range(30)]
    told = quality(votes).agreement
    assert told.low < told.alpha < told.high < 1 and told.verdict == "told"
    again = [seen(number, 3, "left") for number in range(30)]  # the first answer of a voter counts
    checks = [seen(number, 4, "left", purpose="gold") for number in range(30)]
    unnamed = [seen(number, 5 + number + n, "left", named=False) for number in (40, 41) for n in range(9)]
    assert quality([*votes, *again, *checks, *unnamed]).agreement == told
    assert quality(votes[:38]).agreement.verdict == "cannot tell yet", "nineteen pairs"
    ties = quality([seen(n, who, "tie") for n in range(30) for who in (1, 2)]).agreement
    assert ties.alpha is None and ties.verdict == "cannot tell yet" and ties.pairs == 30


def test_a_side_that_is_preferred_is_said():
    even = [Cast("left")] * 12 + [Cast("right")] * 9 + [Cast("tie")] * 50
    told = quality(even).sides
    assert (told.left, told.right, told.verdict) == (12, 9, "no bias seen") and told.p == pytest.approx(
        0.664, abs=1e-3
    )
    told = quality([Cast("right")] * 16 + [Cast("left")] * 4).sides
    assert told.verdict == "right is preferred" and told.p == pytest.approx(0.0118, abs=1e-4)
    assert quality([Cast("left")] * 19).sides.verdict == "cannot tell yet"
    assert quality([Cast("left", validity="suspicious")] * 40).sides.verdict == "cannot tell yet"


def test_times_and_findings_are_of_all_votes():
    short = "dwell: 100 ms is less than 300"
    votes = [
        Cast(dwell_ms=100, validity="suspicious", reason=short),
        Cast(dwell_ms=200, validity="suspicious", reason=f"{short}; side: 10 outcomes in a row were left"),
        Cast(dwell_ms=3000, validity="valid"),
        Cast(dwell_ms=5000),
        Cast(),
        Cast(kind="rating", sides=()),
        Cast(validity="rejected", reason="a script"),
    ]
    told = quality(votes)
    assert (told.dwell.lower_quartile, told.dwell.median, told.dwell.upper_quartile) == (175, 1600, 3500)
    assert (told.dwell.votes, told.dwell.unknown) == (4, 2)
    found = {name: (each.votes, each.reasons) for name, each in told.validity.items()}
    assert found == {
        "valid": (1, {}), "unchecked": (3, {}), "suspicious": (2, {"dwell": 2, "side": 1}),
        "rejected": (1, {"a script": 1}),
    }  # fmt: skip


def test_the_store_tells_every_vote_with_both_sides(store: Store):
    new, old = filled(store)
    with store.read() as session:
        votes, names = standings.all_votes(session), standings.names(session, "emoji")
        assert len(votes) == session.query(Vote).count()
    assert names == {new: "champion", old: "baseline"}
    told = contests.counted(contests.uses(votes, "emoji"))
    assert told == {
        "erased": 0, "replaced": 0, "rating": 1, "ranking": 0, "rejected": 1, "suspicious": 1, "gold": 6, "mirror": 6,
        "other model": 0, "checkpoints": 76, "schedules": 136, "alike": 20, "mixed": 0,
    }  # fmt: skip
    first = votes[0]
    assert [(side.checkpoint, side.schedule) for side in first.sides] == [(old, "cosine"), (new, "learned")]
    assert (first.sides[0].model, first.sides[0].steps, first.sides[0].guidance) == ("emoji", 8, "auto")
    assert first.named and not first.erased and first.dwell_ms >= 400 and first.prompt
    worth = quality(votes)
    assert (worth.gold.right, worth.gold.asked) == (5, 6)
    assert (worth.mirrored.right, worth.mirrored.asked) == (4, 6)
    assert (worth.agreement.pairs, worth.agreement.votes) == (1, 6)
    assert worth.validity["suspicious"].reasons == {"dwell": 1}


def test_who_is_erased_or_gave_no_name_is_said_and_another_guidance_is_seen(store: Store):
    with store.write() as session:
        gone, nobody = session.get_one(Voter, voter(session)), voters.untold(session)
        for who in (gone.id, nobody.id):
            shown = [painted(session, store.artifacts, "a dog", sha("w"), "cosine") for _ in range(2)]
            pair(session, who, "a dog", *shown)
            session.get_one(Generation, shown[0]).recipe = {"guidance": 2.5}
        voters.erase(session, gone)
    with store.read() as session:
        first, second = standings.all_votes(session)
    assert (first.erased, first.named) == (True, True) and (second.erased, second.named) == (False, False)
    assert second.sides[0].guidance != second.sides[1].guidance == "auto"


def test_a_gold_pair_knows_its_better_side_from_its_seed(store: Store):
    with store.write() as session:
        who = session.get_one(Voter, voter(session))
        better, worse = (
            session.get_one(Generation, painted(session, store.artifacts, "a dog", sha(name), "cosine"))
            for name in ("better", "worse")
        )
        for seed in range(6):
            shown = arena.present(session, who, [better, worse], "gold", 1.0, seed=seed)
            arena.cast(session, shown.token, who, arena.Said(outcome="left"))
    with store.read() as session:
        votes = standings.all_votes(session)
    assert {vote.gold for vote in votes} == {"left", "right"}
    for vote in votes:
        side = vote.sides[("left", "right").index(vote.gold)]
        assert side.checkpoint == sha("better")


def test_weights_of_a_round_are_called_by_it_until_an_alias_points_at_them(store: Store):
    with store.write() as session:
        champion(session, sha256=sha("shipped"))
        number = rounds.begin(session, "emoji", "votes")
        claim = rounds.claim(session, "worker", timedelta(hours=1))
        rounds.freeze(session, number, claim.fence, {})
        rounds.advance(session, number, claim.fence, "frozen")
        rounds.found(session, number, claim.fence, sha("new"), "checkpoints/new")
    with store.read() as session:
        assert standings.names(session, "emoji") == {
            sha("shipped"): "baseline and champion",
            sha("new"): f"candidate in round {number}",
        }
        assert standings.names(session, "amused") == {} and standings.all_votes(session) == []
