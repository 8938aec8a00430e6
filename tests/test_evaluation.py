import json
from types import SimpleNamespace

import numpy as np
import pytest
from mock_model import MockRegistry
from PIL import Image

from cogrpo.cli import main
from cogrpo.emoji.prompts import load
from cogrpo.emoji.scene import CATEGORIES
from cogrpo.engine import Engine
from cogrpo.evaluation.emoji import evaluate, interval
from cogrpo.recipe import Request


class MockJudge:
    """Finds every plain noun right, and the rest half right."""

    def __init__(self):
        self.batches: list[int] = []

    def score(self, images, specs):
        self.batches.append(len(images))
        right = [spec.objects[0].colour is None for spec in specs]
        return [SimpleNamespace(strict=plain, soft=1.0 if plain else 0.5) for plain in right]


@pytest.fixture
def engine(tmp_path) -> Engine:
    return Engine(MockRegistry(tmp_path), precision="float32")


def few(each: int):
    prompts = load("test")
    return [p for c in CATEGORIES for p in [p for p in prompts if p.category == c][:each]]


def test_scores_are_means_over_prompts_and_seeds(engine):
    prompts, judge = few(3), MockJudge()
    seeds = []

    def make(prompt, seed):
        seeds.append(seed)
        return Request(prompt, seed, 2)

    figures, sheet = evaluate(engine, judge, prompts, make, seeds=2, batch=16)
    assert seeds == list(range(2 * len(prompts))), "each picture has a seed of its own"
    assert judge.batches == [16, 16, 10]
    assert (figures["prompts"], figures["pictures"]) == (21, 42)
    assert figures["pictures_per_second"] > 0
    for category in CATEGORIES:
        plain = [p.spec.objects[0].colour is None for p in prompts if p.category == category]
        strict, partial = figures["strict"][category], figures["partial"][category]
        assert strict["mean"] == pytest.approx(np.mean(plain), abs=1e-4)
        assert partial["mean"] == pytest.approx(np.mean(plain) / 2 + 0.5, abs=1e-4)
        assert strict["low"] <= strict["mean"] <= strict["high"]
    six = [figures["strict"][category]["mean"] for category in CATEGORIES if category != "dense"]
    assert figures["strict"]["six categories"]["mean"] == pytest.approx(np.mean(six), abs=1e-3)
    assert [row["prompt"] for row in figures["rows"]] == [p.prompt for p in prompts]
    assert sheet.size == (10 * (8 + 6), 5 * (8 + 6))


def test_the_interval_covers_the_mean_at_its_rate():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        told = interval([rng.random(50) < 0.7])
        covered += told["low"] <= 0.7 <= told["high"]
    assert 88 <= covered <= 99
    assert interval([np.ones(9)]) == {"mean": 1.0, "low": 1.0, "high": 1.0}


def test_the_command_writes_figures_and_a_sheet(engine, tmp_path, capsys):
    out = tmp_path / "new" / "figures.json"
    flags = ["--steps", "2", "--seeds", "1", "--limit", "5", "--schedule", "linear", "--json", str(out)]
    assert (
        main(["evaluate", "emoji", "--model", "emoji", "--split", "test", *flags], engine, MockJudge()) == 0
    )
    told = json.loads(out.read_text())
    assert (told["suite"], told["split"], told["steps"], told["schedule"]) == ("emoji", "test", 2, "linear")
    assert told["checkpoint_name"] == "baseline" and told["precision"] == "float32" and len(told["rows"]) == 5
    with Image.open(told["contact_sheet"]) as sheet:
        assert sheet.size[0] > 0
    assert "pictures/s" in capsys.readouterr().out


@pytest.mark.parametrize(
    "flags", [["--split", "holdout"], ["--seeds", "0"], ["--limit", "0"], ["--steps", "0"]]
)
def test_a_bad_setting_is_one_sentence(engine, capsys, flags):
    assert main(["evaluate", "emoji", *flags], engine, MockJudge()) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"error: {flags[0][2:]}: ") and error.count("\n") == 1
