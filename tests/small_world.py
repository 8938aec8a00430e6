"""A loop whose model, reward and detector are tiny: rounds in seconds, for tests and for the processes that they start.

`python tests/small_world.py ...` is `worker.py` in that world.
"""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace

import torch
import yaml
from safetensors.torch import load_file, save_file
from test_trainer import SETTINGS, Bright, Learner

from cogrpo import registry, training
from cogrpo.emoji.detector import Detector
from cogrpo.evaluation import score_table
from cogrpo.registry import Registry
from cogrpo.rewards.cache import ScoreCache
from cogrpo.rewards.mixer import Mixer
from cogrpo.trainer import Trainer

PROMPTS = [f"prompt {number}" for number in range(6)]
CONFIG = {
    "rounds": 6,
    "trainer": {**SETTINGS, "steps": [2, 3], "arm": "joint"},
    "validation": {"every": 3, "per_category": 1},
    "loop": {"least_votes": 3, "promotion": "auto", "gate": {"prompts": 6, "seeds": 2}},
}
RULES = {"confidence": 0.95, "resamples": 100, "seed": 0, "least_prompts": 2, "measures": {}}
PASSES = {**RULES, "mix": {"may_fall": 9.0}, "rewards": {"may_fall": 1.0}}


def load(weights: Path, precision: str = "float32") -> Learner:
    model = Learner()
    model.network.load_state_dict(load_file(weights))
    return model


def save(model: Learner, path: Path) -> None:
    save_file(dict(model.network.state_dict()), path)


def build(config: training.RunConfig, cache: Path | None = None, device: str = "cpu") -> Trainer:
    """As `training.build`, without prompts and rewards that need real weights."""
    found = Registry()
    weights = found.resolve(f"{config.model}:{config.checkpoint}")
    torch.manual_seed(config.seed)
    model = found.load(weights, "float32")
    policy = training.first_policy(
        config, registry.own_policy(found, config.schedule, weights), model.features
    )
    mixer = Mixer([Bright()], config.trainer.rewards, ScoreCache(cache))
    return Trainer(config.trainer, model, policy, mixer, PROMPTS, config.seed, config.rounds, weights.sha256)


def enter(patch, folder: Path) -> None:
    """Put the tiny parts in place. patch: sets an attribute; folder: for the shipped weights."""
    shipped = folder / "shipped" / "model.safetensors"
    if not shipped.exists():
        shipped.parent.mkdir(parents=True, exist_ok=True)
        save(Learner(), shipped)
    patch(registry, "SHIPPED", {"emoji": shipped})
    patch(Registry, "load", lambda self, checkpoint, precision: load(checkpoint.path))
    patch(Learner, "save", save)
    patch(training, "build", build)
    patch(Mixer, "load", lambda weights, cache, *_: Mixer([Bright()], weights, cache))
    patch(Detector, "load", lambda which: SimpleNamespace(detect=list))
    patch(score_table, "score", lambda spec, found: SimpleNamespace(strict=bool(found.float().mean() > 90)))


def configure(folder: Path, gate: dict = PASSES, **loop: object) -> Path:
    """A file of settings for new rounds."""
    thresholds, path = folder / "gate.yaml", folder / "round.yaml"
    thresholds.write_text(yaml.safe_dump(gate))
    told = CONFIG["loop"] | {"gate": CONFIG["loop"]["gate"] | {"thresholds": str(thresholds)}} | loop
    path.write_text(yaml.safe_dump({**CONFIG, "loop": told}))
    return path


if __name__ == "__main__":
    import worker

    torch.set_num_threads(1)
    Learner.save = None  # `setattr` below gives it one
    enter(setattr, Path(sys.argv.pop(1)))
    sys.exit(worker.main())
