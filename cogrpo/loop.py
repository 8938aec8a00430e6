"""The work of a round, from frozen votes to a judged candidate, in one folder. Knows nothing of the store.

    inputs/       votes.jsonl, held_out.jsonl, pictures/<hash of the pixels>.png, round.json (written last)
    preference/   the reward that was fitted on these votes
    run/          the training run, its checkpoints and its candidate
    gate/         score tables, verdict, page

Every step can be killed anywhere and asked again: it goes on, and ends with the same hash.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image

from cogrpo import candidate, checkpoint, training
from cogrpo.ballots import Ballot, Comparison, comparisons
from cogrpo.checkpoint import CheckpointFileError, check_folder
from cogrpo.config import CONFIGS, Config, load_config
from cogrpo.emoji import prompts
from cogrpo.gate import GateConfig, ScoreTable, Verdict, verdict
from cogrpo.gate_run import CANDIDATE, CHAMPION, VERDICT, Gate, Judged, spread
from cogrpo.loop_config import RoundConfig
from cogrpo.people import Choice, GateVote
from cogrpo.registry import Checkpoint, Registry
from cogrpo.rewards import preference
from cogrpo.rewards.cache import ScoreCache
from cogrpo.round_report import Report, report, tastes
from cogrpo.schedules import LEARNED
from cogrpo.trace import write_atomically
from cogrpo.training import RunConfig

INPUTS, VOTES, HELD_OUT, PICTURES, ROUND = "inputs", "votes.jsonl", "held_out.jsonl", "pictures", "round.json"
THRESHOLDS = "gate.yaml"
PREFERENCE, RUN, GATE = "preference", "run", "gate"
SEEDS = 2**32
SEEDS_APART = 2**14  # of the gates of two rounds; more than one of them asks for
DIGITS = 16  # of a candidate's hash, in the name of its folder


Votes = Sequence[tuple[str, Choice]]  # of people who saw candidate and parent, blind: prompt, choice


class Inputs(Config):
    """What a round froze, beside its comparisons."""

    parent: str  # sha256 of its parent checkpoint
    config: RoundConfig
    votes: tuple[int, ...]  # ids of all votes that went in
    unreadable: int = 0  # votes that were left out, for their pictures are lost or damaged


@dataclass(frozen=True)
class Work:
    """A round by its number, and its folder in the registry's data folder."""

    registry: Registry
    number: int

    @property
    def folder(self) -> Path:
        return self.registry.data / "rounds" / str(self.number)

    def prepare(self, inputs: Inputs, ballots: Sequence[Ballot], picture: Callable[[str], bytes]) -> None:
        """Write what the round was frozen with. picture: the PNG of a hash of a file.

        Votes on a share of the prompts are held out: the reward never sees them, and they tell what people asked for.
        """
        place, files = self.folder / INPUTS, {}
        compared = [one for one in comparisons(ballots) if one.prompt not in judging_prompts()]
        held = [is_held_out(one.prompt, inputs.config.loop.held_out) for one in compared]
        for name, wanted in ((VOTES, False), (HELD_OUT, True)):
            lines = [one.model_dump_json() for one, out in zip(compared, held, strict=True) if out == wanted]
            files[name] = "".join(line + "\n" for line in lines).encode()
        files[THRESHOLDS] = (CONFIGS / inputs.config.loop.gate.thresholds).read_bytes()
        files[ROUND] = inputs.model_dump_json(indent=1).encode()
        if all(
            (place / name).is_file() and (place / name).read_bytes() == data for name, data in files.items()
        ):
            return
        # What a kill has left, or a round that bore this number before: the store was restored, or is a new one.
        shutil.rmtree(self.folder, ignore_errors=True)
        (place / PICTURES).mkdir(parents=True)
        stored = {pixels: file for ballot in ballots for pixels, file in ballot.pictures}
        for sha256 in sorted({sha256 for one in compared for sha256 in (one.left, one.right)}):
            write_atomically(place / PICTURES / f"{sha256}.png", picture(stored[sha256]))
        for name, data in files.items():
            write_atomically(place / name, data)

    def inputs(self) -> Inputs:
        return Inputs.model_validate_json((self.folder / INPUTS / ROUND).read_bytes())

    def compared(self, name: str) -> list[Comparison]:
        """The comparisons of VOTES or HELD_OUT."""
        lines = (self.folder / INPUTS / name).read_text(encoding="utf-8").splitlines()
        return [Comparison.model_validate_json(line) for line in lines]

    def train(self, device: str = "cpu") -> Iterator[dict[str, Any]]:
        """Fit the preference reward, then train; yields every line of the run at least once, and raises what
        `training.run` raises. The lines of an attempt before come first: its reader may have been killed with them."""
        self._fit()
        yield from self._told()
        yield from training.run(self.run_config(), self.folder / RUN, device)

    def _told(self) -> list[dict[str, Any]]:
        """The lines of finished rounds that an attempt before has written."""
        path, last = self.folder / RUN / training.METRICS, checkpoint.latest_round(self.folder / RUN)
        if not path.exists():
            return []
        lines = path.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if training.round_of(line) <= last]

    def run_config(self) -> RunConfig:
        """The run of this round: from its parent's weights and schedule, with a seed of its own."""
        inputs = self.inputs()
        config = inputs.config
        told: dict[str, Any] = {"checkpoint": inputs.parent, "seed": (config.seed + self.number) % SEEDS}
        if self.registry.trained(self._weights(inputs.parent)) is not None:
            told["schedule"] = LEARNED
        if preference.NAME in config.trainer.rewards:
            if (self.folder / PREFERENCE).is_dir():
                told["preference"] = str((self.folder / PREFERENCE).relative_to(self.registry.data))
            else:  # nobody has compared anything yet
                others = {k: v for k, v in config.trainer.rewards.items() if k != preference.NAME}
                told["trainer"] = config.trainer.model_dump(mode="json") | {"rewards": others}
        return config.run(**told)

    def hand_in(self) -> tuple[str, Path]:
        """Copy the candidate to where the registry finds it; returns its hash and its folder in the data folder."""
        chosen = self.folder / RUN / training.CHOSEN
        sha256 = check_folder(chosen)
        out = self.registry.data / "checkpoints" / sha256[:DIGITS]
        if not _holds(out, sha256):
            shutil.rmtree(out, ignore_errors=True)
            candidate.export(chosen, out)
        return sha256, out.relative_to(self.registry.data)

    def judge(self, votes: Votes) -> tuple[Judged, Report]:
        """Hold the candidate against the round's parent."""
        inputs, run = self.inputs(), self.run_config()
        size, held_out = inputs.config.loop.gate, self.compared(HELD_OUT)
        config = self._thresholds()
        mixer = training.mixer_of(run, self.registry, ScoreCache(None))
        # Each round has seeds of its own, or a lineage would learn the noise of its gate.
        seed = training.GATE_SEEDS + self.number * SEEDS_APART
        gate = Gate(
            config, spread(prompts.load("validation"), size.prompts), size.seeds, mixer, run.trainer, seed
        )
        leanings = tastes(held_out, self.folder / INPUTS / PICTURES, config)
        sha256, _ = self.hand_in()
        new, old = self._weights(sha256), self._weights(inputs.parent)
        judged = gate.judge(self.registry, new, old, self.folder / GATE, _gate_votes(votes), leanings)
        fitted = preference.told(self.folder / PREFERENCE) if (self.folder / PREFERENCE).is_dir() else {}
        trained_on = len(self.compared(VOTES))
        told = report(judged, inputs.votes, trained_on, len(held_out), fitted, mixer.weights)
        if inputs.unreadable:
            lost = f"Votes left out, as their pictures are lost or damaged: {inputs.unreadable}."
            told = told.model_copy(update={"words": (*told.words, lost)})
        return judged, told

    def hear(self, votes: Votes) -> Verdict | None:
        """The verdict of the tables that `judge` has written, with what people have said since; None where
        somebody took the tables away."""
        place = self.folder / GATE
        try:
            new, old = (
                ScoreTable.model_validate_json((place / name).read_bytes()) for name in (CANDIDATE, CHAMPION)
            )
            before = Verdict.model_validate_json((place / VERDICT).read_bytes())
        except FileNotFoundError:
            return None
        return verdict(new, old, self._thresholds(), _gate_votes(votes), before.tastes)

    def clear(self) -> None:
        """Take away the states of the training once the candidate is handed in and judged: 90 MB of a demo's round."""
        shutil.rmtree(self.folder / RUN, ignore_errors=True)

    def _thresholds(self) -> GateConfig:
        return load_config(self.folder / INPUTS / THRESHOLDS, GateConfig)

    def _fit(self) -> None:
        compared, place = self.compared(VOTES), self.folder / PREFERENCE
        if compared and not place.is_dir() and preference.NAME in self.inputs().config.trainer.rewards:
            preference.fit(compared, self._picture, place)

    def _picture(self, sha256: str) -> Image.Image:
        with Image.open(self.folder / INPUTS / PICTURES / f"{sha256}.png") as image:
            image.load()
            return image

    def _weights(self, sha256: str) -> Checkpoint:
        return self.registry.resolve(f"{self.inputs().config.model}:{sha256}")


@cache
def judging_prompts() -> frozenset[str]:
    """Those that judge what is learned, so nothing may be learned from votes on them; a rating may be of any prompt."""
    return frozenset(entry.prompt for split in ("validation", "test") for entry in prompts.load(split))


def is_held_out(prompt: str, share: float) -> bool:
    """Whether votes on a prompt are held out: the same answer in every round, so they never train anything."""
    part = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:8])
    return part < share * 2**64


def _gate_votes(votes: Votes) -> list[GateVote]:
    return [GateVote(*told) for told in votes]


def _holds(folder: Path, sha256: str) -> bool:
    try:
        return check_folder(folder) == sha256
    except CheckpointFileError:
        return False
