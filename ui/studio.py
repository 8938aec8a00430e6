"""The studio as one page: the header, the tabs, and what the browser needs to draw them."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.block_function import BlockFunction

from ui.arena import Arena
from ui.compare import Compare
from ui.explore import Explore
from ui.generation import Generations
from ui.leaderboard import Leaderboard
from ui.loop import Loop
from ui.pairs import Pairs
from ui.training import Training

STATIC = Path(__file__).parent / "static"

HEAD = """
<link rel="icon" href="studio/mark.svg" type="image/svg+xml">
<link rel="stylesheet" href="studio/tokens.css">
<link rel="stylesheet" href="studio/viewer.css">
<link rel="stylesheet" href="studio/studio.css">
<link rel="stylesheet" href="studio/training.css">
<link rel="stylesheet" href="studio/vote.css">
<link rel="stylesheet" href="studio/leaderboard.css">
<link rel="stylesheet" href="studio/compare.css">
<script type="module" src="studio/kept.js"></script>
"""

KEYS = (
    ("Ctrl Enter", "generate, or compare"), ("Esc", "cancel"), ("Space", "play or pause"), ("← →", "one step"),
    ("Home End", "first and last step"), ("L", "loop"), ("C", "the same seed under cosine"),
    ("Tab, then arrows", "move the cell in a map"),
    ("Enter", "pin or release the cell"), ("D", "Compare: where the two part"),
    ("1 2 3 4", "vote: A, tie, B, both bad"),
)  # fmt: skip


def header(device: str) -> str:
    """Name of the studio, where it runs, the keys, and the switch between light and dark."""
    keys = "".join(f"<dt><kbd>{escape(key)}</kbd></dt><dd>{escape(what)}</dd>" for key, what in KEYS)
    return (
        '<img src="studio/mark.svg" alt="" width="20" height="20"><h1>Co-GRPO Studio</h1>'
        f'<span class="cg-pill">{escape(device)}</span>'
        f'<details class="cg-keys" id="keys"><summary><span>Keys</span> <kbd>?</kbd></summary><dl>{keys}</dl></details>'
        '<button type="button" class="cg-shade" id="shade"><span>Dark</span><span>Light</span></button>'
    )


class Page(gr.Blocks):
    """A page whose unlisted endpoints may be called with fewer values than they have inputs.

    Gradio's clients fill in what is left out from the list of endpoints, where these are not.
    """

    def validate_inputs(self, block_fn: BlockFunction, inputs: list[Any]) -> None:
        if block_fn.api_visibility == "undocumented":
            inputs += [block.value for block in block_fn.inputs[len(inputs) :]]
        super().validate_inputs(block_fn, inputs)


def build(generations: Generations, pairs: Pairs, loop: Loop) -> gr.Blocks:
    """The page. Its theme, head and static files are arguments of `launch`: see app.py."""
    with Page(title="Co-GRPO Studio", analytics_enabled=False, delete_cache=(3600, 3600)) as studio:
        gr.HTML(header(f"Emoji world on {generations.device()}"), elem_id="top")
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Explore", id="explore"):
                explore = Explore(generations)
            with gr.Tab("Compare", id="compare"):
                compare = Compare(generations)
            with gr.Tab("Vote", id="vote"):
                Arena(pairs, generations.records)
            with gr.Tab("Leaderboard", id="leaderboard") as tab:
                Leaderboard(generations.records, tab)
            with gr.Tab("Training", id="training") as tab:
                Training(loop, tab)
        explore.follow(studio)
        compare.follow(studio)
    return studio
