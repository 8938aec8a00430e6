"""The Explore tab: write a prompt, watch it being painted, keep it, or open what somebody kept."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from ui import notices
from ui.arena import answering
from ui.components.line import line
from ui.components.schedule_picker import schedule_picker
from ui.components.trace_viewer import trace_viewer
from ui.flags import Flags
from ui.generation import Generations, Refused, Settings
from ui.rating import Rating

EXAMPLES = (
    "a fox to the left of a tree on a light blue background",
    "three books",
    "a red car above a taxi",
    "one cactus on sand",
)
SEEDS = 2**32
ENGINE = {"concurrency_id": "engine", "concurrency_limit": 4}
PRIVATE = {"api_visibility": "private", "show_progress": "hidden"}

# What the page knows and the form does not: who asks, if this browser has voted or rated before.
WHO = "(...told) => [...told.slice(0, -1), localStorage.getItem('voter') ?? '']"

# These run in the browser alone: they need no turn and no server.
SHOW, HIDE = '{"__type__": "update", "visible": true}', '{"__type__": "update", "visible": false}'
SAME = '{"__type__": "update"}'
WAIT = f"() => [{HIDE}, {SHOW}]"  # go, leave
REST = f"() => [{SHOW}, {HIDE}, {HIDE}]"  # go, leave, cancel
# A decode of a server that is gone never says that it has ended.
REST_IF_LOST = f"() => document.body.classList.contains('cg-lost') ? ({REST})() : Array(3).fill({SAME})"
KEPT = "async () => (await import(new URL('studio/kept.js', document.baseURI)))"  # what it exports


def number(value: int, label: str, elem_id: str) -> gr.Number:
    """A number that is passed on as it came: the method itself says what is allowed, in one sentence."""
    field = gr.Number(value, label=label, precision=0, elem_id=elem_id, elem_classes="cg-field")
    field.preprocess = lambda payload: payload
    return field


def prompt_field(**more: Any) -> gr.Textbox:
    """One line for a prompt."""
    return gr.Textbox(
        EXAMPLES[0],
        label="Prompt",
        show_label=False,
        container=False,
        max_lines=1,
        scale=1,
        placeholder=EXAMPLES[0],
        max_length=20_000,
        **more,
    )


def connect_painting(
    tab: Any, form: list[gr.components.Component], page: list[gr.components.Component]
) -> None:
    """What a tab's prompt and its buttons do: paint, leave the queue, cancel.

    tab: has prompt, go, leave, cancel, line, flags and paint; form, page: what goes into paint and comes out of it.
    """
    buttons = [tab.go, tab.leave, tab.cancel]
    asked = [tab.go.click, tab.prompt.submit]
    gr.on(asked, None, None, buttons[:2], js=WAIT, **PRIVATE)
    # Gradio's own status goes to the line, which puts it into words.
    told = {**PRIVATE, "show_progress": "minimal", "show_progress_on": tab.line}
    painting = gr.on(asked, tab.paint, form, page, js=WHO, **ENGINE, **told)
    painting.then(None, None, buttons, js=REST, **PRIVATE)
    tab.leave.click(None, None, buttons, js=REST, cancels=painting, **PRIVATE)
    tab.cancel.click(tab.flags.stop, queue=False, **PRIVATE)
    tab.cancel.click(None, None, buttons, js=REST_IF_LOST, **PRIVATE)


class Explore:
    """Builds the tab inside a Blocks context."""

    def __init__(self, generations: Generations) -> None:
        self.generations = generations
        self.flags = Flags()
        self._build()
        self._connect()

    def _build(self) -> None:
        with gr.Row(elem_id="ask"):
            self.prompt = prompt_field(elem_id="prompt")
            self.go = gr.Button("Generate", variant="primary", elem_id="generate", scale=0)
            self.leave = gr.Button("Cancel", elem_id="leave", scale=0, visible=False)  # while others go first
            self.cancel = gr.Button("Cancel", elem_id="cancel", scale=0, visible=False)
        with gr.Row(elem_id="settings"):
            names = self.generations.schedules()
            self.schedule = schedule_picker(names, self.generations.schedule_notes(), "auto")
            self.checkpoint = gr.Dropdown(
                self.generations.checkpoints(),
                value="champion",
                label="Model",
                allow_custom_value=True,
                elem_id="checkpoint",
                container=True,
            )
            self.steps = number(16, "Steps", "steps")
            self.seed = number(0, "Seed", "seed")
            self.lock = gr.Checkbox(False, label="Keep seed", elem_id="lock", container=False)
            self.dice = gr.Button("Dice", elem_id="dice", size="sm")
            self.guidance = gr.Textbox(
                "", label="Guidance", placeholder="auto", max_lines=1, elem_id="guidance", max_length=40
            )
        with gr.Row(elem_id="examples"):
            gr.HTML('<button type="button" aria-expanded="false">Settings</button>', elem_id="change")
            gr.HTML("Try", elem_id="try")
            self.chips = [gr.Button(text, size="sm") for text in EXAMPLES]
            self.again = gr.Button("Start again", elem_id="again", size="sm")
            # No file types: Gradio would refuse others with a toast, while the reader says what is wrong.
            self.file = gr.UploadButton("Open a picture or trace", elem_id="open", size="sm")
        gr.HTML(notices.how_to_read(self.generations.learned()), elem_id="how")
        self.line = line()
        self.notice = gr.HTML("", elem_id="notice")
        self.dropped = gr.State(None)
        with gr.Column(visible=False, elem_id="recipe") as self.panel:
            self.recipe_text = gr.HTML("")
            with gr.Row():
                self.restore = gr.Button(
                    "Use these settings", variant="primary", size="sm", elem_id="restore"
                )
                self.dismiss = gr.Button("Close", size="sm")
        self.viewer = trace_viewer(answering(Rating(self.generations.records).rate))
        with gr.Column(visible=False):  # the outputs of the public API
            self.voter = gr.Textbox("")  # filled in by WHO
            self.api = gr.Button("generate")
            self.recipe_api = gr.Button("recipe")
            self.image_file, self.trace_file = gr.File(label="image"), gr.File(label="trace")
            self.recipe_json, self.recipe_file = gr.JSON(label="recipe"), gr.File(label="file")

    def _connect(self) -> None:
        form = [self.prompt, self.seed, self.steps, self.schedule, self.guidance, self.checkpoint]
        page = [self.viewer, self.notice, self.seed, self.leave, self.cancel]
        connect_painting(self, [*form, self.lock, self.voter], page)
        fresh = json.dumps([field.value for field in form] + [False, ""])[:-1]
        self.again.click(
            None, None, [*form, self.lock, self.notice, self.panel], js=f"() => {fresh}, {HIDE}]", **PRIVATE
        )
        # A seed that somebody types is one to keep.
        self.seed.input(None, None, self.lock, js="() => true", **PRIVATE)
        self.dice.click(
            lambda: (random.randrange(SEEDS), True), None, [self.seed, self.lock], queue=False, **PRIVATE
        )
        for chip in self.chips:
            chip.click(None, None, self.prompt, js=f"() => {json.dumps(chip.value)}", **PRIVATE)
        self.file.upload(
            self.look,
            self.file,
            [self.viewer, self.notice, self.dropped, self.panel, self.recipe_text],
            **PRIVATE,
        )
        restored = [*form, self.lock, self.panel]
        self.restore.click(self.settings_of, self.dropped, restored, queue=False, **PRIVATE)
        self.dismiss.click(lambda: gr.update(visible=False), None, self.panel, queue=False, **PRIVATE)
        self.api.click(
            self.generate,
            form,
            [self.image_file, self.trace_file, self.recipe_json],
            api_name="generate",
            show_progress="hidden",
            **ENGINE,
        )
        self.recipe_api.click(self.recipe, self.recipe_file, self.recipe_json, api_name="recipe")

    def follow(self, page: gr.Blocks) -> None:
        """Do what is to be done when somebody opens or leaves the page."""
        # By Gradio itself, which waits until all its components are there: none of them then takes the text back.
        coming = page.load(None, None, self.prompt, js=f"{KEPT}.arriving()", **PRIVATE)
        coming.then(None, None, None, js=f"{KEPT}.arrive()", **PRIVATE)
        page.unload(self.flags.forget)

    def paint(
        self,
        prompt: str,
        seed: Any,
        steps: Any,
        schedule: str,
        guidance: str,
        checkpoint: str,
        lock: bool,
        voter: str,
        request: gr.Request,
    ) -> Iterator[dict]:
        """One decode for the page: the viewer's messages as they come."""
        if not lock:
            seed = random.randrange(SEEDS)
        flag = self.flags.begin(request)
        yield {
            self.notice: "",
            self.leave: gr.update(visible=False),
            self.cancel: gr.update(visible=True),
        }
        messages: list[str] = []
        asked = Settings(prompt, seed, steps, schedule, guidance, checkpoint)
        try:
            for message in self.generations.stream(asked, flag, voter):
                messages.append(json.dumps(message))
                update = {self.viewer: list(messages)}
                if message["type"] == "open":
                    read = message["recipe"]["prompt"]
                    update[self.seed] = seed  # not sooner: a refused prompt leaves the seed as it was
                if message["type"] == "close":
                    told = notices.reading(read, message["unknown"], message["notes"])
                    update[self.notice] = told + self._unkept(message)
                yield update
        except Refused as refusal:
            kept = bool(prompt.strip())
            yield {self.notice: notices.error("Not painted", str(refusal), refusal.suggestions, kept)}
        finally:
            flag.set()

    def _unkept(self, message: dict) -> str:
        problem = self.generations.records.problem
        return notices.unkept(problem) if problem and message["generation"] is None else ""

    def look(self, path: str) -> dict:
        """Show what a PNG or trace says, and play it where it is a trace; the settings stay as they are."""
        try:
            recipe, messages = self.generations.read(Path(path))
        except Refused as refusal:
            return {
                self.notice: notices.error("Not opened", str(refusal)),
                self.panel: gr.update(visible=False),
            }
        own = self.generations.restored(recipe).schedule != recipe["schedule"]
        update = {
            self.notice: "",
            self.dropped: recipe,
            self.panel: gr.update(visible=True),
            self.recipe_text: notices.recipe_table(recipe, Path(path).name, own),
        }
        return update | ({self.viewer: [json.dumps(message) for message in messages]} if messages else {})

    def settings_of(self, recipe: dict) -> tuple:
        """The settings that a recipe asks for; the seed is kept, so that Generate paints the same picture."""
        form = self.generations.restored(recipe)
        return (*vars(form).values(), True, gr.update(visible=False))

    def generate(
        self, prompt: str, seed: int, steps: int, schedule: str, guidance: str, checkpoint: str
    ) -> Iterator[tuple[str | None, str | None, dict]]:
        """Paint a prompt step by step with a masked diffusion model.

        Args:
            prompt: what to paint, for example "a fox to the left of a tree".
            seed: 0 to 4294967295; the same seed and settings give the same picture.
            steps: number of decoding steps, 1 to 64.
            schedule: a name (auto, cosine, linear) or JSON {"name": "mine", "table": [[r, tau_s, tau_r, s], ...]}.
            guidance: auto (or empty), or a guidance scale from 0 to 20.
            checkpoint: champion, baseline, or [MODEL:]NAME.

        Returns:
            The picture (PNG, its recipe inside), the trace file and the recipe; before that, progress.
        """
        flag = threading.Event()
        try:
            asked = Settings(prompt, seed, steps, schedule, guidance, checkpoint)
            yield from self.generations.files(asked, flag)
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
        finally:
            flag.set()

    def recipe(self, file: str) -> dict:
        """Read the recipe out of a PNG or trace file that this studio made.

        Args:
            file: the PNG or trace file.

        Returns:
            The recipe: prompt, seed, steps, schedule, guidance, model, checkpoint and what they resolved to.
        """
        if not file:
            raise gr.Error(
                "file: nothing was given; allowed are PNG and trace files of this studio.",
                print_exception=False,
            )
        try:
            return self.generations.read_recipe(Path(file))
        except Refused as refusal:
            raise gr.Error(str(refusal), print_exception=False) from None
