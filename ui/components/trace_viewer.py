"""The trace viewer as a Gradio component: a place in the page and a list of messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import gradio as gr

# The module is the one that the static page uses.
ON_LOAD = """
import(new URL('studio/explore.js', document.baseURI)).then(({ connect }) => connect(element, props, watch, server));
"""


def trace_viewer(rate: Callable[[Any], dict[str, Any]]) -> gr.HTML:
    """Plays the messages of `ui/payload.py`; without a value it plays the recorded example once.

    The value is the list of messages so far, each as JSON text: Gradio then sends only what is new, and a
    page that missed an update catches up with the next. (A function, not a subclass: Gradio writes a .pyi
    file beside the source of every component class.)

    rate: stores what the form under a picture says; answers {saved} or {error}.
    """
    return gr.HTML(
        html_template="",
        js_on_load=ON_LOAD,
        apply_default_css=False,
        elem_id="viewer",
        server_functions=[rate],
    )
