"""Checkpoints: folders of files under a manifest of hashes.

A folder is written under a temporary name, flushed, and renamed; its manifest is written last. So a folder with the
final name is whole, whenever the process was killed, and a reader can tell whether it still is. The same files give
the same hash: nothing is added that tells when or where they were written.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

VERSION = 1
TENSORS, FACTS, MANIFEST = "tensors.safetensors", "facts.json", "manifest.json"
KEPT = 2  # the latest checkpoints of a run that stay on disk
_NAME = re.compile(r"round-(\d{6})")


class CheckpointFileError(ValueError):
    """A checkpoint that cannot be used; the message is one sentence that names it."""


def write_folder(final: Path, fill: Callable[[Path], None]) -> str:
    """Let `fill` write the files of a folder, then give it its name; returns its hash, that of the manifest.

    A folder of that name is replaced. Raises OSError where the place is read-only or full.
    """
    temporary, replaced = (final.with_name(f".{final.name}.{what}") for what in ("writing", "replaced"))
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        fill(temporary)
        manifest = {path.name: _sha256(path) for path in sorted(temporary.iterdir())}
        text = json.dumps(manifest, sort_keys=True, indent=1)
        (temporary / MANIFEST).write_text(text)
        for path in (*temporary.iterdir(), temporary):
            _flush(path)
        if final.exists():
            shutil.rmtree(replaced, ignore_errors=True)
            final.rename(replaced)
        temporary.rename(final)
    except SafetensorError as error:  # how safetensors tells of a full disk
        raise OSError(errno.EIO, " ".join(str(error).split()), str(final)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    _flush(final.parent)
    shutil.rmtree(replaced, ignore_errors=True)
    return hashlib.sha256(text.encode()).hexdigest()


def check_folder(path: Path) -> str:
    """The hash of a folder that holds the files of its manifest and no other. Raises CheckpointFileError."""
    try:
        raw = (path / MANIFEST).read_bytes()
        hashes = dict(json.loads(raw))
        foreign = sorted({file.name for file in path.iterdir()} - {MANIFEST, *hashes})
        wrong = [name for name, sha256 in hashes.items() if _sha256(path / name) != sha256]
    except OSError as error:
        raise CheckpointFileError(
            f"checkpoint: {error.filename} cannot be read ({error.strerror})."
        ) from error
    except (ValueError, TypeError) as error:
        raise CheckpointFileError(f"checkpoint: the manifest of {path} is damaged.") from error
    if foreign:
        raise CheckpointFileError(f"checkpoint: {path}/{foreign[0]} is not in the manifest.")
    if wrong:
        raise CheckpointFileError(
            f"checkpoint: {path}/{wrong[0]} is damaged; its hash is not the manifest's."
        )
    return hashlib.sha256(raw).hexdigest()


@dataclass(frozen=True)
class Saved:
    """The state of a run as read from disk."""

    tensors: dict[str, Tensor]
    facts: dict[str, Any]


def save(run: Path, round: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `run/round-NNNNNN` and delete all but the latest `KEPT`. Raises OSError."""

    def fill(folder: Path) -> None:
        save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, folder / TENSORS)
        (folder / FACTS).write_text(json.dumps({"version": VERSION, **facts}, sort_keys=True, indent=1))

    write_folder(run / f"round-{round:06d}", fill)
    for old in _rounds(run)[:-KEPT]:
        shutil.rmtree(old)


def load(path: Path) -> Saved:
    """Read what `save` wrote and check every hash. Raises CheckpointFileError."""
    check_folder(path)
    try:
        facts = json.loads((path / FACTS).read_bytes())
        tensors = load_file(path / TENSORS)
    except (OSError, ValueError, SafetensorError) as error:
        raise CheckpointFileError(f"checkpoint: {path} holds no state of a run.") from error
    if facts.get("version") != VERSION:
        raise CheckpointFileError(f"checkpoint: {path} is of version {facts.get('version')}, not {VERSION}.")
    return Saved(tensors, facts)


def latest_round(run: Path) -> int:
    """The number of the last finished checkpoint's round, 0 where there is none yet."""
    last = latest(run)
    return 0 if last is None else int(_NAME.fullmatch(last.name)[1])


def latest(run: Path) -> Path | None:
    """The last finished checkpoint of a run, or None where it has none yet."""
    rounds = _rounds(run)
    return rounds[-1] if rounds else None


def _rounds(run: Path) -> list[Path]:
    return sorted(path for path in run.glob("round-*") if _NAME.fullmatch(path.name))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flush(path: Path) -> None:
    """Ask the disk to hold what was written; of a folder, its entries."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
