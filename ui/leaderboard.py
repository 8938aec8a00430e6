"""The Leaderboard tab and its endpoint: what blind pairs say of checkpoints and schedules, and of the voters."""

from __future__ import annotations

from typing import Any

import gradio as gr
from sqlalchemy.exc import SQLAlchemyError

from cogrpo.leaderboard import ALL
from db.session import StoreError
from ui import leaderboard_text
from ui.records import Records
from ui.standings import Standings

PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}


class Leaderboard:
    """Builds the tab inside a Blocks context."""

    def __init__(self, records: Records, tab: gr.Tab) -> None:
        self.standings = Standings(records)
        gr.HTML(leaderboard_text.HOW_TO_READ, elem_id="board-how")
        self.category = gr.Dropdown(
            [("all", ALL)], value=ALL, label="Prompts", elem_id="category", visible=False, filterable=False
        )  # fmt: skip
        self.category.preprocess = lambda payload: (
            payload
        )  # its choices change; what is unknown is shown as `all`
        shown = gr.HTML(elem_id="board")
        look = [self.category, shown]
        gr.on([tab.select, self.category.input], self.look, self.category, look, **PRIVATE)
        gr.api(self.told, api_name="leaderboard")

    def look(self, category: str) -> tuple[Any, str]:
        """The categories that have votes, and the page of the chosen one."""
        try:
            figures = self.standings.figures()
        except (StoreError, SQLAlchemyError) as error:
            return gr.skip(), leaderboard_text.unreadable(str(getattr(error, "orig", error)))
        choices = leaderboard_text.categories(figures)
        chosen = category if category in dict(choices).values() else ALL
        return gr.update(choices=choices, value=chosen, visible=len(choices) > 1), leaderboard_text.page(
            figures, chosen
        )

    def told(self) -> dict[str, Any]:
        """How good checkpoints and schedules are by people's blind votes, with 95 % intervals, and what the votes are
        worth. docs/leaderboard.md says how everything is counted.

        Returns:
            {model, votes, uses, names, checkpoints, schedules, quality}: see docs/leaderboard.md.
        """
        try:
            return self.standings.figures().model_dump(mode="json")
        except (StoreError, SQLAlchemyError) as error:
            raise gr.Error(str(getattr(error, "orig", error)), print_exception=False) from None
