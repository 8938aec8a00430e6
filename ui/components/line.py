"""The one line that says whether others go first, or that the server is gone."""

from __future__ import annotations

import gradio as gr

ON_LOAD = """
import(new URL('studio/line.js', document.baseURI)).then(({ connect }) => connect(element));
"""


def line(elem_id: str = "line") -> gr.HTML:
    """Empty while all is well. Name it in `show_progress_on` of the events whose turn it tells."""
    return gr.HTML(
        html_template="", js_on_load=ON_LOAD, apply_default_css=False, elem_id=elem_id, elem_classes="cg-line"
    )
