"""What the Leaderboard tab says, as HTML."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from cogrpo.contests import USES
from cogrpo.leaderboard import CONFIDENCE, LEAST_GAMES, Board, Gap, Standing, Tally
from cogrpo.schedules import LEARNED
from ui.quality_text import panel, percent
from ui.standings import Figures

CHAMPION = "champion"
UNKNOWN = "cannot tell yet"

HOW_TO_READ = (
    "<p><b>Strength</b> comes from blind pairs alone: which of two pictures is better, before anybody knows how they "
    "were made. 0 is the mean of those listed; whoever is 1 stronger wins 73 of 100 decided pairs. A tie and 'both "
    f"bad' count as a tie. The line across a bar is the {percent(CONFIDENCE)} interval.</p>"
)

USED = dict(
    zip(
        USES,
        (
            "by somebody whose data was erased",
            "ratings that a later one replaced",
            "ratings of one picture: they compare nothing",
            "orders of four pictures: no pairs",
            "rejected",
            "suspicious, until somebody has looked at them",
            "pairs with a known answer: they test the voter",
            "second looks at a mirrored pair: they test the voter",
            "pairs of another model",
            "compare two checkpoints",
            "compare two schedules",
            "both sides made alike, but for the seed",
            "sides that differ in several things",
        ),
        strict=True,
    )
)


def categories(figures: Figures) -> list[tuple[str, str]]:
    """(what the page says, category) of all that have a vote, `all` first."""
    found = dict.fromkeys([*figures.checkpoints, *figures.schedules])
    return [(f"{name} ({_games(figures, name)})", name) for name in found]


def unreadable(problem: str) -> str:
    return f'<p class="cg-warned" role="alert">! The votes cannot be read now. {escape(problem)}</p>'


def page(figures: Figures, category: str) -> str:
    """Both boards of a category, and what all votes are worth."""
    empty = Board(
        verdict=UNKNOWN, games=0, voters=0, prompts=0, resampled="prompts", standings=(), few=(), players=(),
        pairs=(), wins=(),
    )  # fmt: skip
    parts = (
        _board("checkpoint", figures.checkpoints.get(category, empty), figures.names),
        _board("schedule", figures.schedules.get(category, empty), figures.names),
    )
    return (
        f'<div class="cg-boards"><div>{"".join(parts)}</div>'
        f"<div>{panel(figures.quality)}{_uses(figures)}</div></div>"
    )


def _board(kind: str, board: Board, names: dict[str, str]) -> str:
    title = f'<header><h3>{kind.capitalize()}s</h3><p class="cg-quiet">{_basis(board)}</p></header>'
    told = [title]
    if board.standings:
        told.append(_standings(kind, board.standings, names))
    else:
        told.append(f'<p class="cg-unknown"><b>Cannot tell yet.</b> {_missing(kind, board)}</p>')
    if board.few:
        told.append(_few(board.few, bool(board.standings), names))
    if board.players:
        told.append(_matrix(kind, board, names))
    return f'<section class="cg-card" data-board="{kind}">{"".join(told)}</section>'


def _basis(board: Board) -> str:
    if not board.games:
        return ""
    counted = (
        f"{_count(board.games, 'pair')}, {_count(board.voters, 'voter')}, {_count(board.prompts, 'prompt')}"
    )
    if not board.standings:
        return counted
    if board.resampled == "voters":
        return f"{counted}; intervals: other voters"
    return f"{counted}; intervals: other prompts, the taste of these {_count(board.voters, 'voter')}"


def _missing(kind: str, board: Board) -> str:
    if not board.games:
        return f"No vote compares two {kind}s here. The Vote tab has pairs to vote on."
    return f"Two {kind}s with {LEAST_GAMES} pairs each are needed."


def _standings(kind: str, standings: Sequence[Standing], names: dict[str, str]) -> str:
    reach = max(0.5, *(max(-row.low, row.high) for row in standings))
    rows = "".join(_standing(rank, row, reach, names) for rank, row in enumerate(standings, 1))
    axis = f'<span class="cg-axis"><i>{_signed(-reach, 1)}</i><i>0</i><i>{_signed(reach, 1)}</i></span>'
    heads = (
        kind.capitalize(),
        axis,
        "Strength",
        "Pairs",
        "Won, a tie counts half",
        "Against the next one",
    )
    header = "".join(f'<th scope="col">{name}</th>' for name in heads)
    return (
        f'<table class="cg-standings"><thead><tr><td></td>{header}</tr></thead><tbody>{rows}</tbody></table>'
    )


def _standing(rank: int, row: Standing, reach: float, names: dict[str, str]) -> str:
    ours = ' class="cg-ours"' if _is_ours(row.player, names) else ""
    return (
        f'<tr{ours}><td>{rank}</td><th scope="row">{_name(row.player, names)}</th><td>{_bar(row, reach)}</td>'
        f"<td><b>{_signed(row.strength)}</b> {_span(row.low, row.high)}</td><td>{row.games}</td>"
        f"<td>{percent(row.win_rate)}: {_record(row)}</td><td>{_gap(row.above_next)}</td></tr>"
    )


def _bar(row: Standing, reach: float) -> str:
    """From 0 to the strength, with the interval across it; places are percent of the cell's width."""

    def at(value: float) -> float:
        return round(50 + 48 * value / reach, 2)

    begin, end, low, high = at(min(0, row.strength)), at(max(0, row.strength)), at(row.low), at(row.high)
    caps = "".join(f'<line x1="{x}%" x2="{x}%" y1="5" y2="15"/>' for x in (low, high))
    return (
        '<svg class="cg-bar" height="20" aria-hidden="true"><line class="cg-zero" x1="50%" x2="50%" y1="0" y2="20"/>'
        f'<rect x="{begin}%" width="{round(end - begin, 2)}%" y="4" height="12"/>'
        f'<line x1="{low}%" x2="{high}%" y1="10" y2="10"/>{caps}</svg>'
    )


