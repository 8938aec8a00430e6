"""The background worker: takes rounds from the store and works on them. `python worker.py`.

It shares database and data folder with the app, never memory. `--embedded` is how the app starts it.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import partial
from pathlib import Path

from sqlalchemy.orm import Session

from cogrpo.background import enter, undisturbed
from cogrpo.cli_training import REFUSED, training_device
from cogrpo.config import load_config
from cogrpo.loop import Inputs, Work
from cogrpo.loop_config import DEMO, RoundConfig
from cogrpo.registry import CheckpointError, Registry, data_folder
from db import aliases, checkpoints, round_votes, rounds
from db.heart import Heart
from db.models import Round
from db.patience import forever
from db.rounds import Claim
from db.session import Store, StoreError

LEASE, REST = timedelta(seconds=60), timedelta(seconds=20)  # of a claim; after a failure, times the attempts
TICK, ACTOR = 2.0, "worker"  # s between two looks at the store; who it is in the audit


class Worker:
    """Works on one round after another; config: of those that begin now."""

    def __init__(self, store: Store, registry: Registry, config: RoundConfig, device: str = "cpu") -> None:
        self.store, self.registry, self.config, self.device = store, registry, config, device
        with self.write() as session:
            aliases.establish(session, config.model, registry.comes_with(config.model), registry.data, ACTOR)

    @contextmanager
    def write(self) -> Iterator[Session]:
        with undisturbed(), self.store.write() as session:
            yield session

    def due(self, session: Session) -> rounds.Cause | None:
        return rounds.due(session, self.config.model, self.config.loop.least_votes, self.config.loop.every)

    def tick(self) -> bool:
        """Begin a round where one is due, and work on one where there is one; whether there was."""
        with self.write() as session:
            if (cause := self.due(session)) is not None:
                with suppress(rounds.RoundError):  # another worker was faster
                    rounds.begin(session, self.config.model, cause)
            claim = rounds.claim(session, f"{socket.gethostname()}:{os.getpid()}", LEASE)
        if claim is not None:
            attempts, rest = self.config.loop.attempts, REST * (claim.attempts + 1)
            with Heart(self.store, claim, LEASE, attempts, rest, undisturbed):
                self.work(claim)
        self.listen()
        aliases.mirror(self.store, self.registry.data)
        return claim is not None

    def listen(self) -> None:
        """Give a candidate that waits for a person a verdict that has heard all who have seen it meanwhile."""
        with self.store.read() as session:
            waits, votes = aliases.unheard(session, self.config.model)
        if votes and (again := Work(self.registry, waits).hear(votes)) is not None:
            with self.write() as session:
                aliases.judge(session, waits, again.passed, again.model_dump(mode="json"))

    def work(self, claim: Claim) -> None:
        """Take a round to a verdict. The methods below bear the names of states; each may be killed anywhere."""
        for state in rounds.WORKED[rounds.WORKED.index(claim.state) :]:
            getattr(self, state)(claim, Work(self.registry, claim.id))

    def collecting(self, claim: Claim, work: Work) -> None:
        with self.write() as session:
            rounds.freeze(session, claim.id, claim.fence, self.config.model_dump(mode="json"))

    def frozen(self, claim: Claim, work: Work) -> None:
        with self.store.read() as session:
            row, votes = session.get_one(Round, claim.id), round_votes.frozen(session, claim.id)
            parent, config = row.parent.sha256, row.config
        kept, lost = round_votes.readable(self.store.artifacts, votes)
        inputs = Inputs(parent=parent, config=config, votes=[vote.id for vote in kept], unreadable=len(lost))
        work.prepare(inputs, kept, self.store.artifacts.get)
        with self.write() as session:
            rounds.advance(session, claim.id, claim.fence, "frozen", folder=f"rounds/{claim.id}")
            round_votes.leave_out(session, claim.id, lost)

    def training(self, claim: Claim, work: Work) -> None:
        for line in work.train(self.device):
            with self.write() as session:
                rounds.note(session, claim.id, claim.fence, line["round"], line)
        sha256, folder = work.hand_in()
        with self.write() as session:
            files = checkpoints.keep(session, self.store.artifacts, self.registry.data / folder)
            rounds.found(session, claim.id, claim.fence, sha256, str(folder), files)

    def candidate(self, claim: Claim, work: Work) -> None:
        with self.store.read() as session:
            votes = round_votes.gate_votes(session, claim.id)
        judged, report = work.judge(votes)
        verdict = judged.verdict
        said, told = verdict.model_dump(mode="json"), report.model_dump(mode="json")
        promotes = verdict.passed and work.inputs().config.loop.promotion == "auto"
        with self.write() as session:
            told["pictures"] = judged.keep(partial(self.store.artifacts.put, session, kind="report"))
            aliases.gated(session, claim.id, claim.fence, verdict.passed, said, told)
            reasons, held = " ".join(verdict.reasons), verdict.passed or verdict.held
            aliases.decide(session, claim.id, promotes, held, reasons, ACTOR)
        work.clear()


def main() -> int:
    told = argparse.ArgumentParser(description=__doc__)
    told.add_argument("--config", type=Path, default=os.environ.get("STUDIO_ROUNDS") or DEMO)
    told.add_argument("--once", action="store_true", help="end after one round, or where there is none")
    told.add_argument("--dry-run", action="store_true", help="tell what would be done")
    told.add_argument("--device", default="auto", help="auto, cpu or cuda[:n]; auto is the CPU")
    told.add_argument("--embedded", action="store_true", help="as the app starts it")
    asked = told.parse_args()
    try:
        device = training_device(asked.device)
        config, data = load_config(Path(asked.config), RoundConfig), data_folder().resolve()
        worker = Worker(Store.open(data), Registry(data), config.settled(asked.embedded), device)
    except (StoreError, CheckpointError, *REFUSED) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if asked.dry_run:
        with worker.store.read() as session:
            new, running = rounds.new_votes(session, config.model), rounds.running(session, config.model)
            print(json.dumps({"due": worker.due(session), "running": running, "new_votes": new}))
        return 0
    enter(sys.stdin.buffer if asked.embedded else None, config.loop.pause_while_generating)
    if not asked.once:
        forever(worker.tick, TICK)
    worker.tick()
    return 0


if __name__ == "__main__":
    sys.exit(main())
