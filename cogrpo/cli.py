"""The command line: `python -m cogrpo sample|inspect|replay|evaluate`, and the training side of `cli_training`.

Exit codes: 0 done, 1 a prompt was refused or a replay differs, 2 an argument or a file cannot be used.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from cogrpo import cli_training, models, schedules
from cogrpo.device import PrecisionError
from cogrpo.engine import Engine, Generation
from cogrpo.files import opened
from cogrpo.noise import MOST_SEED
from cogrpo.recipe import Recipe, RecipeError, Request, whole, write_png
from cogrpo.registry import CheckpointError
from cogrpo.schedule import Schedule, ScheduleError
from cogrpo.trace import Trace, TraceError, write_atomically

# FloatingPointError: weights that return NaN.
REFUSED = (
    *(RecipeError, ScheduleError, CheckpointError, TraceError, PrecisionError, FloatingPointError),
    *cli_training.REFUSED,
)
MOST_BATCH, MOST_SEEDS = 256, 10_000
HEADINGS = (
    "step", "decoded", "hidden", "remask_ratio", "sampling_temperature", "remask_temperature",
    "guidance_scale", "entropy", "clamped",
)  # fmt: skip


def main(argv: Sequence[str] | None = None, engine: Engine | None = None, judge: object = None) -> int:
    """Run one command; returns the exit code. `engine`, `judge`: for callers who hold them already."""
    asked = _parser().parse_args(argv)
    try:
        return asked.run(asked, engine, judge)
    except REFUSED as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        print(f"error: {where}{error.strerror or error}.", file=sys.stderr)
        return 2


def sample(asked: argparse.Namespace, engine: Engine | None, judge: object) -> int:
    batch = whole("batch", asked.batch, 1, MOST_BATCH)
    count = whole("n", asked.n, 1, MOST_SEEDS)
    first = Request("check", seed=asked.seed, steps=asked.steps, guidance=asked.guidance)
    whole("seed", first.seed + count - 1, 0, MOST_SEED)
    schedule = _schedule(asked.schedule)
    engine = engine or Engine()
    engine.registry.resolve(asked.checkpoint)
    if isinstance(schedule, str) and schedule != schedules.LEARNED:  # which only the checkpoint can tell
        schedules.resolve(schedule, first.steps)
    jobs: list[Recipe | dict[str, str]] = []
    for prompt in asked.prompts:
        try:
            for seed in range(first.seed, first.seed + count):
                request = Request(prompt, seed, first.steps, schedule, first.guidance, asked.checkpoint)
                jobs.append(engine.prepare(request))
        except RecipeError as error:
            jobs.append({"prompt": prompt, "error": str(error)})
    results = _results(engine, judge, [job for job in jobs if isinstance(job, Recipe)], batch)
    number = 0
    for job in jobs:
        line = job
        if isinstance(job, Recipe):
            made = next(results)
            asked.out.mkdir(parents=True, exist_ok=True)  # not before there is something to keep
            line = _write(*made, asked.out, number)
            number += 1
        print(json.dumps(line, ensure_ascii=False), flush=True)
    return int(number < len(jobs))


def inspect(asked: argparse.Namespace, engine: Engine | None, judge: object) -> int:
    file = opened(asked.file)
    recipe = file.recipe
    if file.trace is not None:
        rows = _table(file.trace)
    else:
        blank = [[step, "", "", *values, "", ""] for step, values in enumerate(recipe.schedule_table)]
        rows = [[_short(cell) for cell in row] for row in blank]
    if asked.csv:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([HEADINGS, *rows])
        print(text.getvalue(), end="")
        return 0
    for name, value in recipe.model_dump(mode="json", exclude={"schedule_table"}).items():
        print(f"{name}: {value}")
    print()
    names = ("step", "decoded", "hidden", "r", "tau_s", "tau_r", "s", "entropy", "clamped")
    for row in [names, *rows]:
        print("  ".join(f"{cell:>8}" for cell in row))
    return 0


def replay(asked: argparse.Namespace, engine: Engine | None, judge: object) -> int:
    verdict = (engine or Engine()).replay(asked.file)
    print(verdict)
    return int(verdict != "identical")


def evaluate(asked: argparse.Namespace, engine: Engine | None, judge: object) -> int:
    from cogrpo.emoji.prompts import PER_CATEGORY, load
    from cogrpo.evaluation import emoji as suite

    if asked.split not in PER_CATEGORY:
        raise RecipeError("split", f"{asked.split!r} is unknown; allowed are {', '.join(PER_CATEGORY)}.")
    batch, seeds = whole("batch", asked.batch, 1, MOST_BATCH), whole("seeds", asked.seeds, 1, MOST_SEEDS)
    prompts = load(asked.split)
    if asked.limit is not None:
        prompts = prompts[: whole("limit", asked.limit, 1, len(prompts))]
    schedule, engine, judge = _schedule(asked.schedule), engine or Engine(), judge or suite.Judge()
    checkpoint = asked.checkpoint if ":" in asked.checkpoint else f"{asked.model}:{asked.checkpoint}"

    def make(prompt: str, seed: int) -> Request:
        return Request(prompt, seed, asked.steps, schedule, asked.guidance, checkpoint)

    recipe = engine.prepare(make(prompts[0].prompt, 0))
    figures, sheet = suite.evaluate(engine, judge, prompts, make, seeds, batch)
    kept = (
        "model",
        "checkpoint_name",
        "checkpoint_sha256",
        "steps",
        "schedule",
        "schedule_table",
        "interpolated",
    )
    told = recipe.model_dump(mode="json", include={*kept, "guidance", "precision", "block_rows"})
    report = {"suite": asked.suite, "split": asked.split, "seeds": seeds, **told, **figures}
    if asked.json is not None:
        picture = io.BytesIO()
        sheet.save(picture, "PNG")
        asked.json.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(asked.json.with_suffix(".png"), picture.getvalue())
        report["contact_sheet"] = str(asked.json.with_suffix(".png"))
        write_atomically(asked.json, json.dumps(report, ensure_ascii=False, indent=1).encode())
    for name, strict in figures["strict"].items():
        partial = figures["partial"][name]
        cells = (f"{f['mean']:.3f} [{f['low']:.3f}, {f['high']:.3f}]" for f in (strict, partial))
        print(f"{name:<16} strict {'  partial '.join(cells)}")
    print(f"{figures['pictures']} pictures, {figures['pictures_per_second']} pictures/s")
    return 0


def _results(
    engine: Engine, judge: object, recipes: Sequence[Recipe], batch: int
) -> Iterator[tuple[Generation, dict[str, object] | None]]:
    """Finished pictures with what the verifier says of them, decoded `batch` at a time."""
    for start in range(0, len(recipes), batch):
        part = recipes[start : start + batch]
        done = [item for item in engine.decode(part) if isinstance(item, Generation)]
        judge = judge or _judge(part[0].model)
        verdicts: list[dict[str, object] | None] = [None] * len(done)
        if judge is not None:
            scores = judge.score_prompts(np.stack([g.image for g in done]), [g.recipe.prompt for g in done])
            verdicts = [{"strict": bool(s.strict), "soft": round(float(s.soft), 4)} for s in scores]
        yield from zip(done, verdicts, strict=True)


def _judge(model: str) -> object:
    """The verifier of a model's world, or None where there is none."""
    if not models.adapter(model).verified:
        return None
    from cogrpo.emoji.judge import Judge

    return Judge()


