"""The engine: the only holder of weights in the app. Page, API and command line all call
`Engine.generate`."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch

from cogrpo import models, schedules
from cogrpo.decode import BLOCK_ROWS, SAMPLER_VERSION, Step, decode
from cogrpo.device import probe
from cogrpo.exploration import MeanActor
from cogrpo.files import opened
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import SchedulePolicy
from cogrpo.recipe import AUTO, Recipe, RecipeError, Request, picture_hash
from cogrpo.registry import Checkpoint, Registry, own_policy
from cogrpo.schedule import Schedule
from cogrpo.trace import Trace, TraceError

MOST_MODELS = 2  # held in memory at once
TOLERANCE = 0.01  # nats by which a replayed log-probability may differ on another machine


@dataclass(frozen=True)
class Update:
    """One step of the requests `rows`."""

    rows: tuple[int, ...]  # row i of `step` belongs to request rows[i]
    step: Step
    model: MaskedImageModel

    def images(self) -> np.ndarray:
        """The whole guess of each row, hidden positions included, uint8 [rows, H, W, 3]."""
        return np.stack([_picture(self.model, tokens) for tokens in self.step.sampled])


@dataclass(frozen=True)
class Generation:
    """A finished row."""

    row: int
    recipe: Recipe
    trace: Trace
    image: np.ndarray  # uint8 [H, W, 3]
    milliseconds: float  # of sampling, for all rows decoded together with this one


class Engine:
    """Turns requests into pictures. Safe to share between threads: calls take turns step by step."""

    def __init__(
        self,
        registry: Registry | None = None,
        precision: str | None = None,
        block_rows: int = BLOCK_ROWS,
    ) -> None:
        self.registry = Registry() if registry is None else registry
        self.precision = probe().name if precision is None else precision
        self._asked = precision
        self.device = torch.get_default_device().type  # where weights lie once they are loaded
        self.block_rows = block_rows
        self.busy: Callable[[], AbstractContextManager[object]] = (
            nullcontext  # entered while something is decoded
        )
        self._models: OrderedDict[tuple[str, str, str], MaskedImageModel] = OrderedDict()
        self._network = threading.Lock()
        self._loading = threading.Lock()

    def prepare(self, request: Request) -> Recipe:
        """What will be done for a request. Raises RecipeError, ScheduleError or CheckpointError.

        Where a policy that reads the state will act, the table is empty: its numbers are known only step by step, and
        the recipe of the finished Generation holds them."""
        checkpoint = self.registry.resolve(request.checkpoint)
        unknown = self._unknown_words(checkpoint.model, request.prompt)
        policy = own_policy(self.registry, request.schedule, checkpoint)
        acts = policy is not None and policy.config.body == "state"
        schedule = (
            policy.base_schedule(request.steps) if acts else self._schedule(request, checkpoint, policy)
        )
        return Recipe(
            prompt=request.prompt,
            seed=request.seed,
            steps=request.steps,
            schedule=schedules.LEARNED if acts else schedule.name,
            schedule_table=() if acts else schedule.table.tolist(),
            interpolated=schedule.interpolated,
            guidance=request.guidance,
            model=checkpoint.model,
            checkpoint=checkpoint.asked,
            checkpoint_name=checkpoint.name,
            checkpoint_sha256=checkpoint.sha256,
            sampler_version=SAMPLER_VERSION,
            block_rows=self.block_rows,
            precision=self._precision(checkpoint.model),
            torch=torch.__version__,
            unknown=unknown,
        )

    def generate(
        self, requests: Sequence[Request], cancel: threading.Event | None = None
    ) -> Iterator[Update | Generation]:
        """Decode requests together: an Update for each step, then one Generation a request, in their order.

        After `cancel` is set no further step is begun and no Generation comes.
        Raises what `prepare` raises, before any work.
        """
        return self.decode([self.prepare(request) for request in requests], cancel)

    def decode(
        self, recipes: Sequence[Recipe], cancel: threading.Event | None = None
    ) -> Iterator[Update | Generation]:
        """As `generate`, from recipes. Rows of one checkpoint share the forward passes, but not those whose policy acts
        with those that have a table."""
        groups: dict[tuple[object, ...], list[int]] = {}
        for row, recipe in enumerate(recipes):
            acts = not recipe.schedule_table
            key = (recipe.model, recipe.checkpoint_sha256, recipe.precision, recipe.block_rows, acts)
            groups.setdefault(key, []).append(row)
        with self.busy():
            runs = [_Run(self, rows, [recipes[row] for row in rows], cancel) for rows in groups.values()]
            for updates in zip_longest(*runs):
                yield from (update for update in updates if update is not None)
        if cancel is None or not cancel.is_set():
            finished = [generation for run in runs for generation in run.generations()]
            yield from sorted(finished, key=lambda generation: generation.row)

    def replay(self, path: Path) -> str:
        """Decode a PNG or trace again from its recipe: 'identical', or 'differs: ...' with the first place.

        Raises RecipeError, TraceError or CheckpointError where the file or its weights cannot be used.
        """
        file = opened(path)
        again = self._again(file.recipe)
        if file.trace is None:
            found = _first_pixel(file.image, again.image)
        else:
            found = first_difference(file.trace, again.trace)
        return "identical" if found is None else f"differs: {found}"

    def model(self, recipe: Recipe) -> MaskedImageModel:
        """The loaded weights of a recipe. Raises CheckpointError."""
        key = (recipe.model, recipe.checkpoint_sha256, recipe.precision)
        with self._loading:
            if key not in self._models:
                self._models[key] = self.registry.load(self.registry.recall(recipe), recipe.precision)
            self._models.move_to_end(key)
            while len(self._models) > MOST_MODELS:
                self._models.popitem(last=False)
            return self._models[key]

    def actor(self, recipes: Sequence[Recipe]) -> MeanActor:
        """What acts the schedules of recipes of one checkpoint that have no table. Raises CheckpointError."""
        told = self.registry.trained(self.registry.recall(recipes[0]))
        guidance = [None if recipe.guidance == AUTO else recipe.guidance for recipe in recipes]
        return MeanActor(told.policy, [recipe.steps for recipe in recipes], guidance)

    def _unknown_words(self, model: str, prompt: str) -> tuple[str, ...]:
        """Raises RecipeError where the model can read nothing in a prompt."""
        try:
            return self.registry.unknown_words(model, prompt)
        except ValueError as error:
            raise RecipeError("prompt", str(error)) from error

    def _precision(self, model: str) -> str:
        return self._asked or models.adapter(model).precision(self.precision)

    def _schedule(self, request: Request, checkpoint: Checkpoint, policy: SchedulePolicy | None) -> Schedule:
        if isinstance(request.schedule, Schedule):
            schedule = request.schedule.resampled(request.steps)
        else:
            folders = (self.registry.data, schedules.CONFIGS)
            learned = None if policy is None else policy.mean_schedule(request.steps)
            schedule = schedules.resolve(request.schedule, request.steps, checkpoint.model, folders, learned)
        return schedule if request.guidance == AUTO else schedule.with_guidance(request.guidance)

    def _again(self, recipe: Recipe) -> Generation:
        if recipe.sampler_version != SAMPLER_VERSION:
            raise RecipeError(
                "sampler_version", f"this file is of {recipe.sampler_version}, not {SAMPLER_VERSION}."
            )
        self._unknown_words(recipe.model, recipe.prompt)
        *_, generation = self.decode([recipe])
        return generation


class _Run:
    """The decode of the rows that share a checkpoint; iterating it yields the updates."""

    def __init__(
        self, engine: Engine, rows: Sequence[int], recipes: Sequence[Recipe], cancel: threading.Event | None
    ) -> None:
        self.rows, self.recipes, self.lock = tuple(rows), recipes, engine._network
        self.model = engine.model(recipes[0])
        self.actor = None if recipes[0].schedule_table else engine.actor(recipes)
        self.steps: list[Step] = []
        self.milliseconds = 0.0
        self._decode = self._begin(recipes[0].block_rows, cancel)

    def _begin(self, block_rows: int, cancel: threading.Event | None) -> Iterator[Step]:
        condition = self.model.condition([recipe.prompt for recipe in self.recipes])
        acts = self.actor is not None
        tables = self.actor.schedules if acts else [recipe.table() for recipe in self.recipes]
        seeds = [recipe.seed for recipe in self.recipes]
        yield from decode(self.model, condition, tables, seeds, block_rows, cancel, self.actor)

    def __iter__(self) -> Iterator[Update]:
        while True:
            with self.lock:
                start = time.perf_counter()
                step = next(self._decode, None)
                self.milliseconds += (time.perf_counter() - start) * 1e3
            if step is None:
                return
            self.steps.append(step)
            yield Update(self.rows, step, self.model)

    def generations(self) -> Iterator[Generation]:
        for place, row in enumerate(self.rows):
            image = _picture(self.model, self.steps[-1].sampled[place])
            recipe = self._recipe(place)
            told = recipe.model_dump(mode="json")
            size = (self.model.grid, self.model.vocab_size)
            trace = Trace.of(self.steps, place, told, *size, picture_hash(image))
            yield Generation(row, recipe, trace, image, self.milliseconds)

    def _recipe(self, place: int) -> Recipe:
        """With the schedule as it was acted, which a replay plays from the table, without the policy.

        That gives the same bits. The conditional branch is a call of its own with one shape, whether or not the other
        runs. The other runs for every row that is acted, because its scale is not known before; from the table it does
        not run where the scale is 1 in the whole block, and `guide` takes the conditional branch as it is there anyway.
        """
        recipe = self.recipes[place]
        if self.actor is None:
            return recipe
        acted = [step.schedule[place].tolist() for step in self.steps[: recipe.steps]]
        return Recipe.model_validate({**recipe.model_dump(), "schedule_table": acted})


def first_difference(trace: Trace, again: Trace) -> str | None:
    """The first place, in the order of the decode, where two traces of one recipe differ, or None."""
    if (trace.grid, trace.steps, trace.vocab_size) != (again.grid, again.steps, again.vocab_size):
        raise TraceError("trace: its grid, steps or number of codes are not those of its recipe.")
    columns = trace.grid[1]
    kept = (trace.kept_step != again.kept_step)[None] & (trace.kept | again.kept)
    odds = np.abs(trace.token_logprob - again.token_logprob) > TOLERANCE
    table = trace.schedule != again.schedule
    for step in range(trace.steps):
        if table[step].any():
            return (
                f"step {step}, schedule: {trace.schedule[step].tolist()}, not {again.schedule[step].tolist()}"
            )
        for wrong, told, array, other in (
            (trace.sampled[step] != again.sampled[step], "code", trace.sampled[step], again.sampled[step]),
            (kept[step], "kept at step", trace.kept_step, again.kept_step),
            (odds[step], "log-probability", trace.token_logprob[step], again.token_logprob[step]),
        ):
            if wrong.any():
                at = int(wrong.argmax())
                place = f"step {step}, row {at // columns}, column {at % columns}"
                return f"{place}: {told} {array[at]}, not {other[at]}"
    return None if trace.image_sha256 == again.image_sha256 else "the picture's hash"


def _first_pixel(image: np.ndarray, again: np.ndarray) -> str | None:
    if image.shape != again.shape:
        return (
            f"picture of {image.shape[1]} x {image.shape[0]} pixels, not {again.shape[1]} x {again.shape[0]}"
        )
    wrong = np.argwhere((image != again).any(axis=2))
    if not len(wrong):
        return None
    y, x = wrong[0]
    return f"pixel row {y}, column {x}: colour {image[y, x].tolist()}, not {again[y, x].tolist()}"


def _picture(model: MaskedImageModel, tokens: torch.Tensor) -> np.ndarray:
    """Pixels of one row, always a call of one row: the same bits whoever else is decoded."""
    return model.images(tokens[None])[0].numpy()