def _gap(gap: Gap | None) -> str:
    if gap is None:
        return '<span class="cg-quiet">the last one</span>'
    if gap.verdict == "unlinked":
        return f"? {UNKNOWN}: no chain of pairs links the two"
    by = f"{_signed(gap.difference)} {_span(gap.low, gap.high)}"
    if gap.verdict == "stronger":
        return f'<b class="cg-good">▲ stronger</b> {by}'
    return f"<b>≈ not distinguishable</b> {by}"


def _few(few: Sequence[Tally], apart: bool, names: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{_name(row.player, names)}</th><td>{_count(row.games, "pair")}</td>'
        f"<td>{_record(row)}</td></tr>"
        for row in few
    )
    why = f"<h4>Cannot tell yet: fewer than {LEAST_GAMES} pairs</h4>" if apart else "<h4>So far</h4>"
    return f"{why}<table><tbody>{rows}</tbody></table>"


def _matrix(kind: str, board: Board, names: dict[str, str]) -> str:
    """Columns go by the number of their row, so that the table stays narrow."""
    numbers = range(len(board.players))
    columns = "".join(f'<th scope="col">{number + 1}</th>' for number in numbers)
    rows = ""
    for row, player in enumerate(board.players):
        cells = "".join(
            _met(row == other, board.pairs[row][other], board.wins[row][other]) for other in numbers
        )
        rows += f'<tr><th scope="row">{row + 1}\u2002{_name(player, names)}</th>{cells}</tr>'
    return (
        "<h4>Who met whom: pairs of the row with the column, and how many of them the row won</h4>"
        f'<div class="cg-table" tabindex="0" role="region" aria-label="Pairs of two {kind}s"><table class="cg-matrix">'
        f"<thead><tr><td></td>{columns}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _met(itself: bool, pairs: int, won: int) -> str:
    if itself:
        return '<td class="cg-quiet">·</td>'
    return f"<td><b>{pairs}</b> <small>{won} won</small></td>" if pairs else '<td class="cg-quiet">0</td>'


def _uses(figures: Figures) -> str:
    rows = "".join(
        f"<tr><td>{count}</td><td>{USED[use]}</td></tr>" for use, count in figures.uses.items() if count
    )
    body = (
        f"<table><tbody>{rows}</tbody></table>"
        if rows
        else '<p class="cg-unknown">There are no votes yet.</p>'
    )
    return (
        f'<section class="cg-card" data-board="uses"><header><h3>What each vote is used for</h3>'
        f'<p class="cg-quiet">{_count(figures.votes, "vote")} in all</p></header>{body}</section>'
    )


def _games(figures: Figures, category: str) -> str:
    found = [board[category].games for board in (figures.checkpoints, figures.schedules) if category in board]
    return _count(sum(found), "pair")


def _is_ours(player: str, names: dict[str, str]) -> bool:
    return player.startswith(LEARNED) or CHAMPION in names.get(player, "")


def _name(player: str, names: dict[str, str]) -> str:
    """A checkpoint by what it is called and its hash, a learned schedule by its checkpoint, others by their name."""
    if player in names:
        return f"{escape(names[player])} <code>{player}</code>"
    learned, by, sha256 = player.partition(" by ")
    if by and learned == LEARNED:
        return f"{LEARNED} by {escape(names.get(sha256, ''))} <code>{escape(sha256)}</code>"
    return escape(player)


def _record(row: Tally) -> str:
    ties = "tie" if row.ties == 1 else "ties"
    return f"{row.wins} won, {row.losses} lost, {row.ties} {ties}"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


def _signed(value: float, digits: int = 2) -> str:
    """With a true minus."""
    return f"{value:+.{digits}f}".replace("-", "−")


def _span(low: float, high: float) -> str:
    return f'<span class="cg-quiet cg-span">[{_signed(low)}, {_signed(high)}]</span>'
