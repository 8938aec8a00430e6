"""The cancel flag of each session's running decode, one set a tab."""

from __future__ import annotations

import threading

import gradio as gr


class Flags:
    """Hand `stop` and `forget` to Gradio's events."""

    def __init__(self) -> None:
        self._flags: dict[str, threading.Event] = {}

    def begin(self, request: gr.Request) -> threading.Event:
        """A fresh flag for a decode that begins."""
        flag = self._flags[request.session_hash] = threading.Event()
        return flag

    def stop(self, request: gr.Request) -> None:
        """Ask the running decode of this session to end before its next step."""
        if flag := self._flags.get(request.session_hash):
            flag.set()

    def forget(self, request: gr.Request) -> None:
        """The page was closed: end what it had running."""
        if flag := self._flags.pop(request.session_hash, None):
            flag.set()
