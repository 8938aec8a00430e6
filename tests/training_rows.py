"""Rounds as the Training tab shows them, each in another state, without the work."""

from __future__ import annotations

import io
from datetime import timedelta
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from round_rows import sha
from test_gate import BETTER, CONFIG, table

from cogrpo import candidate, schedules
from cogrpo.gate import verdict
from cogrpo.gate_run import Judged
from cogrpo.people import GateVote
from cogrpo.policy import PolicyConfig, SchedulePolicy
from cogrpo.registry import Registry
from cogrpo.round_report import report
from cogrpo.training import RunConfig
from db import aliases, rounds
from db.session import Store

HOUR = timedelta(hours=1)


def png(shade: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.full((32, 32, 3), shade, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def trained(store: Store, name: str, sha256: str = "") -> rounds.Claim:
    """A round whose candidate waits for its gate."""
    with store.write() as session:
        number = rounds.begin(session, "emoji", "votes")
        claim = rounds.claim(session, "worker", HOUR)
        assert claim.id == number
        rounds.freeze(session, claim.id, claim.fence, {})
        rounds.advance(session, claim.id, claim.fence, "frozen")
        for step in range(1, 21):
            line = {
                "round": step,
                "rewards/verifier/mean": 0.6 + step / 100,
                "rewards/dual_encoder/mean": 0.5,
            }
            rounds.note(session, claim.id, claim.fence, step, line)
        rounds.found(session, claim.id, claim.fence, sha256 or sha(name), f"checkpoints/{name}")
    return claim


def judged(store: Store, claim: rounds.Claim, end: str | None, better: dict = BETTER) -> None:
    """With a verdict of made-up tables, and promoted, rejected or held."""
    votes = [GateVote(f"prompt {n}", "candidate" if n % 3 else "champion") for n in range(30)]
    new, old = table("b", 1, better), table()
    result = verdict(new, old, CONFIG, votes)
    told = report(Judged(result, new, old, ()), list(range(40)), 33, 7, {}, {"verifier": 1.0}).model_dump(
        mode="json"
    )
    with store.write() as session:
        put = store.artifacts.put
        told["pictures"] = [
            {"prompt": f"a fox {n}", "seed": 1000, "steps": 4, "before": put(session, png(9 * n), "report"),
             "after": put(session, png(200 + n), "report")}
            for n in range(8)
        ]  # fmt: skip
        plain = result.model_dump(mode="json")
        aliases.gated(session, claim.id, claim.fence, result.passed, plain, told)
        if end == "promoted":
            aliases.promote(session, claim.id, "worker")
        elif end == "rejected":
            aliases.reject(session, claim.id, "worker", "worse")


def real_candidate(data: Path, name: str) -> str:
    """Weights that the app can serve, not quite the shipped ones, in the data folder; returns their hash."""
    registry = Registry(data)
    model = registry.load(registry.resolve("baseline"), "float32")
    with torch.no_grad():
        next(model.network.parameters()).mul_(1.01)
    config = RunConfig.model_validate({"rounds": 1, "trainer": {"rewards": {"verifier": 1.0}, "steps": [4]}})
    facts = {
        "config": config.model_dump(mode="json"), "rounds": 1, "weights": {"verifier": 1.0}, "figures": {},
        "origin": {"weights": "0" * 64, "precision": "float32", "torch": "2", "rewards": {"verifier": "1"}},
    }  # fmt: skip
    policy = SchedulePolicy(PolicyConfig(), [schedules.build("linear", 4)])
    return candidate.save(data / "checkpoints" / name, model, policy, facts)


def held(store: Store, sha256: str, folder: str) -> int:
    """A round whose candidate, of this hash, waits for a person; returns its number."""
    claim = trained(store, folder, sha256)
    judged(store, claim, None)
    return claim.id
