"""What the Training tab says, as HTML."""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from html import escape
from typing import Any

from cogrpo.registry import Checkpoint
from db.errors import StoreError
from db.models import Round, now

STATES = {
    "collecting": "waits for the worker", "frozen": "has its votes", "training": "trains",
    "candidate": "is at the gate", "gated": "waits for a person", "promoted": "was promoted",
    "rejected": "was rejected", "failed": "is parked after failures",
}  # fmt: skip


MEASURES = {
    "mix": "mix of the rewards, standard deviations", "detector_b": "strictly right by detector B, in no reward",
    "near_duplicates": "pairs that look alike", "clamped": "steps that asked for the impossible",
    "kl": "distance from the champion, nats a token", "distinct_layouts": "different layouts",
}  # fmt: skip


def overview(
    rows: Sequence[Round], missing: int, served: Checkpoint, problem: str | None, admin: bool
) -> str:
    """What is served, what a new round waits for, and the latest rounds. admin: whether somebody can decide here."""
    warned = f'<p class="cg-warned" role="alert">{escape(problem)}</p>' if problem else ""
    running = next((row for row in rows if row.ended_at is None), None)
    if running is not None:
        waits = f"Round {running.id} {STATES[running.state]}; the next one begins after it."
        if running.state == "gated" and not admin:
            waits += " Nobody can decide here: start the app with STUDIO_ADMIN_TOKEN set, and promote or reject it."
    elif missing:
        waits = f"{missing} more vote{'s' * (missing != 1)} and the next round begins."
    else:
        waits = "There are votes enough; the worker begins the next round."
    head = f"<p>Champion <code>{escape(served.sha256[:12])}</code> ({escape(served.name)}). {waits}</p>"
    if not rows:
        return f"{warned}{head}<p>No round has begun yet.</p>"
    body = "".join(_row(row) for row in rows)
    names = ("Round", "State", "Began", "Because of", "Heartbeat", "Attempts")
    header = "".join(f'<th scope="col">{name}</th>' for name in names)
    return (
        f'{warned}{head}<div class="cg-table"><table><thead><tr>{header}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def report(row: Round) -> str:
    """A round's report in words; where it failed its last sentence, for a traceback tells visitors of the machine."""
    told = [f"<h3>Round {row.id}: {STATES[row.state]}</h3>"]
    words = (row.report or {}).get("words", ())
    told += ["<ul>", *(f"<li>{escape(sentence)}</li>" for sentence in words), "</ul>"] if words else []
    if row.error and row.ended_at is None or row.state == "failed":
        last = (row.error or "").strip().splitlines()[-1:] or ["nobody noted it"]
        told.append(
            f"<p>What went wrong: {escape(last[0])} (the whole stands in the store, <code>rounds.error</code>)</p>"
        )
    return "".join(told)


def verdict(told: Mapping[str, Any] | None) -> str:
    """The gate's checks as a table."""
    if told is None:
        return ""
    rows = "".join(
        f"<tr><td>{escape(_measure(check['name']))}</td><td>{check['steps'] or 'all'}</td>"
        f'<td class="cg-{check["outcome"]}">{check["outcome"]}{", people asked for this" * check["asked"]}</td>'
        f"<td>{check['champion']:.3f}</td><td>{check['candidate']:.3f}</td>"
        f"<td>{check['difference']:+.3f} [{check['low']:+.3f}, {check['high']:+.3f}]</td></tr>"
        for check in told["checks"]
    )
    rows += _people(told)
    names = ("Measure", "Steps", "Outcome", "Before", "After", "Difference")
    header = "".join(f'<th scope="col">{name}</th>' for name in names)
    summary = "Gate: passed" if told["passed"] else "Gate: not passed"
    return (
        f'<details><summary>{summary}</summary><div class="cg-table"><table><thead><tr>{header}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div></details>"
    )


def pictures(shown: Sequence[Mapping[str, Any]], read: Callable[[str], bytes]) -> str:
    """Pictures of one seed, before and after, side by side."""
    if not shown:
        return ""
    figures = []
    for pair in shown:
        images = "".join(_image(pair[when], when, read) for when in ("before", "after"))
        about = f"{escape(pair['prompt'])}<br>seed {pair['seed']}, {pair['steps']} steps"
        figures.append(
            f'<figure><div class="cg-pair">{images}</div><figcaption>{about}</figcaption></figure>'
        )
    return f'<h3>Same seed, before and after</h3><div class="cg-pairs">{"".join(figures)}</div>'


def age(then: datetime | None, moment: datetime) -> str:
    """How long ago, in the largest unit that fits."""
    if then is None:
        return "-"
    seconds = max(0, int((moment - then).total_seconds()))
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"


def _row(row: Round) -> str:
    moment = now()
    beat = age(row.heartbeat_at, moment) if row.ended_at is None and row.owner else "-"
    cells = (str(row.id), STATES[row.state], age(row.created_at, moment), row.cause, beat, str(row.attempts))
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>"


def _measure(name: str) -> str:
    return MEASURES.get(name, name.replace("_", " "))


def _people(told: Mapping[str, Any]) -> str:
    people, meter = told["people"], told["hack_meter"]
    if people is None:
        return '<tr><td>people</td><td>all</td><td colspan="4">nobody has seen the two side by side yet</td></tr>'
    weight = "" if people["required"] else " (decides nothing yet)"
    return (
        f"<tr><td>people, win rate in {people['votes']} pairs</td><td>all</td>"
        f'<td class="cg-{people["outcome"]}">{people["outcome"]}{weight}</td><td>0.500</td>'
        f"<td>{people['win_rate']:.2f}</td><td>[{people['low']:.2f}, {people['high']:.2f}]</td></tr>"
        f"<tr><td>hack meter, standard deviations</td><td>all</td><td>decides nothing</td>"
        f"<td colspan=2>people {meter['people']:+.2f}, rewards {meter['rewards']:+.2f}</td>"
        f"<td>{meter['gap']:+.2f} [{meter['low']:+.2f}, {meter['high']:+.2f}]</td></tr>"
    )


def _image(sha256: str, when: str, read: Callable[[str], bytes]) -> str:
    try:
        data = base64.b64encode(read(sha256)).decode()
    except StoreError:
        return f"<span>{when}: not kept</span>"
    return f'<img src="data:image/png;base64,{data}" alt="{when}" width="96" height="96">'
