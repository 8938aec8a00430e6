"""The Compare tab: one prompt and one seed under two models or schedules, step by step beside each other."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import gradio as gr

from cogrpo import schedules
from ui import notices
from ui.comparisons import SIDES, STEPS, Comparisons
from ui.components.line import line
from ui.components.schedule_picker import schedule_picker
from ui.explore import ENGINE, PRIVATE, SEEDS, connect_painting, number, prompt_field
from ui.flags import Flags
from ui.generation import Generations, Refused, Settings

BEGINNING = {"left": ("champion", schedules.AUTO), "right": ("baseline", "cosine")}
LETTERS = {"left": "A", "right": "B"}

ON_LOAD = """
import(new URL('studio/compare.js', document.baseURI)).then(({ connect }) => connect(element, props, watch));
"""


class Compare:
    """Builds the tab inside a Blocks context."""

    def __init__(self, generations: Generations) -> None:
        self.generations, self.comparisons = generations, Comparisons(generations)
        self.flags = Flags()
        self._build()
        self._connect()

    def _build(self) -> None:
        with gr.Row(elem_id="cmp-ask", elem_classes="cg-asking"):
            self.prompt = prompt_field(elem_id="cmp-prompt", elem_classes="cg-prompt")
            self.go = gr.Button("Compare", variant="primary", elem_id="cmp-go", elem_classes="cg-go", scale=0)
            leave = {"elem_classes": "cg-leave", "scale": 0, "visible": False}
            self.leave = gr.Button("Cancel", elem_id="cmp-leave", **leave)  # while others go first
            self.cancel = gr.Button("Cancel", elem_id="cmp-cancel", **leave)
        names, notes = self.generations.schedules(), self.generations.schedule_notes()
        with gr.Row(elem_id="cmp-settings", elem_classes="cg-settings"):
            self.sides = []
            for side in SIDES:
                checkpoint, schedule = BEGINNING[side]
                with gr.Row(elem_classes="cg-one"):
                    gr.HTML(f"<b>{LETTERS[side]}</b>", elem_id=f"cmp-{side}")
                    model = gr.Dropdown(
                        self.generations.checkpoints(),
                        value=checkpoint,
                        label=f"Model {LETTERS[side]}",
                        allow_custom_value=True,
                        elem_id=f"cmp-{side}-model",
                        elem_classes=["cg-field", "cg-checkpoint"],
                        container=True,
                    )
                    picker = schedule_picker(
                        names, notes, schedule, f"Schedule {LETTERS[side]}", f"cmp-{side}-schedule"
                    )
                self.sides += [picker, model]
            self.steps = number(STEPS, "Steps", "cmp-steps")
            self.seed = number(0, "Seed", "cmp-seed")
            self.dice = gr.Button("Dice", elem_id="cmp-dice", size="sm")
        self.line = line("cmp-line")
        self.notice = gr.HTML("", elem_id="cmp-notice", elem_classes="cg-notice")
        self.viewer = gr.HTML(
            html_template="", js_on_load=ON_LOAD, apply_default_css=False, elem_id="cmp-viewer"
        )
        with gr.Column(visible=False):  # the inputs and outputs of the public API
            self.voter = gr.Textbox("")  # filled in by WHO
            left, right = gr.Textbox("champion/auto/8"), gr.Textbox("baseline/cosine/8")
            files = [gr.File(label=side) for side in SIDES]
            about = gr.JSON(label="comparison")
            api = gr.Button("compare")
        api.click(
            self.compare,
            [self.prompt, self.seed, left, right],
            [*files, about],
            api_name="compare",
            show_progress="hidden",
            **ENGINE,
        )

    def _connect(self) -> None:
        form = [self.prompt, self.seed, self.steps, *self.sides, self.voter]
        page = [self.viewer, self.notice, self.leave, self.cancel]
        connect_painting(self, form, page)
        self.dice.click(lambda: random.randrange(SEEDS), None, self.seed, queue=False, **PRIVATE)

    def follow(self, page: gr.Blocks) -> None:
        """Do what is to be done when somebody leaves the page."""
        page.unload(self.flags.forget)

    def paint(
        self,
        prompt: str,
        seed: Any,
        steps: Any,
        left_schedule: str,
        left: str,
        right_schedule: str,
        right: str,
        voter: str,
        request: gr.Request,
    ) -> Iterator[dict]:
        """Both decodes for the page: their messages as they come."""
        flag = self.flags.begin(request)
        yield {
            self.notice: "",
            self.leave: gr.update(visible=False),
            self.cancel: gr.update(visible=True),
        }
        sides = (
            Settings(prompt, seed, steps, schedule, "", checkpoint)
            for schedule, checkpoint in ((left_schedule, left), (right_schedule, right))
        )
        messages: list[str] = []
        read = unkept = ""
        try:
            for message in self.comparisons.stream(*sides, flag, voter):
                messages.append(json.dumps(message))
                update = {self.viewer: list(messages)}
                if message["type"] == "open":
                    asked = message["recipe"]["prompt"]
                if message["type"] == "close":
                    # Both sides read the same prompt; one of them tells how.
                    read = read or notices.reading(asked, message["unknown"], message["notes"])
                    problem = self.generations.records.problem
                    unkept = notices.unkept(problem) if problem and message["generation"] is None else unkept
                    update[self.notice] = read + unkept
                yield update
        except Refused as refusal:
            kept = bool(prompt.strip())
            yield {self.notice: notices.error("Not painted", str(refusal), refusal.suggestions, kept)}
        finally:
            flag.set()

    def compare(
        self, prompt: str, seed: int, left: str, right: str
    ) -> Iterator[tuple[str | None, str | None, dict]]:
        """Paint a prompt twice at one seed, under two models or schedules, and say where the two part.

        Args:
            prompt: what to paint, for example "a fox to the left of a tree".
            seed: 0 to 4294967295; both sides draw the same random numbers.
            left: CHECKPOINT/SCHEDULE/STEPS, for example champion/auto/8, or JSON with checkpoint, schedule (a name or
                {"name": "mine", "table": [[r, tau_s, tau_r, s], ...]}), steps and guidance.
            right: the same for the other side, for example baseline/cosine/8; both have one number of steps.

        Returns:
            Both pictures (PNG, their recipes inside), and {left, right, parts}: each side's recipe and what the
            verifier found, or its error, and the first step at which any decided token differs.
        """
        try:
            yield from self.comparisons.files(prompt, seed, left, right)
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
