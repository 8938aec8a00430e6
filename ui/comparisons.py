"""Two decodes of one prompt and one seed: step by step beside each other for the page, as files for a program."""

from __future__ import annotations

import json
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cogrpo.engine import Generation
from cogrpo.recipe import AUTO, Request, write_png
from ui import parting
from ui.generation import Generations, Refused, Settings, told
from ui.payload import Message

SIDES = ("left", "right")
STEPS = 8  # of a side that names no number
FIELDS = ("checkpoint", "schedule", "steps")
FORM = "CHECKPOINT/SCHEDULE/STEPS, for example champion/auto/8, or the same as JSON"


class Comparisons:
    """Each side is a decode like any other: it fails, is recorded and can be cancelled by itself."""

    def __init__(self, generations: Generations) -> None:
        self.generations = generations

    def stream(
        self, left: Settings, right: Settings, cancel: threading.Event, pseudonym: str = ""
    ) -> Iterator[Message]:
        """Both sides' messages in turn, each with its `side`.

        A side that is refused or fails ends with a `failed`, and the other one goes on. Raises Refused, before the
        first message, where both sides are refused for one reason: then it is the prompt, the seed or the steps.
        """
        streams = {
            side: self.generations.stream(settings, cancel, pseudonym, beside=False)
            for side, settings in zip(SIDES, (left, right), strict=True)
        }
        refusals: dict[str, Refused] = {}
        opened: list[Message] = []
        for side, stream in streams.items():
            try:
                opened.append({**next(stream), "side": side})
            except Refused as refusal:
                refusals[side] = refusal
        if not opened and str(refusals["left"]) == str(refusals["right"]):
            raise refusals["left"]
        yield from opened
        yield from (_failed(side, refusal) for side, refusal in refusals.items())
        running = {side: stream for side, stream in streams.items() if side not in refusals}
        while running:
            for side, stream in list(running.items()):
                try:
                    message = next(stream, None)
                except Refused as refusal:
                    message = _failed(side, refusal)
                    del running[side]
                if message is None:
                    del running[side]
                    continue
                yield {**message, "side": side}

    def files(
        self, prompt: Any, seed: Any, left: Any, right: Any
    ) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
        """Both pictures and what is told of them; the files last until the one who asked has taken them.

        left, right: see `settings`. Raises Refused where neither side could be painted.
        """
        requests: dict[str, Request] = {}
        made: dict[str, Generation] = {}
        refusals: dict[str, Refused] = {}
        for side, text in zip(SIDES, (left, right), strict=True):
            try:
                with told():
                    requests[side] = settings(side, text, prompt, seed).request()
            except Refused as refusal:
                refusals[side] = refusal
        if len({request.steps for request in requests.values()}) > 1:
            steps = " and ".join(str(request.steps) for request in requests.values())
            raise Refused(f"steps: {steps} are not allowed together; allowed is one number for both sides.")
        for side, request in requests.items():
            try:
                made[side] = self._paint(request)
            except Refused as refusal:
                refusals[side] = refusal
        if not made:
            raise refusals[SIDES[0]]
        about: dict[str, Any] = {side: {"error": str(refusal)} for side, refusal in refusals.items()}
        for side, generation in made.items():
            recipe = generation.recipe.model_dump(mode="json")
            about[side] = {"recipe": recipe, "verifier": self.generations.verdict(generation)}
        one_grid = len({generation.recipe.model for generation in made.values()}) == 1 and len(made) == len(
            SIDES
        )
        found = parting.first(*(made[side].trace for side in SIDES)) if one_grid else None
        about["parts"] = None if found is None else asdict(found)
        with tempfile.TemporaryDirectory() as folder:
            paths = {side: Path(folder) / f"{side}.png" for side in made}
            for side, path in paths.items():
                path.write_bytes(write_png(made[side].image, made[side].recipe))
            yield *(str(paths[side]) if side in paths else None for side in SIDES), about

    def _paint(self, request: Request) -> Generation:
        """One side, recorded. Raises Refused."""
        with told():
            *_, generation = self.generations.engine.generate([request])
        self.generations.records.keep(generation, "api")
        return generation


def settings(side: str, text: Any, prompt: Any, seed: Any) -> Settings:
    """One side of `/compare`: `CHECKPOINT/SCHEDULE/STEPS`, or JSON with those three and guidance, all but the
    checkpoint optional; a schedule in JSON may be a table. Raises Refused, in one sentence that begins with the side.
    """
    text = str(text or "").strip()
    parts = dict(zip(FIELDS, text.rsplit("/", 2), strict=False))
    if text.startswith("{"):
        try:
            parts = json.loads(text)
        except (ValueError, RecursionError):
            raise Refused(f"{side}: this is not sound JSON; allowed is {FORM}.") from None
    if not parts.get("checkpoint") or not parts.keys() <= {*FIELDS, "guidance"}:
        raise Refused(f"{side}: {text[:60]!r} is not allowed; allowed is {FORM}.")
    schedule = parts.get("schedule", AUTO)
    schedule = json.dumps(schedule) if isinstance(schedule, dict) else schedule
    asked = parts.get("steps", STEPS), schedule, parts.get("guidance", AUTO), parts["checkpoint"]
    return Settings(prompt, seed, *asked)


def _failed(side: str, refusal: Refused) -> Message:
    return {"type": "failed", "side": side, "text": str(refusal)}
