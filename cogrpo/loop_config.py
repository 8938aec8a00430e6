"""When a round of the loop begins and how it ends, as a user writes it (`loop:` in a file of `configs/rounds/`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from cogrpo.config import CONFIGS, Config
from cogrpo.gate import DEFAULT
from cogrpo.trainer_config import Count, Positive
from cogrpo.training import MOST_SEEDS, RunConfig

DEMO = CONFIGS / "rounds" / "demo.yaml"
LOOPBACK = ("", "127.0.0.1", "localhost", "::1")


class GateSize(Config):
    """What the gate of a round asks: prompts of the validation list, and pictures a prompt at each number of steps."""

    thresholds: Path = DEFAULT  # a relative one lies in configs/
    prompts: Annotated[int, Field(ge=2)] = 100
    seeds: Annotated[int, Field(ge=2, le=MOST_SEEDS)] = 2


class LoopConfig(Config):
    least_votes: Count = 40  # new ones that start a round
    every_hours: Positive | None = None  # start one after that time in any case; None for never
    promotion: Literal["auto", "hold"] | None = None  # of a candidate that passed; None: see `settled`
    pause_while_generating: bool = True  # the embedded worker lets visitors go first
    attempts: Count = 3  # after which a failing round is parked
    held_out: Annotated[float, Field(ge=0, lt=1)] = 0.2  # share of prompts whose votes train nothing
    gate: GateSize = GateSize()

    @property
    def every(self) -> timedelta | None:
        return None if self.every_hours is None else timedelta(hours=self.every_hours)


class RoundConfig(RunConfig):
    """A run as `train` takes it, and what the loop needs beside it."""

    loop: LoopConfig = LoopConfig()

    def run(self, **changes: object) -> RunConfig:
        """The run alone, with changes."""
        return RunConfig.model_validate(self.model_dump(mode="json", exclude={"loop"}) | changes)

    def settled(self, embedded: bool, environment: Mapping[str, str] = os.environ) -> RoundConfig:
        """With the rule of promotion that its rounds keep: where none is set, `auto` on a private machine.

        embedded: whether the app started this worker, so that its environment is the app's. No other worker can tell
        whom the app serves, so its rounds hold.
        """
        if self.loop.promotion is not None:
            return self
        private = not environment.get("SPACE_ID") and environment.get("GRADIO_SERVER_NAME", "") in LOOPBACK
        rule = {"promotion": "auto" if embedded and private else "hold"}
        return self.model_copy(update={"loop": self.loop.model_copy(update=rule)})
