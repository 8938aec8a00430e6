"""What a run hands over: weights and schedule, in the form in which they are judged, served and given to others.

model.safetensors    the averaged weights, fp16, as the shipped ones
schedule.json        the mean schedule for each trained number of steps, in plain numbers
policy.safetensors   the schedule policy, to train on or, where it reads the state, to act
facts.json           what it came from and what it does: configuration, rounds, rewards that acted, figures
README.md            the model card
manifest.json        sha256 of each
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from cogrpo.card import card
from cogrpo.checkpoint import VERSION, CheckpointFileError, check_folder, write_folder
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.schedule import Schedule, ScheduleError

WEIGHTS, SCHEDULE, POLICY, FACTS = "model.safetensors", "schedule.json", "policy.safetensors", "facts.json"
README = "README.md"


@dataclass(frozen=True)
class Candidate:
    """A candidate as read from disk; `weights` is the file that the registry loads."""

    sha256: str
    weights: Path
    policy: SchedulePolicy
    facts: dict[str, Any]


def save(folder: Path, model: MaskedImageModel, policy: SchedulePolicy, facts: Mapping[str, Any]) -> str:
    """Write a candidate with its card; returns its hash. facts: as `card` needs them. Raises OSError."""

    def fill(place: Path) -> None:
        model.save(place / WEIGHTS)
        (place / SCHEDULE).write_text(json.dumps(_tables(policy), indent=1))
        tensors = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
        save_file(tensors, place / POLICY)
        (place / FACTS).write_text(json.dumps({"version": VERSION, **facts}, sort_keys=True, indent=1))
        (place / README).write_text(card(policy, facts), encoding="utf-8")

    return write_folder(folder, fill)


def load(folder: Path) -> Candidate:
    """Read a candidate and check every hash. Raises CheckpointFileError."""
    sha256 = check_folder(folder)
    try:
        facts = json.loads((folder / FACTS).read_bytes())
        told = json.loads((folder / SCHEDULE).read_bytes())
        config = PolicyConfig.model_validate(told["policy"])
        bases = [Schedule("base", table) for table in told["base"].values()]
        policy = SchedulePolicy(config, bases, told["features"])
        policy.load_state_dict(load_file(folder / POLICY))
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, ScheduleError) as error:
        raise CheckpointFileError(f"checkpoint: {folder} holds no candidate.") from error
    if facts.get("version") != VERSION:
        raise CheckpointFileError(
            f"checkpoint: {folder} is of version {facts.get('version')}, not {VERSION}."
        )
    return Candidate(sha256, folder / WEIGHTS, policy.requires_grad_(False), facts)


def export(folder: Path, out: Path) -> str:
    """Copy a candidate, whose card says all that others need, to a new folder; returns its hash.

    Raises CheckpointFileError where the candidate is damaged or the folder is not empty, and OSError."""
    load(folder)
    if out.exists() and any(out.iterdir()):
        raise CheckpointFileError(f"out: {out} is not empty; choose a new folder.")

    def fill(place: Path) -> None:
        for name in (WEIGHTS, SCHEDULE, POLICY, FACTS, README):
            shutil.copyfile(folder / name, place / name)

    return write_folder(out, fill)


def _tables(policy: SchedulePolicy) -> dict[str, Any]:
    """The schedules in plain numbers: rows of re-mask ratio, sampling temperature, re-mask temperature, guidance."""
    base = {str(steps): policy.base_schedule(steps).table.tolist() for steps in policy.trained}
    told = {"policy": policy.config.model_dump(mode="json"), "features": policy.features, "base": base}
    if policy.config.body == "table":
        told["mean"] = {str(steps): policy.mean_schedule(steps).table.tolist() for steps in policy.trained}
    return told
