"""What a run hands over: weights and schedule, in the form in which they are judged, served and given to others.

model.safetensors    the averaged weights, fp16, as the shipped ones
schedule.json        the mean schedule for each trained number of steps, in plain numbers
policy.safetensors   the schedule policy, to train on or, where it reads the state, to act
facts.json           what it came from: configuration, rounds, rewards that acted
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

from cogrpo.checkpoint import VERSION, CheckpointFileError, check_folder, write_folder
from cogrpo.models.base import MaskedImageModel
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.schedule import Schedule, ScheduleError

WEIGHTS, SCHEDULE, POLICY, FACTS = "model.safetensors", "schedule.json", "policy.safetensors", "facts.json"
README = "README.md"  # of an exported candidate

CARD = """# A masked image model and its schedule: {done} by Co-GRPO

Checkpoint `{sha256}`, Apache-2.0. Trained for {rounds} rounds (arm `{arm}`) from `{start}`, whose weights have the hash
`{start_sha256}`.

- `model.safetensors`: fp16 weights; the network's configuration is in the file's metadata. They speak the codes of the
  studio's tokenizer (`cogrpo/emoji/weights/tokenizer.safetensors`), without which there are no pictures.
- `schedule.json`: {schedule} Numbers of steps: {steps}. A row a step, with re-mask ratio (share of tokens that
  stay hidden), sampling temperature, re-mask temperature (of the Gumbel noise on the confidences) and guidance scale s
  in l = l_u + s (l_c - l_u). Other numbers of steps: interpolate in (t + 1) / T.
- `policy.safetensors`: the schedule policy itself, for `cogrpo.candidate.load`.

Rewards that acted:
{acted}

Method: arXiv 2512.22288. What the rewards leave out was not taught.
"""
DONE = {"model": "the model alone trained", "schedule": "the schedule alone trained"}  # by arm
TABLE = "under `mean`, one table for each number of steps."
NO_TABLE = (
    "the policy reads the state, so the schedule is known only step by step, and no table can stand for it; under "
    "`base`, the predefined table from which it started."
)


@dataclass(frozen=True)
class Candidate:
    """A candidate as read from disk; `weights` is the file that the registry loads."""

    sha256: str
    weights: Path
    policy: SchedulePolicy
    facts: dict[str, Any]


def save(folder: Path, model: MaskedImageModel, policy: SchedulePolicy, facts: Mapping[str, Any]) -> str:
    """Write a candidate; returns its hash. Raises OSError."""

    def fill(place: Path) -> None:
        model.save(place / WEIGHTS)
        (place / SCHEDULE).write_text(json.dumps(_tables(policy), indent=1))
        tensors = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
        save_file(tensors, place / POLICY)
        (place / FACTS).write_text(json.dumps({"version": VERSION, **facts}, sort_keys=True, indent=1))

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
    """Write a candidate with its card, itself a candidate, to a new folder; returns the hash of that.

    Raises CheckpointFileError where the candidate is damaged or the folder is not empty, and OSError."""
    told = load(folder)
    if out.exists() and any(out.iterdir()):
        raise CheckpointFileError(f"out: {out} is not empty; choose a new folder.")

    def fill(place: Path) -> None:
        for name in (WEIGHTS, SCHEDULE, POLICY, FACTS):
            shutil.copyfile(folder / name, place / name)
        (place / README).write_text(card(told), encoding="utf-8")

    return write_folder(out, fill)


def card(told: Candidate) -> str:
    """A model card for those who have the exported folder alone."""
    facts = told.facts
    acted = "\n".join(
        f"- {name} (version {facts['origin']['rewards'][name]}), weight {weight:g}"
        for name, weight in facts["weights"].items()
    )
    arm = facts["config"]["trainer"]["arm"]
    return CARD.format(
        sha256=told.sha256, rounds=facts["rounds"], arm=arm, acted=acted, done=DONE.get(arm, "trained together"),
        steps=", ".join(map(str, told.policy.trained)), start=facts["config"]["checkpoint"],
        start_sha256=facts["origin"]["weights"],
        schedule=TABLE if told.policy.config.body == "table" else NO_TABLE,
    )  # fmt: skip


def _tables(policy: SchedulePolicy) -> dict[str, Any]:
    """The schedules in plain numbers: rows of re-mask ratio, sampling temperature, re-mask temperature, guidance."""
    base = {str(steps): policy.base_schedule(steps).table.tolist() for steps in policy.trained}
    told = {"policy": policy.config.model_dump(mode="json"), "features": policy.features, "base": base}
    if policy.config.body == "table":
        told["mean"] = {str(steps): policy.mean_schedule(steps).table.tolist() for steps in policy.trained}
    return told
