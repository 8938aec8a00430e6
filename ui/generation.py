"""One request on its way through the engine: out come the viewer's messages, and what `ui.records` keeps."""

from __future__ import annotations

import hashlib
import tempfile
import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cogrpo import models, schedules
from cogrpo.emoji.grammar import parse
from cogrpo.emoji.judge import Judge
from cogrpo.engine import Engine, Generation, Update
from cogrpo.files import opened
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import SchedulePolicy
from cogrpo.recipe import Recipe, RecipeError, Request, write_png
from cogrpo.registry import CheckpointError, Registry, own_policy
from cogrpo.schedule import ScheduleError
from cogrpo.trace import Trace, TraceError
from ui import findings, payload, table_text
from ui.animation import animate
from ui.payload import Message
from ui.records import Records

Table = Sequence[Sequence[float]]
BASELINES = ("cosine", "linear")
RIVAL = "cosine"  # beside which a learned schedule is shown
DRAWN_STEPS = 16  # the picker's small curves


class Refused(ValueError):
    """A request that cannot be met; the message is one sentence for the person who made it."""

    def __init__(self, message: str, suggestions: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.suggestions = tuple(suggestions)


@dataclass(frozen=True)
class Settings:
    """The form as it was filled in; nothing is checked yet."""

    prompt: Any
    seed: Any
    steps: Any
    schedule: Any
    guidance: Any
    checkpoint: Any

    def request(self) -> Request:
        """Raises RecipeError or ScheduleError."""
        schedule = table_text.read(self.schedule)
        return Request(self.prompt, self.seed, self.steps, schedule, self.guidance, self.checkpoint)


class Generations:
    """Paints for the page and the API with one engine, and records every picture."""

    def __init__(self, records: Records, registry: Registry) -> None:
        self.engine, self.records = Engine(registry), records
        self._judge: Judge | None = None

    def schedules(self) -> dict[str, Table]:
        """Name -> table of every schedule that the menu offers."""
        policy, learned = self._champions_policy(), None
        if policy is not None:  # one that reads the state is drawn as the base from which it began
            table = policy.config.body == "table"
            learned = policy.mean_schedule(DRAWN_STEPS) if table else policy.base_schedule(DRAWN_STEPS)
        names = (schedules.AUTO, *schedules.available())
        return {name: schedules.resolve(name, DRAWN_STEPS, learned=learned).table.tolist() for name in names}

    def schedule_notes(self) -> dict[str, str]:
        """Name -> what is said about it in the menu."""
        told = {name: text.split(".")[0] for name, text in schedules.available().items()}
        return {schedules.AUTO: "Learned where there is one, else cosine", **told}

    def checkpoints(self) -> list[str]:
        return ["champion", "baseline"]

    def learned(self) -> bool:
        """Whether there is a champion whose schedule was learned together with it."""
        return self._champions_policy() is not None

    def device(self) -> str:
        """Where the network runs and in which precision, in words for the page."""
        return f"{self.engine.device.upper()}, {self.engine.precision}"

    def health(self) -> dict[str, str | None]:
        """What /healthz says about the model; the checkpoint is None where there are no weights."""
        try:
            checkpoint = self.engine.registry.resolve("champion")
            name = f"{checkpoint.name}:{checkpoint.sha256[:12]}"
        except CheckpointError:
            name = None
        engine = self.engine
        return {"model": "emoji", "checkpoint": name, "device": engine.device, "precision": engine.precision}

    def warm(self) -> None:
        """Load the weights and run the network once, so that the first visitor does not wait for it."""
        try:
            *_, generation = self.engine.generate([Request("a dog", steps=2)])
            self.verdict(generation)
        except CheckpointError as error:
            print(f"No picture can be painted yet. {error}", flush=True)

    def stream(
        self, settings: Settings, cancel: threading.Event, pseudonym: str = "", beside: bool = True
    ) -> Iterator[Message]:
        """Open, one message a step, close. Raises Refused, as a rule before the first message.

        pseudonym: of the voter who asks, empty for one who has none. beside: whether the rival of a learned schedule
        follows.
        """
        with told():
            recipe = self.engine.prepare(settings.request())
            model = self.engine.model(recipe)
            key, pictures, codes = uuid.uuid4().hex, [], set()
            baselines = self.baselines(recipe)
            told_recipe = recipe.model_dump(mode="json")
            yield payload.open_message(
                key, told_recipe, model.grid, model.vocab_size, recipe.schedule_table, baselines
            )
            generation = None
            for update in self.engine.decode([recipe], cancel):
                if isinstance(update, Update):
                    pictures.append(payload.png(update.images()[0]))
                    codes |= payload.considered(update.step.sampled[0], update.step.top_codes[0])
                    yield payload.step_message(key, update.step, 0, pictures[-1])
                else:
                    generation = update
            reading = models.adapter(recipe.model).read(recipe.prompt)
            unknown = [vars(word) for word in reading.unknown]
            about = {"unknown": unknown, "notes": reading.notes}
            atlas = self._atlas(codes, model)
            if generation is None:
                yield payload.close_message(key, None, atlas, stopped=True, **about)
                return
            verifier = self.verdict(generation)
            extras = {
                "baselines": baselines,
                "verifier": verifier,
                "milliseconds": round(generation.milliseconds, 1),
            }
            shared = self.shared(generation.trace, pictures, model, **extras)
            more = {"shared": shared.to_bytes(), "gif": animate(generation.trace, shared.pictures)}
            scores = {} if verifier is None else {"verifier": verifier["soft"]}
            kept = self.records.keep(generation, "page", pseudonym, scores, more)
            about |= {} if kept is None else {"files": kept.addresses, "generation": kept.generation}
            yield payload.close_message(key, generation.milliseconds, atlas, verifier=verifier, **about)
            if beside and recipe.schedule == schedules.LEARNED:
                yield from self._rival(key, recipe, cancel)

    def rival(self, recipe: Recipe) -> Recipe:
        """The same prompt, seed and weights under a predefined schedule: whatever differs is the schedule's doing."""
        schedule = schedules.build(RIVAL, recipe.steps, recipe.model)
        if recipe.guidance != schedules.AUTO:
            schedule = schedule.with_guidance(recipe.guidance)
        numbers = tuple(map(tuple, schedule.table.tolist()))
        told = {"schedule": RIVAL, "schedule_table": numbers, "interpolated": False}
        return recipe.model_copy(update=told)

    def _rival(self, key: str, recipe: Recipe, cancel: threading.Event) -> Iterator[Message]:
        """The rival's decode as one message; nothing where it was cancelled. It is shown, and not kept."""
        for update in self.engine.decode([self.rival(recipe)], cancel):
            if isinstance(update, Generation):
                played = replace(update.trace, extras={"verifier": self.verdict(update)})
                yield payload.beside_message(key, self._messages(update.recipe, played))

    def files(
        self, settings: Settings, cancel: threading.Event
    ) -> Iterator[tuple[str | None, str | None, dict[str, Any]]]:
        """One update a step: progress, and with the last one the picture, the trace and the recipe."""
        with told():
            recipe = self.engine.prepare(settings.request())
            for update in self.engine.decode([recipe], cancel):
                if isinstance(update, Update):
                    done = update.step.index + 1
                    if done < recipe.steps:
                        yield None, None, {"step": done, "steps": recipe.steps}
                else:
                    self.records.keep(update, "api")
                    yield from _files(update)

    def read_recipe(self, path: Path) -> dict[str, Any]:
        """The recipe inside a PNG or trace file. Raises Refused."""
        with told():
            return opened(path).recipe.model_dump(mode="json")

    def read(self, path: Path) -> tuple[dict[str, Any], list[Message]]:
        """The recipe of a file, and for a trace the messages that play it. Raises Refused."""
        with told():
            file = opened(path)
            messages = [] if file.trace is None else self._messages(file.recipe, file.trace)
            return file.recipe.model_dump(mode="json"), messages

    def restored(self, told_recipe: Mapping[str, Any]) -> Settings:
        """The form that paints a recipe again: with its own numbers and weights where names mean others now."""
        recipe = Recipe.read(told_recipe)
        checkpoint = recipe.checkpoint
        try:
            same = (
                self.engine.registry.resolve(f"{recipe.model}:{checkpoint}").sha256
                == recipe.checkpoint_sha256
            )
        except CheckpointError:
            same = False
        if not same:
            checkpoint = recipe.checkpoint_sha256[:12]
        if checkpoint not in self.checkpoints():
            checkpoint = f"{recipe.model}:{checkpoint}"
        guidance = "" if recipe.guidance == "auto" else str(recipe.guidance)
        schedule = table_text.write(recipe)
        return Settings(recipe.prompt, recipe.seed, recipe.steps, schedule, guidance, checkpoint)

    def shared(
        self, trace: Trace, pictures: Sequence[bytes], model: MaskedImageModel, **extras: Any
    ) -> Trace:
        """The trace with all that a page without a server needs to play it."""
        codes = sorted(payload.considered(trace.sampled, trace.top_codes))
        atlas = payload.strip(codes, model)
        return replace(trace, extras={**trace.extras, **extras}).shared(pictures, atlas, codes, model.cell)

    def baselines(self, recipe: Recipe) -> dict[str, Table]:
        """What the schedule's curves are drawn against."""
        return {name: schedules.build(name, recipe.steps, recipe.model).table.tolist() for name in BASELINES}

    def _champions_policy(self) -> SchedulePolicy | None:
        """None where the champion has none, or is missing."""
        registry = self.engine.registry
        try:
            return own_policy(registry, schedules.LEARNED, registry.resolve("champion"))
        except CheckpointError:
            return None

    def _messages(self, recipe: Recipe, trace: Trace) -> list[Message]:
        """A finished trace and its recipe as messages; pictures that it lacks are painted by its own weights."""
        key = uuid.uuid4().hex
        if trace.pictures:
            pictures = trace.pictures
            about = trace.extras["atlas"]
            strip = trace.attachments["atlas"].tobytes()
            atlas = payload.atlas_message(about["codes"], about["cell"], strip)
        else:
            model = self.engine.model(recipe)
            if (trace.grid, trace.vocab_size) != (model.grid, model.vocab_size):
                raise TraceError("trace: its grid or its codes are not those of its model.")
            pictures = [payload.png(picture) for picture in _pictures(trace, model)]
            atlas = self._atlas(payload.considered(trace.sampled, trace.top_codes), model)
        told = {name: trace.extras.get(name) for name in ("milliseconds", "verifier")}
        close = payload.close_message(key, atlas=atlas, **told)
        return payload.trace_messages(key, trace, pictures, self.baselines(recipe), close)

    def _atlas(self, codes: set[int], model: MaskedImageModel) -> Message | None:
        ordered = sorted(codes)
        return payload.atlas_message(ordered, model.cell, payload.strip(ordered, model)) if ordered else None

    def verdict(self, generation: Generation) -> Message | None:
        """What detector A and the verifier say of a finished picture, or None where they do not know its world."""
        if not models.adapter(generation.recipe.model).verified:
            return None
        self._judge = self._judge or Judge()
        (detection,) = self._judge.detect(generation.image[None])
        return findings.verdict(parse(generation.recipe.prompt).spec, detection)


@contextmanager
def told() -> Iterator[None]:
    """Turns what the method refuses into one sentence, with what its grammar suggests instead."""
    try:
        yield
    except (RecipeError, ScheduleError, CheckpointError, TraceError, FloatingPointError) as error:
        raise Refused(str(error), getattr(error.__cause__, "suggestions", ())) from error


def _files(generation: Generation) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Picture, trace and recipe of a finished decode. The files last until the one who asked has taken them."""
    data = generation.trace.to_bytes()
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / hashlib.sha256(data).hexdigest()[:20]
        image, trace = stem.with_suffix(".png"), stem.with_suffix(".trace")
        image.write_bytes(write_png(generation.image, generation.recipe))
        trace.write_bytes(data)
        yield str(image), str(trace), generation.recipe.model_dump(mode="json")


def _pictures(trace: Trace, model: MaskedImageModel) -> np.ndarray:
    """The whole guess of each step, uint8 [T, H, W, 3]."""
    return model.images(torch.from_numpy(trace.sampled.astype(np.int64))).numpy()