def _write(
    generation: Generation, verdict: dict[str, object] | None, out: Path, number: int
) -> dict[str, object]:
    recipe = generation.recipe
    image, trace = out / f"{number:04}.png", out / f"{number:04}.trace"
    write_atomically(image, write_png(generation.image, recipe))
    generation.trace.save(trace)
    return {
        "prompt": recipe.prompt,
        "seed": recipe.seed,
        "steps": recipe.steps,
        "schedule": recipe.schedule,
        "guidance": recipe.guidance,
        "checkpoint": recipe.checkpoint_name,
        "image": str(image),
        "trace": str(trace),
        "verifier": verdict,
        "unknown": list(recipe.unknown),
    }


def _table(trace: Trace) -> list[list[str]]:
    decoded = trace.kept.sum(axis=1)
    hidden = len(trace.tokens) - decoded.cumsum()
    columns = zip(decoded, hidden, trace.schedule, trace.entropy, trace.clamped, strict=True)
    return [
        [_short(cell) for cell in (step, kept, left, *schedule, entropy, clamped)]
        for step, (kept, left, schedule, entropy, clamped) in enumerate(columns)
    ]


def _short(cell: object) -> str:
    return cell if isinstance(cell, str) else f"{float(cell):.6g}"


def _schedule(name: str) -> str | Schedule:
    """A table file is read here: on the command line the user may name any file that the user may read."""
    is_file = name not in schedules.available() and name.lower().endswith((".json", ".csv"))
    return schedules.read(Path(name)) if is_file else name


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cogrpo", description="Sample, look at, replay and score pictures.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    names = ", ".join(schedules.available())

    # Numbers arrive as text, so that a wrong one is refused by the same sentence as in the page and the API.
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--steps", default="16", help="1 to 64")
    shared.add_argument(
        "--schedule", default="auto", help=f"auto, learned, {names}, or a .json or .csv table"
    )
    shared.add_argument(
        "--guidance", default="auto", help="auto (the schedule's own column) or a scale, 0 to 20"
    )
    shared.add_argument(
        "--checkpoint", default="champion", help="[MODEL:]NAME, NAME an alias, a hash or a file"
    )
    shared.add_argument("--batch", default="16", help="pictures decoded together")

    command = commands.add_parser("sample", parents=[shared], help="make pictures")
    command.add_argument("prompts", nargs="+", metavar="PROMPT")
    command.add_argument("--seed", default="0", help="of the first picture of a prompt, 0 to 4294967295")
    command.add_argument("--n", default="1", help="pictures a prompt, with consecutive seeds")
    command.add_argument(
        "--out", type=Path, default=Path("samples"), help="folder for NNNN.png and NNNN.trace"
    )
    command.set_defaults(run=sample)

    command = commands.add_parser("inspect", help="print the recipe and the steps of a PNG or trace")
    command.add_argument("file", type=Path)
    command.add_argument("--csv", action="store_true", help="only the table of steps, comma separated")
    command.set_defaults(run=inspect)

    command = commands.add_parser("replay", help="decode a PNG or trace again and compare")
    command.add_argument("file", type=Path)
    command.set_defaults(run=replay)

    command = commands.add_parser("evaluate", parents=[shared], help="score a suite of prompts")
    command.add_argument("suite", choices=["emoji"], metavar="SUITE", help="emoji")
    command.add_argument("--model", default="emoji", choices=models.available())
    command.add_argument("--split", default="test", help="train, validation or test")
    command.add_argument("--seeds", default="1", help="pictures a prompt, each with a seed of its own")
    command.add_argument("--limit", help="only the first prompts of the split")
    command.add_argument(
        "--json", type=Path, help="where the figures go; the contact sheet beside it as .png"
    )
    command.set_defaults(run=evaluate)
    cli_training.add_commands(commands)
    return parser
