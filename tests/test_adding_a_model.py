"""The page that says how a model is added: its own Python paints, and what it painted decodes again to the bit."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml
from pages import python_of

from cogrpo import models, schedules
from cogrpo.cli import main

PAGE = "adding-a-model.md"
COLUMNS = {"sampling_temperature": 1.0, "remask_temperature": 1.0, "guidance_scale": 2.0}


@pytest.fixture
def mosaic(monkeypatch, tmp_path):
    """The example as a file in the folder of models, with weights and columns of its own."""
    (tmp_path / "code").mkdir()
    (tmp_path / "code" / "mosaic.py").write_text(python_of(PAGE), encoding="utf-8")
    monkeypatch.setattr(models, "__path__", [*models.__path__, str(tmp_path / "code")])
    configs = Path(shutil.copytree(schedules.CONFIGS, tmp_path / "schedules"))
    (configs / "mosaic.yaml").write_text(yaml.safe_dump({"default": COLUMNS}))
    monkeypatch.setattr(schedules, "CONFIGS", configs)
    monkeypatch.setenv("COGRPO_MODELS", str(tmp_path))
    module = models.importlib.import_module("cogrpo.models.mosaic")
    torch.manual_seed(0)
    module.Mosaic(module.Network()).save(tmp_path / "mosaic.safetensors")
    yield module
    sys.modules.pop("cogrpo.models.mosaic", None)


def test_the_example_is_short():
    assert len([line for line in python_of(PAGE).splitlines() if line.strip()]) <= 50


def test_one_file_is_a_model_that_paints_and_replays(mosaic, tmp_path, capsys):
    assert "mosaic" in models.available()
    asked = ["sample", "a bee", "a buzzing bee", "--checkpoint", "mosaic:baseline", "--steps", "5"]
    assert main([*asked, "--out", str(tmp_path / "out")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [line["verifier"] for line in lines] == [None, None], "nobody here can judge another world"
    for line in lines:
        for file in (line["image"], line["trace"]):
            assert main(["replay", file]) == 0 and capsys.readouterr().out == "identical\n"


def test_its_text_reaches_its_picture(mosaic):
    model = models.adapter("mosaic").load(models.adapter("mosaic").baseline(), "float32")
    hidden = torch.ones(2, 16, dtype=torch.bool)
    told = model.forward(
        hidden.long(), hidden, model.condition(["a bee", "zzz"]), torch.zeros(2, 2).long(), True
    )
    assert not told.conditional[0].equal(told.conditional[1])
    assert told.unconditional[0].equal(told.unconditional[1])
