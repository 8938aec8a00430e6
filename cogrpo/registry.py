"""Which weights a checkpoint's name means: `[MODEL:]NAME` to a file, its hash and its canonical name.

NAME is `baseline` (the shipped weights), another alias from `aliases.json` in the data folder, the first 8 or more
digits of a sha256, or a path to a .safetensors file or to a candidate's folder. Where that file does not say what
`champion` is, it is the candidate in the folder `champion` beside the shipped weights, and without one the baseline.

A candidate is weights *and* schedule, so its hash is that of its folder's manifest; the hash of loose weights is the
file's.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cogrpo import candidate
from cogrpo.candidate import Candidate
from cogrpo.checkpoint import MANIFEST, TENSORS, CheckpointFileError, check_folder
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import SchedulePolicy
from cogrpo.recipe import Recipe
from cogrpo.schedules import AUTO, LEARNED

SHIPPED = {"emoji": Path(__file__).parent / "emoji" / "weights" / "model.safetensors"}
BASELINE, CHAMPION = "baseline", "champion"
SUFFIX = ".safetensors"


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message is one sentence."""


@dataclass(frozen=True)
class Checkpoint:
    model: str
    path: Path
    sha256: str
    name: str  # canonical: 'baseline', an alias, or the first 12 digits of the hash
    asked: str  # as the user wrote it, without the model


def data_folder() -> Path:
    """Where this installation keeps its data: the setting STUDIO_DATA, else ./data."""
    return Path(os.environ.get("STUDIO_DATA") or "data")


