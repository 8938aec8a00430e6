"""What the Leaderboard tab says of the votes themselves, as HTML."""

from __future__ import annotations

from html import escape

from cogrpo.vote_quality import LEAST, Agreement, Dwell, Found, Quality, Share, Sides

REASONS = {"dwell": "in sight for too short", "side": "many in a row on one side"}
WORDS = {
    "valid": "✓ valid",
    "unchecked": "unchecked: nobody has looked",
    "suspicious": "? suspicious: kept, not counted",
    "rejected": "✕ rejected: kept, not counted",
}
SIDES = {
    "no bias seen": "✓ no bias seen",
    "left is preferred": "! left is preferred more often than chance allows",
    "right is preferred": "! right is preferred more often than chance allows",
}


def panel(quality: Quality) -> str:
    """One row for each measure: what it is, what came out, and whether that tells anything yet."""
    waits = f"; {quality.mirror_waits} wait for their first look" if quality.mirror_waits else ""
    rows = (
        _row("Known answers", "gold pairs answered right; a tie is not right", *_share(quality.gold)),
        _row("Second look", f"same answer to the mirrored pair{waits}", *_share(quality.mirrored)),
        _row("Agreement", "Krippendorff's alpha, on pairs that several have seen", *_agreement(quality.agreement)),
        _row("Time to decide", "both pictures in sight", *_dwell(quality.dwell)),
        _row("Left or right", "exact binomial test of decided votes", *_sides(quality.sides)),
    )  # fmt: skip
    found = "".join(_found(name, told) for name, told in quality.validity.items())
    return (
        '<section class="cg-card" data-board="quality"><header><h3>What the votes are worth</h3></header>'
        f'<table class="cg-measures"><tbody>{"".join(rows)}</tbody></table><h4>What was found of them</h4>'
        f"<table><tbody>{found}</tbody></table></section>"
    )


def percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _row(name: str, about: str, figure: str, detail: str) -> str:
    return (
        f'<tr><th scope="row">{name}<small>{escape(about)}</small></th>'
        f"<td>{figure}<small>{detail}</small></td></tr>"
    )


def _share(told: Share) -> tuple[str, str]:
    if not told.asked:
        return _unknown(), "none yet"
    figure = _span(told.rate, told.low, told.high)
    return _judged(told.verdict, figure), f"{told.right} of {told.asked}{_needed(told.verdict)}"


def _agreement(told: Agreement) -> tuple[str, str]:
    if not told.pairs:
        return _unknown(), "no pair that two voters have seen"
    seen = f"{told.pairs} pair{'s' * (told.pairs != 1)}, {told.votes} votes, {told.voters} voters"
    if told.alpha is None:
        return _unknown(), f"{seen}; all said the same, so it is not defined"
    figure = (
        f"{told.alpha:.2f}" if told.low is None else f"{told.alpha:.2f} [{told.low:.2f}, {told.high:.2f}]"
    )
    figure = figure.replace("-", "−")
    return _judged(told.verdict, figure), f"{seen}{_needed(told.verdict)}"


def _dwell(told: Dwell) -> tuple[str, str]:
    if not told.votes:
        return _unknown(), "no vote says so"
    lower, median, upper = (
        f"{value / 1000:.1f}" for value in (told.lower_quartile, told.median, told.upper_quartile)
    )
    unknown = f", not of {told.unknown} others" if told.unknown else ""
    return f"<b>median {median} s</b>", f"half from {lower} to {upper} s; known of {told.votes}{unknown}"


def _sides(told: Sides) -> tuple[str, str]:
    if told.rate is None:
        return _unknown(), "no decided vote"
    figure = f"left {_span(told.rate, told.low, told.high)}"
    p = "p below .001" if told.p < 0.001 else f"p = {told.p:.3f}".replace("0.", ".")
    counted = f"{told.left} left, {told.right} right, {p}"
    if told.verdict not in SIDES:
        return _judged(told.verdict, figure), f"{counted}{_needed(told.verdict)}"
    return f"<b>{figure}</b>", f"{SIDES[told.verdict]}; {counted}"


def _found(name: str, told: Found) -> str:
    reasons = ", ".join(f"{REASONS.get(kind, kind)}: {count}" for kind, count in told.reasons.items())
    return f'<tr><td>{told.votes}</td><th scope="row">{WORDS[name]}<small>{escape(reasons)}</small></th></tr>'


def _span(rate: float, low: float, high: float) -> str:
    return f"{percent(rate)} [{100 * low:.0f}, {100 * high:.0f}]"


def _judged(verdict: str, figure: str) -> str:
    return f"<b>{figure}</b>" if verdict == "told" else f'{_unknown()} <span class="cg-span">{figure}</span>'


def _needed(verdict: str) -> str:
    return "" if verdict == "told" else f"; {LEAST} needed"


def _unknown() -> str:
    return '<b class="cg-unknown">cannot tell yet</b>'
