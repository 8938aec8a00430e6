"""What the page says in words: the prompt as it was read, what went wrong, a recipe. All is escaped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

_LEARNED = (
    " Here it is learned together with the model; the strip <b>Cosine</b> shows the same seed under a schedule set by "
    "hand."
)
_HOW = (
    "The picture is 8 × 8 <b>tokens</b>: small patches, each picked from about two thousand, all hidden at "
    "first. At each <b>step</b> the model guesses every hidden patch, keeps some of the guesses, by how sure "
    "it is and by chance, and hides the rest again. The <b>schedule</b> sets four numbers for each step: how "
    "much to hide again, how boldly to guess, how much chance decides what stays, how closely to follow the prompt."
)


def how_to_read(learned: bool) -> str:
    """What a newcomer must be told. learned: whether the schedule that is served came with the model's training."""
    told = _HOW + _LEARNED if learned else _HOW
    return (
        f'<p class="cg-long"><b>How to read this.</b> {told}</p>'
        '<details class="cg-short"><summary>64 hidden <b>tokens</b> (patches). Each <b>step</b> keeps some '
        f"guesses, as the <b>schedule</b> says. <u>More</u></summary><p>{told}</p></details>"
    )


def reading(prompt: str, unknown: Sequence[Mapping[str, object]], notes: Sequence[str]) -> str:
    """How the prompt was read: unknown words underlined, one button a correction, and what else was left out.

    unknown: word, start, end (places in the prompt), suggestions, noted (whether a note says why it is left out).
    Empty where everything was understood.
    """
    told = "".join(f"<p>{escape(note)}</p>" for note in notes)
    if not unknown:
        return told
    parts, at = [], 0
    for item in sorted(unknown, key=lambda item: int(item["start"])):
        start, end = int(item["start"]), int(item["end"])
        parts += [escape(prompt[at:start]), f"<u>{escape(prompt[start:end])}</u>"]
        at = end
    parts.append(escape(prompt[at:]))
    words = ", ".join(f"‘{escape(str(item['word']))}’" for item in unknown if not item["noted"])
    reason = f" <span>never seen in training, so left out: {words}.</span>" if words else ""
    buttons = "".join(
        f'<button type="button" data-start="{int(item["start"])}" data-end="{int(item["end"])}" '
        f'data-word="{escape(str(word))}">{escape(str(item["word"]))} → {escape(str(word))}</button>'
        for item in unknown
        for word in item["suggestions"]
    )
    offer = f" <span>Did you mean</span> {buttons}" if buttons else ""
    return f'<p class="cg-echo"><q>{"".join(parts)}</q>{reason}{offer}</p>{told}'


def error(what: str, sentence: str, suggestions: Sequence[str] = (), kept: bool = False) -> str:
    """One calm line: a glyph, a word, what happened, and, where it is `kept`, that the prompt remains."""
    offer = "".join(
        f'<button type="button" data-prompt="{escape(text)}">{escape(text)}</button>' for text in suggestions
    )
    if offer:
        sentence = sentence.split("; try ")[0] + "."  # the buttons say the rest
        offer = f" <span>Try</span> {offer}"
    remains = " Your prompt is kept." if kept else ""
    told = f"<b>! {what}.</b> {escape(sentence)}{remains}{offer}"
    return f'<p class="cg-error" role="alert">{told}</p>'


def unkept(reason: str) -> str:
    """That a picture was painted, but stands in no store."""
    return (
        f'<p class="cg-unkept"><b>! Not kept.</b> This picture is on your screen only. {escape(reason)}</p>'
    )


def recipe_table(recipe: Mapping[str, object], name: str, own_table: bool = False) -> str:
    """What a dropped file says about how its picture was made.

    own_table: whether the schedule's name alone would not give its numbers here.
    """
    shown = {
        **{name: recipe[name] for name in ("prompt", "seed", "steps", "schedule", "guidance")},
        "checkpoint": f"{recipe['model']}:{recipe['checkpoint']}",
        "weights": f"{recipe['checkpoint_name']}, {str(recipe['checkpoint_sha256'])[:12]}",
    }
    if own_table:
        rows = "1 row" if recipe["steps"] == 1 else f"{recipe['steps']} rows"
        shown["schedule"] = f"{recipe['schedule']}, a table; its {rows} stand in this file and will be used"
    rows = "".join(f"<div><dt>{key}</dt> <dd>{escape(str(value))}</dd></div>" for key, value in shown.items())
    return f'<h3>Recipe of {escape(name)}</h3><dl class="cg-recipe">{rows}</dl>'
