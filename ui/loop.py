"""The app's side of the loop: its worker, its names for weights, and what the Training tab needs."""

from __future__ import annotations

import os
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from cogrpo.config import load_config
from cogrpo.loop_config import DEMO, RoundConfig
from cogrpo.registry import CheckpointError
from db import aliases
from ui.embedded import EmbeddedWorker, mode
from ui.generation import Generations

ACTOR = "app"


class Loop:
    """STUDIO_WORKER says who trains, STUDIO_ROUNDS which file new rounds follow, STUDIO_ADMIN_TOKEN who decides.

    Raises ValueError, in one sentence, for a setting that cannot be used.
    """

    def __init__(self, generations: Generations, data: Path) -> None:
        self.store, self.registry = generations.records.store, generations.engine.registry
        self.mode = mode()
        self.config = load_config(Path(os.environ.get("STUDIO_ROUNDS") or DEMO), RoundConfig)
        self.token = os.environ.get("STUDIO_ADMIN_TOKEN") or None
        self.worker = EmbeddedWorker(data, self._look)
        generations.engine.busy = self.worker.busy

    def start(self) -> None:
        """Name what is served, and begin to look after the worker; without a store there is no loop."""
        if self.store is not None:
            self._establish()
            self.worker.start(self.mode == "embedded")

    def stop(self) -> None:
        self.worker.stop()

    def _establish(self) -> None:
        model = self.config.model
        try:
            shipped = self.registry.comes_with(model)
            with self.store.write() as session:
                aliases.establish(session, model, shipped, self.registry.data, ACTOR)
        except (CheckpointError, SQLAlchemyError) as error:  # the app paints all the same, or says why not
            print(f"The loop cannot begin: {error}", flush=True)

    def _look(self) -> None:
        """Serve what the store names: the registry reads the file at every request."""
        try:
            aliases.mirror(self.store, self.registry.data)
        except (OSError, SQLAlchemyError) as error:
            print(f"aliases.json could not be brought up to date: {error}", flush=True)
