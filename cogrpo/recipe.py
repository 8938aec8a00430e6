"""A request (what is asked for), a recipe (what was done, enough to do it again), and the recipe in a PNG."""

from __future__ import annotations

import hashlib
import io
import json
import math
import struct
import unicodedata
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from PIL import Image, PngImagePlugin
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cogrpo.noise import MOST_SEED
from cogrpo.schedule import MOST_STEPS, RANGES, Schedule, ScheduleError

VERSION = 1
CHUNK, SEAL = "cogrpo_recipe", "cogrpo_sha256"
LONGEST_PROMPT = 1000
LARGEST_FILE = 32 * 2**20  # bytes
LARGEST_SIDE = 4096  # pixels
PNG_SIZE = 16  # where width and height stand
PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
AUTO = "auto"


class RecipeError(ValueError):
    """A field that cannot be used; the message is one sentence: the field and what is allowed."""

    def __init__(self, field: str, message: str):
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class Request:
    """What somebody asks for, checked. Numbers may come as text, guidance empty. Raises RecipeError."""

    prompt: str
    seed: int = 0
    steps: int = 16
    schedule: str | Schedule = AUTO
    guidance: float | str | None = AUTO  # a number replaces the schedule's own column
    checkpoint: str = "champion"

    def __post_init__(self) -> None:
        values = {
            "prompt": check_prompt(self.prompt),
            "seed": whole("seed", self.seed, 0, MOST_SEED),
            "steps": whole("steps", self.steps, 1, MOST_STEPS),
            "guidance": check_guidance(self.guidance),
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not isinstance(self.schedule, (str, Schedule)) or self.schedule == "":
            raise RecipeError("schedule", "this is not allowed; give the name of a schedule or a table file.")
        if not isinstance(self.checkpoint, str) or not self.checkpoint.isprintable() or not self.checkpoint:
            raise RecipeError("checkpoint", "this is not allowed; give [MODEL:]NAME, such as emoji:baseline.")


def check_prompt(prompt: object) -> str:
    """The prompt with its white space tidied. HTML is plain text like any other. Raises RecipeError."""
    allowed = f"allowed are 1 to {LONGEST_PROMPT} printable characters."
    if not isinstance(prompt, str):
        raise RecipeError("prompt", f"this is not text; {allowed}")
    if len(prompt) > LONGEST_PROMPT:
        raise RecipeError("prompt", f"it has {len(prompt)} characters; {allowed}")
    if any(unicodedata.category(c) in ("Cc", "Cs", "Cn") and c not in "\t\r\n" for c in prompt):
        raise RecipeError("prompt", f"it holds a control character; {allowed}")
    if not prompt.strip():
        raise RecipeError("prompt", f"it is empty; {allowed}")
    return " ".join(prompt.split())


def check_guidance(value: object) -> float | Literal["auto"]:
    """`auto` (also for an empty field) or a scale from 0 to 20. Raises RecipeError."""
    if value is None or (isinstance(value, str) and value.strip() in ("", AUTO)):
        return AUTO
    low, high = RANGES["guidance_scale"]
    number = _number(value)
    if number is None or not low <= number <= high:
        allowed = f"allowed is 'auto' or a number from {low:g} to {high:g}."
        raise RecipeError("guidance", f"{_short(value)} is not allowed; {allowed}")
    return number


def whole(field: str, value: object, low: int, high: int) -> int:
    """A whole number, which may come as text. Raises RecipeError."""
    number = _number(value)
    if number is None or not number.is_integer() or not low <= number <= high:
        allowed = f"allowed are whole numbers from {low} to {high}."
        raise RecipeError(field, f"{_short(value)} is not allowed; {allowed}")
    return int(number)


class Recipe(BaseModel):
    """Everything that is needed to decode the same picture again."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    version: Literal[1] = VERSION
    prompt: Annotated[str, Field(min_length=1, max_length=LONGEST_PROMPT)]
    seed: Annotated[int, Field(ge=0, le=MOST_SEED)]
    steps: Annotated[int, Field(ge=1, le=MOST_STEPS)]
    schedule: str  # the name
    # [T, 4], the numbers really used; empty before a decode in which a policy acts them step by step.
    schedule_table: tuple[tuple[float, float, float, float], ...]
    interpolated: bool  # whether the table was made for another number of steps
    guidance: float | Literal["auto"]  # as asked for
    model: str
    checkpoint: str  # as asked for: an alias, a hash or a file name
    checkpoint_name: str  # what that was: 'baseline', an alias, or the beginning of the hash
    checkpoint_sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
    sampler_version: int
    block_rows: Annotated[int, Field(ge=1, le=1024)]
    precision: Literal["float32", "bfloat16"]
    torch: str
    unknown: tuple[str, ...] = ()  # words of the prompt that the model does not know

    def table(self) -> Schedule:
        """The schedule as used. Raises ScheduleError."""
        schedule = Schedule(self.schedule, self.schedule_table, self.interpolated)
        if schedule.steps != self.steps:
            raise ScheduleError(f"steps: the table has {schedule.steps} rows, but steps is {self.steps}.")
        return schedule

    @staticmethod
    def read(data: object) -> Recipe:
        """A recipe from its JSON form (text or the parsed object). Raises RecipeError."""
        try:
            recipe = Recipe.model_validate(json.loads(data) if isinstance(data, (str, bytes)) else data)
            check_prompt(recipe.prompt)
            recipe.table()
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(map(str, first["loc"])) or "recipe"
            raise RecipeError(field, f"{first['msg'][0].lower()}{first['msg'][1:]}.") from error
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RecipeError("recipe", "this is not JSON; a recipe is what this program wrote.") from error
        except ScheduleError as error:
            raise RecipeError("schedule_table", str(error)) from error
        return recipe


def picture_hash(image: np.ndarray) -> str:
    """sha256 of the pixels, uint8 [H, W, 3], row by row: the same for every way to compress them."""
    return hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()


def write_png(image: np.ndarray, recipe: Recipe) -> bytes:
    """A PNG of uint8 [H, W, 3] that carries its recipe, and a seal over recipe and pixels."""
    text = recipe.model_dump_json()
    info = PngImagePlugin.PngInfo()
    info.add_itxt(CHUNK, text)
    info.add_itxt(SEAL, _seal(text, image))
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", pnginfo=info)
    return buffer.getvalue()


def read_png(data: bytes) -> tuple[np.ndarray, Recipe]:
    """Pixels uint8 [H, W, 3] and recipe. Raises RecipeError for a foreign, truncated or tampered file."""
    if len(data) > LARGEST_FILE:
        raise RecipeError("file", f"it is larger than the allowed {LARGEST_FILE >> 20} MB.")
    if data.startswith(b"GIF8"):
        raise RecipeError("file", "a GIF carries no recipe; open the PNG or the trace of the same picture.")
    try:
        if not data.endswith(PNG_END):  # Pillow forgives a file that lacks its last bytes
            raise EOFError
        # Before Pillow sees it, which warns of a large header or refuses it in its own words.
        if max(struct.unpack_from(">II", data, PNG_SIZE)) > LARGEST_SIDE:
            raise RecipeError("file", f"it is larger than the allowed {LARGEST_SIDE} pixels a side.")
        with Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            mode, text = picture.mode, picture.text
            image = np.asarray(picture.convert("RGB"))
    except RecipeError:
        raise
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error) as error:
        raise RecipeError("file", "this is no PNG or trace, or it is damaged or cut short.") from error
    if CHUNK not in text or SEAL not in text:
        raise RecipeError("file", "this PNG carries no recipe; only pictures saved by this program do.")
    if mode != "RGB" or text[SEAL] != _seal(text[CHUNK], image):
        raise RecipeError("file", "the pixels or the recipe of this PNG were changed after it was written.")
    return image, Recipe.read(str(text[CHUNK]))


def read_file(path: Path, largest: int) -> bytes:
    """The bytes of a small file. Raises RecipeError where it is missing or too large."""
    try:
        if path.stat().st_size > largest:
            raise RecipeError("file", f"{path.name or path} is larger than the allowed {largest >> 20} MB.")
        return path.read_bytes()
    except OSError as error:
        raise RecipeError(
            "file", f"{path.name or path} cannot be read; allowed are .png and .trace files."
        ) from error


def _seal(text: str, image: np.ndarray) -> str:
    height, width, _ = image.shape
    return hashlib.sha256(f"{text}\n{width}x{height}\n{picture_hash(image)}".encode()).hexdigest()


def _number(value: object) -> float | None:
    """A finite float, or None."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)) or "_" in str(value):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
