"""The Training tab: rounds with their state, curves, verdict and pictures; for the admin also what decides about them.

The controls are there only where the setting STUDIO_ADMIN_TOKEN is: without it neither the page nor its endpoints have
them. Every one of them asks for the token again.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import gradio as gr
import numpy as np
import pandas as pd
from sqlalchemy.orm import Session

from cogrpo.schedule import COLUMNS
from db import aliases, rounds
from db.models import Round
from db.rounds import RoundError
from ui import training_text
from ui.loop import Loop

MODEL = "emoji"
REFRESH = 3.0  # s, while the tab is open
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}
REWARD, MEAN = "rewards/", "/mean"  # around a reward's name in the lines of a training
WHEN = ("before", "after")
CURVES = ("Re-mask ratio", "Sampling temperature", "Re-mask temperature", "Guidance")


class Training:
    """Builds the tab inside a Blocks context."""

    def __init__(self, loop: Loop, tab: gr.Tab) -> None:
        self.store, self.registry, self.loop, self._token = (
            loop.store,
            loop.registry,
            loop.config.loop,
            loop.token,
        )
        if self.store is None:
            gr.HTML("<p>Nothing can be kept here, so there are no votes and no rounds.</p>")
            return
        self.overview = gr.HTML(elem_id="rounds")
        with gr.Row():
            self.chosen = gr.Dropdown([], label="Round", elem_id="round", scale=0, min_width=160)
        self.chosen.preprocess = lambda payload: (
            payload
        )  # its choices change; what a round allows, the store says
        self.details = gr.HTML(elem_id="report")
        self.curve = gr.LinePlot(
            x="step", y="score", color="reward", title="Mean of each reward in training", height=260,
            x_title="round of the training", visible=False, elem_id="rewards",
        )  # fmt: skip
        with gr.Row(elem_id="schedules"):
            self.schedules = [
                gr.LinePlot(
                    x="step",
                    y=name,
                    color="when",
                    y_title=told,
                    color_title="round",
                    height=180,
                    visible=False,
                )
                for name, told in zip(COLUMNS, CURVES, strict=True)
            ]
        self.pictures = gr.HTML(elem_id="pictures")
        if self._token:
            self._controls()
        self.drawn = gr.State()  # what the details were drawn from
        timer = gr.Timer(REFRESH, active=False)
        shown = [self.overview, self.chosen]
        detailed = [self.drawn, self.details, self.curve, *self.schedules, self.pictures]
        tab.select(lambda: gr.Timer(active=True), None, timer, queue=False, **PRIVATE)
        gr.on([tab.select, timer.tick], self.look, self.chosen, shown, **PRIVATE)
        gr.on([self.chosen.change, timer.tick], self.look_at, [self.chosen, self.drawn], detailed, **PRIVATE)

    def _controls(self) -> None:
        with gr.Row(elem_id="admin"):
            token = gr.Textbox(label="Admin's token", type="password", elem_id="token", max_lines=1)
            told = gr.HTML(elem_id="decided")
        with gr.Row():
            for name, act in (
                ("Promote", self.promote), ("Reject", self.reject), ("Send on", self.retry),
            ):  # fmt: skip
                button = gr.Button(name, size="sm", elem_id=act.__name__)
                asked = [token, self.chosen]
                button.click(act, asked, told, api_name=act.__name__, api_visibility="undocumented")
            for name, act in (("Roll back", self.rollback), ("Run now", self.run_round)):
                button = gr.Button(name, size="sm", elem_id=act.__name__)
                button.click(act, token, told, api_name=act.__name__, api_visibility="undocumented")

    def look(self, chosen: int | None) -> tuple[str, dict]:
        """The overview, and the rounds to choose from; the newest is chosen where none is."""
        with self.store.read() as session:
            listed = rounds.listed(session)
            missing = max(0, self.loop.least_votes - rounds.new_votes(session, MODEL))
            served = self.registry.resolve(f"{MODEL}:champion")
            html = training_text.overview(
                listed, missing, served, self.registry.problem(MODEL), bool(self._token)
            )
        numbers = [(f"{row.id}, {row.state}", row.id) for row in listed]
        value = chosen if chosen in [row.id for row in listed] else listed[0].id if listed else None
        return html, gr.update(choices=numbers, value=value)

    def look_at(self, chosen: int | None, drawn: object) -> tuple[Any, ...]:
        """Report, reward curves, schedules before and after, and pictures of a round, where they have changed."""
        hidden = gr.update(visible=False)
        with self.store.read() as session:
            row = None if chosen is None else session.get(Round, chosen)
            if row is None:
                return (None, "", hidden, *[hidden] * len(COLUMNS), "")
            lines = rounds.lines(session, row.id)
            html, verdict = training_text.report(row), aliases.verdict(session, row.id)
        now = (html, len(lines), verdict)
        if now == drawn:
            return (drawn, *[gr.skip()] * (len(COLUMNS) + 3))
        curve = hidden if not lines else gr.update(value=_curve(lines), visible=True)
        tables = (row.report or {}).get("schedules") or {}
        plots = [hidden] * len(COLUMNS)
        if tables:
            frame = _schedules(max(tables.values(), key=_moved))
            plots = [gr.update(value=frame[["step", "when", name]], visible=True) for name in COLUMNS]
        pictures = training_text.pictures((row.report or {}).get("pictures", []), self.store.artifacts.get)
        return (now, html + training_text.verdict(verdict), curve, *plots, pictures)

    def promote(self, token: str, round: int) -> str:
        """Serve a round's candidate."""
        return self._act(token, lambda s: f"{aliases.promote(s, round, 'admin')[:12]} is champion now.")

    def reject(self, token: str, round: int) -> str:
        """End a round without serving its candidate."""

        def act(session: Session) -> str:
            aliases.reject(session, round, "admin", "by the admin")
            return f"Round {round} is rejected."

        return self._act(token, act)

    def retry(self, token: str, round: int) -> str:
        """Send a parked round on, from its last checkpoint."""

        def act(session: Session) -> str:
            rounds.retry(session, round, "admin")
            return f"Round {round} goes on."

        return self._act(token, act)

    def rollback(self, token: str) -> str:
        """Serve what was served before the champion."""
        return self._act(token, lambda s: f"{aliases.rollback(s, MODEL, 'admin')[:12]} is champion again.")

    def run_round(self, token: str) -> str:
        """Begin a round now; the worker takes it."""
        return self._act(token, lambda s: f"Round {rounds.begin(s, MODEL, 'asked')} waits for the worker.")

    def _act(self, token: str, act: Callable[[Session], str]) -> str:
        if not self._token or not hmac.compare_digest(str(token).encode(), self._token.encode()):
            raise gr.Error("token: this is not the admin's.", print_exception=False)
        try:
            with self.store.write() as session:
                told = act(session)
        except RoundError as error:
            raise gr.Error(str(error), print_exception=False) from None
        aliases.mirror(self.store, self.registry.data)
        return told


def _curve(lines: list[dict[str, Any]]) -> pd.DataFrame:
    """Each reward's mean over the training, long."""
    rows = [
        (line["round"], name.removeprefix(REWARD).removesuffix(MEAN), value)
        for line in lines
        for name, value in line.items()
        if name.startswith(REWARD) and name.endswith(MEAN)
    ]
    return pd.DataFrame(rows, columns=["step", "reward", "score"])


def _moved(tables: dict[str, list[list[float]]]) -> float:
    """How far a schedule went: a round trains some numbers of steps and leaves the others as they were."""
    before, after = (np.array(tables[when]) for when in WHEN)
    return float(np.abs(after - before).sum())


def _schedules(tables: dict[str, list[list[float]]]) -> pd.DataFrame:
    """Both schedules of one number of steps, long."""
    rows = [(step + 1, when, *values) for when in WHEN for step, values in enumerate(tables[when])]
    return pd.DataFrame(rows, columns=["step", "when", *COLUMNS])
