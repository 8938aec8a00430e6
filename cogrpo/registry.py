"""Which weights a checkpoint's name means: `[MODEL:]NAME` to a file, its hash and its canonical name.

NAME is `baseline` (the shipped or published weights), another alias from `aliases.json` in the data folder, the first 8
or more digits of a sha256, or a path to a .safetensors file or to a candidate's folder. Where that file does not say
what `champion` is, it is the candidate in the folder `champion` beside the shipped weights, and without one the
baseline. A champion that is missing or damaged gives way to the one before it (`previous`), and that to the shipped.

A candidate is weights *and* schedule, so its hash is that of its folder's manifest; the hash of loose weights is the
file's, and of a model from the hub `hub.identity`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from cogrpo import candidate, models
from cogrpo.candidate import Candidate
from cogrpo.checkpoint import MANIFEST, TENSORS, CheckpointFileError, check_folder
from cogrpo.models import hub
from cogrpo.models.base import MaskedImageModel, ModelError
from cogrpo.policy import SchedulePolicy
from cogrpo.recipe import Recipe
from cogrpo.schedules import AUTO, LEARNED

# The models whose weights come with the program; of the others the adapter knows where they are.
SHIPPED = {"emoji": Path(__file__).parent / "emoji" / "weights" / "model.safetensors"}
BASELINE, CHAMPION, PREVIOUS = "baseline", "champion", "previous"
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
        self._checked: dict[
            Path, tuple[tuple[int, int], ...]
        ] = {}  # candidates found whole, as the disk told

    def resolve(self, asked: str) -> Checkpoint:
        """Raises CheckpointError for a name, a hash or a path that means no usable file."""
        model, separator, name = asked.partition(":")
        if not separator:
            model, name = "emoji", asked
        _check_model(model)
        aliases = self._aliases(model)
        if name == CHAMPION:
            return self._champion(model, aliases)[0]
        if name == BASELINE:
            return self._checkpoint(model, _baseline(model), BASELINE, name)
        if name in aliases:
            return replace(self._by_hash(model, aliases[name]), name=name, asked=name)
        if _is_path(name):
            path = self._allowed(_weights(Path(name)), name)
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

    def problem(self, model: str = "emoji") -> str | None:
        """Why something else than the champion is served today, in one sentence, or None."""
        serves, reasons = self._champion(model, self._aliases(model))
        if not reasons:
            return None
        return f"The champion cannot be served, {serves.name} is instead ({reasons[0].rstrip('.')})."

    def _champion(self, model: str, aliases: dict[str, str]) -> tuple[Checkpoint, list[str]]:
        """What is served, and why it is not the champion of `aliases.json`.

        Where that is missing or damaged, it is what was served before, and at last what came with the program."""
        reasons = []
        for alias in (CHAMPION, PREVIOUS):
            if alias in aliases:
                try:
                    found = self._by_hash(model, aliases[alias])
                    self._check(found)
                    return replace(found, name=alias, asked=CHAMPION), reasons
                except CheckpointError as error:
                    reasons.append(str(error))
        return self.shipped(model), reasons

    def shipped(self, model: str = "emoji") -> Checkpoint:
        """The champion that came with the program, or else the baseline. Raises CheckpointError where it is missing."""
        path = _shipped_champion(model)
        told = (_baseline(model), BASELINE) if path is None else (path, CHAMPION)
        return self._checkpoint(model, *told, CHAMPION)

    def comes_with(self, model: str = "emoji") -> dict[str, str]:
        """Alias -> sha256 of what came with the program. Raises CheckpointError."""
        baseline = self.resolve(f"{model}:{BASELINE}")
        return {BASELINE: baseline.sha256, CHAMPION: self.shipped(model).sha256}

    def _check(self, checkpoint: Checkpoint) -> None:
        """Raises CheckpointError where a candidate's files are not those of its manifest; asks the disk once."""
        if not _in_candidate(checkpoint.path):
            return
        told = [path.stat() for path in sorted(checkpoint.path.parent.iterdir())]
        state = tuple((stat.st_mtime_ns, stat.st_size) for stat in told)
        if self._checked.get(checkpoint.path) != state:
            try:
                check_folder(checkpoint.path.parent)
            except CheckpointFileError as error:
                raise CheckpointError(str(error)) from error
            self._checked[checkpoint.path] = state

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
        try:
            if _in_candidate(checkpoint.path):
                check_folder(checkpoint.path.parent)
            return models.adapter(checkpoint.model).load(checkpoint.path, precision)
        except (CheckpointFileError, ModelError) as error:
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
        return tuple(unknown.word for unknown in models.adapter(model).read(prompt).unknown)

    def _aliases(self, model: str) -> dict[str, str]:
        """Alias -> sha256 of one model. The file is {model: {alias: sha256}}."""
        try:
            return dict(json.loads((self.data / "aliases.json").read_text(encoding="utf-8")).get(model, {}))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, AttributeError, TypeError) as error:
            raise CheckpointError("checkpoint: aliases.json in the data folder is damaged.") from error

    def _files(self, model: str) -> Iterator[Path]:
        with suppress(CheckpointError):  # a model of the hub may have candidates here and no baseline
            yield _baseline(model)
        champion = _shipped_champion(model)
        if champion is not None:
            yield champion
        for path in sorted((self.data / "checkpoints").glob(f"**/*{SUFFIX}")):
            half_written = path.parent.name.startswith(".")
            if path.name not in (candidate.POLICY, TENSORS) and not half_written:
                yield path

    def _by_hash(self, model: str, digits: str) -> Checkpoint:
        _check_model(model)
        found = {self._hash(path): path for path in self._files(model) if path.exists()}
        matches = [sha256 for sha256 in found if sha256.startswith(digits)]
        if len(matches) != 1:
            count = "no weights here have" if not matches else f"{len(matches)} files share"
            raise CheckpointError(f"checkpoint: {count} the hash {digits[:12]}.")
        path = found[matches[0]]
        return self._checkpoint(model, path, BASELINE if _is_baseline(model, path) else None, digits)

    def _allowed(self, path: Path, asked: str) -> Path:
        """The real path, if it leads into a folder meant for weights."""
        real = path.resolve()
        folders = (*(shipped.parent for shipped in SHIPPED.values()), self.data, Path.cwd())
        if not any(real.is_relative_to(folder.resolve()) for folder in folders):
            raise CheckpointError(f"checkpoint: {asked!r} lies outside the allowed folders.")
        return real

    def _checkpoint(self, model: str, path: Path, name: str | None, asked: str) -> Checkpoint:
        if not path.exists():
            raise CheckpointError(f"checkpoint: the weight file {path.name!r} does not exist.")
        sha256 = self._hash(path)
        return Checkpoint(model, path, sha256, name or sha256[:12], asked)

    def _hash(self, path: Path) -> str:
        """The identity of weights: of a candidate's, that of its folder."""
        if path.is_dir():
            return hub.identity(path)
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


def _check_model(model: str) -> None:
    if model not in models.available():
        raise CheckpointError(
            f"checkpoint: {model!r} is no model; allowed are {', '.join(models.available())}."
        )


def _baseline(model: str) -> Path:
    """The file or folder of the shipped or published weights. Raises CheckpointError where they are not here."""
    try:
        return SHIPPED[model] if model in SHIPPED else models.adapter(model).baseline()
    except ModelError as error:
        raise CheckpointError(str(error)) from error


def _is_baseline(model: str, path: Path) -> bool:
    with suppress(CheckpointError):
        return path == _baseline(model)
    return False


def _shipped_champion(model: str) -> Path | None:
    """The weights of the champion that comes with the program, if it comes with one."""
    path = SHIPPED[model].parent / CHAMPION / candidate.WEIGHTS if model in SHIPPED else None
    return path if path is not None and path.is_file() else None


def _in_candidate(weights: Path) -> bool:
    return weights.with_name(MANIFEST).is_file()


def _is_path(name: str) -> bool:
    return name.endswith(SUFFIX) or "/" in name


def _weights(path: Path) -> Path:
    return path if path.suffix == SUFFIX else path / candidate.WEIGHTS
