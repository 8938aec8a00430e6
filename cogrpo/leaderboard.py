"""How good players are, by blind pairs: strengths with their intervals, and what cannot be told yet. Pure arithmetic.

A player is a feature of its own in Bradley and Terry's model with Davidson's ties (`cogrpo.bradley_terry`), so a
strength is in log-odds: of two players that differ by 1, the better one wins 73 of 100 decided games. The prior of a
strength is Gaussian, with mean 0 and a deviation of two units, so that who won all games is not infinitely strong.

An interval is the wider of two at either end: a bootstrap's over whole voters (of few voters: whole prompts), and the
Gaussian's around the fit (Laplace). The first knows that votes of one voter are alike; the second knows that ten games
won of ten prove little, where every resample has ten of ten, too.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Literal, NamedTuple

import numpy as np
from scipy.sparse.csgraph import connected_components
from threadpoolctl import threadpool_limits

from cogrpo.bradley_terry import LEFT, RIGHT, TIE, Comparisons, fit, refits
from cogrpo.config import Config

LEAST_GAMES = 20  # below that a player is listed apart
LEAST_VOTERS = 10  # of fewer a resample says nothing about people in general
CONFIDENCE, RESAMPLES, SEED = 0.95, 1000, 0
DEVIATION = 2.0  # of a strength's prior
SIGNS = {"left": LEFT, "right": RIGHT, "tie": TIE, "bad": TIE}  # both are bad: neither is better
ALL = "all"

Outcome = Literal["left", "right", "tie", "bad"]


class Game(NamedTuple):
    """One vote on a pair. left, right: two different players; category: of the prompt."""

    left: str
    right: str
    outcome: Outcome
    voter: int
    prompt: str
    category: str


class Tally(Config):
    """What came of a player's games."""

    player: str
    games: int
    wins: int
    losses: int
    ties: int

    @property
    def win_rate(self) -> float:
        """A tie counts half."""
        return (self.wins + self.ties / 2) / self.games


class Gap(Config):
    """By how much a player is stronger than the next one. unlinked: no chain of games leads from one to the other."""

    difference: float
    low: float
    high: float
    verdict: Literal["stronger", "not distinguishable", "unlinked"]


class Standing(Tally):
    """strength: 0 is the mean of those that are listed; above_next: None for the last one."""

    strength: float
    low: float
    high: float
    above_next: Gap | None


class Board(Config):
    """Players by strength. pairs, wins: games of the row's player with the column's, and how many the row's won."""

    verdict: Literal["told", "cannot tell yet"]  # with fewer than two players that have games enough
    games: int
    voters: int
    prompts: int
    resampled: Literal["voters", "prompts"]
    least_games: int = LEAST_GAMES
    standings: tuple[Standing, ...]
    few: tuple[Tally, ...]  # players with too few games
    players: tuple[str, ...]  # of the matrices' rows and columns: as listed, then those with few games
    pairs: tuple[tuple[int, ...], ...]
    wins: tuple[tuple[int, ...], ...]


def boards(games: Sequence[Game]) -> dict[str, Board]:
    """The board of all games, under `all`, and that of each category of prompts."""
    parts: dict[str, list[Game]] = defaultdict(list)
    for game in games:
        parts[game.category].append(game)
    return {ALL: board(games)} | {category: board(parts[category]) for category in sorted(parts)}


def board(games: Sequence[Game]) -> Board:
    """Every player of some games. The same games in the same order give the same board."""
    names = sorted({player for game in games for player in (game.left, game.right)})
    place = {name: index for index, name in enumerate(names)}
    pairs, wins = np.zeros((2, len(names), len(names)), dtype=int)
    for game in games:
        left, right = place[game.left], place[game.right]
        pairs[left, right] += 1
        pairs[right, left] += 1
        wins[left, right] += game.outcome == "left"
        wins[right, left] += game.outcome == "right"
    tallies = [_tally(name, pairs[index], wins[index], wins[:, index]) for name, index in place.items()]
    listed = [index for index, tally in enumerate(tallies) if tally.games >= LEAST_GAMES]
    voters, prompts = {game.voter for game in games}, {game.prompt for game in games}
    by_voter = len(voters) >= LEAST_VOTERS
    standings = []
    if len(listed) > 1:
        unit = _voter if by_voter else _prompt
        with threadpool_limits(1):  # many small products: threads would wait for each other
            standings = _standings(games, place, [tallies[index] for index in listed], listed, pairs, unit)
    few = sorted((t for t in tallies if t.games < LEAST_GAMES or not standings), key=_most_games)
    order = [place[tally.player] for tally in (*standings, *few)]
    return Board(
        verdict="told" if standings else "cannot tell yet",
        games=len(games),
        voters=len(voters),
        prompts=len(prompts),
        resampled="voters" if by_voter else "prompts",
        standings=tuple(standings),
        few=tuple(few),
        players=tuple(names[index] for index in order),
        pairs=tuple(map(tuple, pairs[np.ix_(order, order)].tolist())),
        wins=tuple(map(tuple, wins[np.ix_(order, order)].tolist())),
    )