class Registry:
    """Finds and loads weights. `data`: the data folder (aliases.json; candidates and loose weights in checkpoints/)."""

    def __init__(self, data: Path | None = None) -> None:
        self.data = data_folder() if data is None else data
        self._candidates: dict[str, Candidate] = {}
        self._hashes: dict[tuple[Path, int, int], str] = {}

    def resolve(self, asked: str) -> Checkpoint:
        """Raises CheckpointError for a name, a hash or a path that means no usable file."""
        model, separator, name = asked.partition(":")
        if not separator:
            model, name = "emoji", asked
        if model not in SHIPPED:
            raise CheckpointError(f"checkpoint: {model!r} is no model; allowed are {', '.join(SHIPPED)}.")
        aliases = self._aliases(model)
        if name == CHAMPION and CHAMPION not in aliases and _shipped_champion(model).is_file():
            return self._checkpoint(model, _shipped_champion(model), CHAMPION, name)
        if name == BASELINE or (name == CHAMPION and CHAMPION not in aliases):
            return self._checkpoint(model, SHIPPED[model], BASELINE, name)
        if name in aliases:
            return replace(self._by_hash(model, aliases[name]), name=name, asked=name)
        if _is_path(name):
            path = self._allowed(_weights(Path(name)))
            return self._checkpoint(model, path, None, name)
        if re.fullmatch("[0-9a-f]{8,64}", name):
            return self._by_hash(model, name)
        known = ", ".join(dict.fromkeys([BASELINE, CHAMPION, *aliases]))
        allowed = f"{known}, 8 or more digits of a sha256, a {SUFFIX} file or a folder"
        raise CheckpointError(f"checkpoint: {name!r} is unknown; allowed are {allowed}.")

    def at(self, path: Path, model: str = "emoji") -> Checkpoint:
        """The weights in a file or a candidate's folder, wherever it lies: for those whose machine it is.

        Raises CheckpointError."""
        return self._checkpoint(model, _weights(path), None, str(path))

    def recall(self, recipe: Recipe) -> Checkpoint:
        """The weights that made a recipe, by their hash, wherever its aliases point today."""
        try:
            return self._by_hash(recipe.model, recipe.checkpoint_sha256)
        except CheckpointError:
            if _is_path(recipe.checkpoint):
                named = self.resolve(f"{recipe.model}:{recipe.checkpoint}")
                if named.sha256 == recipe.checkpoint_sha256:
                    return named
            raise

    def load(self, checkpoint: Checkpoint, precision: str) -> MaskedImageModel:
        """Raises CheckpointError where the file holds no weights of the model, or is damaged."""
        from cogrpo.models.emoji import (
            EmojiModel,
        )  # the only adapter so far; heavy, so not before it is needed

        try:
            if _in_candidate(checkpoint.path):
                check_folder(checkpoint.path.parent)
            return EmojiModel.load(checkpoint.path, precision)
        except CheckpointFileError as error:
            raise CheckpointError(str(error)) from error
        except (ValueError, LookupError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"checkpoint: {checkpoint.path.name} holds no usable weights.") from error

    def trained(self, checkpoint: Checkpoint) -> Candidate | None:
        """The candidate whose weights these are, with its schedule policy, or None for loose weights.

        Raises CheckpointError where it is damaged, or was replaced since it was resolved."""
        if not _in_candidate(checkpoint.path):
            return None
        if checkpoint.sha256 not in self._candidates:
            try:
                told = candidate.load(checkpoint.path.parent)
            except CheckpointFileError as error:
                raise CheckpointError(str(error)) from error
            if told.sha256 != checkpoint.sha256:
                raise CheckpointError(
                    f"checkpoint: {checkpoint.path.parent} was replaced meanwhile; ask again."
                )
            self._candidates[checkpoint.sha256] = told
        return self._candidates[checkpoint.sha256]

    def unknown_words(self, model: str, prompt: str) -> tuple[str, ...]:
        """The words of a prompt that the model does not know. Raises ValueError where it can read nothing."""
        from cogrpo.emoji.grammar import parse

        return tuple(unknown.word for unknown in parse(prompt).unknown)

    def _aliases(self, model: str) -> dict[str, str]:
        """Alias -> sha256 of one model. The file is {model: {alias: sha256}}."""
        try:
            return dict(json.loads((self.data / "aliases.json").read_text(encoding="utf-8")).get(model, {}))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise CheckpointError("checkpoint: aliases.json in the data folder is damaged.") from error

    def _files(self, model: str) -> Iterator[Path]:
        yield SHIPPED[model]
        yield _shipped_champion(model)
        for path in sorted((self.data / "checkpoints").glob(f"**/*{SUFFIX}")):
            half_written = path.parent.name.startswith(".")
            if path.name not in (candidate.POLICY, TENSORS) and not half_written:
                yield path

    def _by_hash(self, model: str, digits: str) -> Checkpoint:
        if model not in SHIPPED:
            raise CheckpointError(f"checkpoint: {model!r} is no model; allowed are {', '.join(SHIPPED)}.")
        found = {self._hash(path): path for path in self._files(model) if path.is_file()}
        matches = [sha256 for sha256 in found if sha256.startswith(digits)]
        if len(matches) != 1:
            count = "no weights here have" if not matches else f"{len(matches)} files share"
            raise CheckpointError(f"checkpoint: {count} the hash {digits[:12]}.")
        path = found[matches[0]]
        return self._checkpoint(model, path, BASELINE if path == SHIPPED[model] else None, digits)

    def _allowed(self, path: Path) -> Path:
        """The real path, if it leads into a folder meant for weights."""
        real = path.resolve()
        folders = (*(shipped.parent for shipped in SHIPPED.values()), self.data, Path.cwd())
        if not any(real.is_relative_to(folder.resolve()) for folder in folders):
            raise CheckpointError(f"checkpoint: {path.name!r} lies outside the allowed folders.")
        return real

    def _checkpoint(self, model: str, path: Path, name: str | None, asked: str) -> Checkpoint:
        if not path.is_file():
            raise CheckpointError(f"checkpoint: the weight file {path.name!r} does not exist.")
        sha256 = self._hash(path)
        return Checkpoint(model, path, sha256, name or sha256[:12], asked)

    def _hash(self, path: Path) -> str:
        """The identity of weights: of a candidate's, that of its folder."""
        path = path.with_name(MANIFEST) if _in_candidate(path) else path
        told = path.stat()
        key = (path, told.st_mtime_ns, told.st_size)
        if key not in self._hashes:
            with path.open("rb") as file:
                self._hashes[key] = hashlib.file_digest(file, "sha256").hexdigest()
        return self._hashes[key]


def own_policy(registry: Registry, asked: object, checkpoint: Checkpoint) -> SchedulePolicy | None:
    """The policy that was trained with these weights, where a schedule that is `asked` for means it: `auto`, `learned`.

    Nothing is read for any other name. Raises CheckpointError as `Registry.trained`.
    """
    told = registry.trained(checkpoint) if asked in (AUTO, LEARNED) else None
    return None if told is None else told.policy


def _shipped_champion(model: str) -> Path:
    """The weights of the champion that comes with the program, if it comes with one."""
    return SHIPPED[model].parent / CHAMPION / candidate.WEIGHTS


def _in_candidate(weights: Path) -> bool:
    return weights.with_name(MANIFEST).is_file()


def _is_path(name: str) -> bool:
    return name.endswith(SUFFIX) or "/" in name


def _weights(path: Path) -> Path:
    return path if path.suffix == SUFFIX else path / candidate.WEIGHTS
