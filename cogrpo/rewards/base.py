"""The contract of a reward: a number for a picture and the prompt that it was made for."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

import torch
from pydantic import Field
from torch import Tensor

from cogrpo.config import Config

BLOCK = 16  # rows of one call of a reward's network


class RewardError(ValueError):
    """A reward, or a mix of rewards, that cannot be used; the message is one sentence that names it."""


@dataclass(frozen=True)
class Context:
    """What a reward is told beside pictures and prompts.

    pictures: sha256 of each picture's pixels (`recipe.picture_hash`), by which votes and traces are found.
    """

    pictures: tuple[str, ...]


class Reward(Protocol):
    """A score must depend on picture and prompt alone, for it is kept under their hashes, `name` and `version`."""

    name: str
    version: str  # changes whenever a score could
    range: tuple[float, float]  # lowest and highest score
    # May be left out, for 1: a difference of scores that is as large for this reward as 1 is for a verifier. The floors
    # of the spread (`grpo.advantages`) are told in it, or they would take a reward of small numbers for constant.
    unit: float

    def __call__(self, images: Tensor, prompts: Sequence[str], context: Context) -> Tensor:
        """images uint8 [B, H, W, 3]; returns float [B], higher is better."""


class Placement(Config):
    """Where the networks of large rewards run, in a round's configuration (`reward_placement:`)."""

    # `auto` is cuda where there is one.
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    dtype: Literal["float32", "bfloat16"] = "float32"
    rows: Annotated[int, Field(ge=1)] = 8  # pictures of one call of the network
    park: bool = False  # whether the network waits in the CPU's memory while it is not asked


class NamedErrors(AbstractContextManager[None]):
    """Whatever goes wrong in a reward comes out as a RewardError that names it; an interrupt passes unchanged."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, RewardError):
            what = " ".join(str(error).split()).rstrip(".") or type(error).__name__
            raise RewardError(f"reward: {self.name!r} failed: {what}.") from error


def file_version(path: Path) -> str:
    """The version of a reward that is made by a file of weights: the first 12 digits of its sha256.

    Raises RewardError where the file is missing.
    """
    if not path.is_file():
        raise RewardError(
            f"reward: its weights {path.name} are missing; train them with cogrpo.emoji.pretrain."
        )
    return _digest(path)[:12]


def files_version(paths: Sequence[Path]) -> str:
    """The version of a reward that is made by several files, as `file_version`. Raises OSError."""
    return hashlib.sha256("".join(map(_digest, paths)).encode()).hexdigest()[:12]


def _digest(path: Path) -> str:
    with path.open("rb") as file:  # never whole in memory: a published file has gigabytes
        return hashlib.file_digest(file, "sha256").hexdigest()


def blocks(rows: int, size: int = BLOCK) -> Iterator[tuple[Tensor, int]]:
    """Indices int64 [size] that cover `rows` in turn, and how many of them count; the last row pads.

    A network that is always called with one shape gives a picture the same bits whatever else is scored with it,
    so a run that goes on with half of its scores in the cache ends as one that was never stopped.
    """
    for start in range(0, rows, size):
        yield torch.arange(start, start + size).clamp(max=rows - 1), min(size, rows - start)