def _standings(
    games: Sequence[Game],
    place: dict[str, int],
    tallies: Sequence[Tally],
    listed: list[int],
    pairs: np.ndarray,
    unit: Callable[[Game], int | str],
) -> list[Standing]:
    """listed: the places of the players of `tallies`; unit: what is never split in a resample."""
    data, counted = _compared(games, place, unit)
    precision = np.full(len(place), DEVIATION**-2)
    found = fit(data, precision)
    units = len(counted)
    drawn = np.random.default_rng(SEED).multinomial(units, np.full(units, 1 / units), RESAMPLES)
    resampled = refits(data, precision, drawn @ counted, found)[:, listed]
    resampled -= resampled.mean(axis=1, keepdims=True)
    centred = np.eye(len(listed)) - 1 / len(listed)
    strengths = centred @ found.w[listed]
    covariance = centred @ found.covariance[np.ix_(listed, listed)] @ centred
    _, component = connected_components(pairs, directed=False)
    order = sorted(range(len(listed)), key=lambda index: (-strengths[index], tallies[index].player))
    told = []
    for rank, index in enumerate(order):
        low, high = _interval(strengths[index], resampled[:, index], covariance[index, index])
        gap = None
        if rank + 1 < len(order):
            below = order[rank + 1]
            difference = strengths[index] - strengths[below]
            variance = covariance[index, index] + covariance[below, below] - 2 * covariance[index, below]
            ends = _interval(difference, resampled[:, index] - resampled[:, below], variance)
            linked = component[listed[index]] == component[listed[below]]
            gap = Gap(difference=difference, low=ends[0], high=ends[1], verdict=_verdict(linked, ends[0]))
        told.append(
            Standing(
                **tallies[index].model_dump(), strength=strengths[index], low=low, high=high, above_next=gap
            )
        )
    return told


def _compared(
    games: Sequence[Game], place: dict[str, int], unit: Callable[[Game], int | str]
) -> tuple[Comparisons, np.ndarray]:
    """Games that are alike as one comparison of that weight, and how many of each every unit holds [units, N]."""
    keys = []
    for game in games:
        left, right, sign = place[game.left], place[game.right], SIGNS[game.outcome]
        keys.append((left, right, sign) if left < right else (right, left, -sign))
    alike, which = np.unique(np.array(keys), axis=0, return_inverse=True)
    units: dict[int | str, int] = {}
    of = [units.setdefault(unit(game), len(units)) for game in games]
    counted = np.zeros((len(units), len(alike)))
    np.add.at(counted, (of, which), 1)
    features = np.eye(len(place))
    difference = features[alike[:, 0]] - features[alike[:, 1]]
    return Comparisons(difference, alike[:, 2], counted.sum(axis=0), np.arange(len(alike))), counted


def _interval(value: float, resampled: np.ndarray, variance: float) -> tuple[float, float]:
    tail = 50 * (1 - CONFIDENCE)
    low, high = np.percentile(resampled, [tail, 100 - tail])
    half = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * variance**0.5
    return float(min(low, value - half)), float(max(high, value + half))


def _verdict(linked: bool, low: float) -> str:
    if not linked:
        return "unlinked"
    return "stronger" if low > 0 else "not distinguishable"


def _tally(player: str, pairs: np.ndarray, won: np.ndarray, lost: np.ndarray) -> Tally:
    games, wins, losses = int(pairs.sum()), int(won.sum()), int(lost.sum())
    return Tally(player=player, games=games, wins=wins, losses=losses, ties=games - wins - losses)


def _most_games(tally: Tally) -> tuple[int, str]:
    return -tally.games, tally.player


def _voter(game: Game) -> int:
    return game.voter


def _prompt(game: Game) -> str:
    return game.prompt
