"""The documentation says what the program does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pages import python_of

from cogrpo import schedules
from db.models import Base

ROOT = Path(__file__).parents[1]
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SOURCES = "\n".join(
    path.read_text(encoding="utf-8")
    for part in ("cogrpo", "db", "ui")
    for path in (ROOT / part).rglob("*.py")
) + (ROOT / "app.py").read_text(encoding="utf-8")


def section(name: str) -> str:
    return re.search(rf"## {name}.*?\n(.*?)(?=\n## |\Z)", REFERENCE, re.S)[1]


def test_every_schedule_is_documented_and_exists():
    named = set(re.findall(r"`([a-z]+)`", section("Schedules"))) - {"learned", "auto"}
    assert named == set(schedules.available())


def test_every_setting_is_read_and_every_setting_read_is_documented():
    documented = set(re.findall(r"^\| `([A-Z_]+)`", section("Settings"), re.M)) | {"SPACE_ID"}
    read = set(re.findall(r"environ(?:\.get\(|\[)\"([A-Z_]+)\"", SOURCES)) | {"COGRPO_PRECISION"}
    assert documented == read
    assert 'SETTING = "COGRPO_PRECISION"' in SOURCES


def test_every_subcommand_is_documented_and_exists():
    documented = set(re.findall(r"`python -m cogrpo ([a-z]+)`", section("Commands")))
    told = subprocess.run(
        [sys.executable, "-m", "cogrpo", "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert documented == set(re.findall(r"^    ([a-z]+) ", told.stdout, re.M))


def test_every_module_that_is_a_program_is_documented_and_exists():
    documented = set(re.findall(r"`python -m ([\w.]+)", section("Commands")))
    programs = set()
    for part in ("benchmarks", "cogrpo", "db", "ui"):
        for path in (ROOT / part).rglob("*.py"):
            if path.stem == "__main__" or '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
                programs.add(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__"))
    assert documented == programs


def test_every_page_that_is_named_exists():
    named = {
        page
        for path in subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).splitlines()
        if path.endswith((".py", ".yaml", ".md", ".js"))
        for page in re.findall(r"\bdocs/[\w-]+\.md", (ROOT / path).read_text(encoding="utf-8"))
    }
    assert {page for page in named if not (ROOT / page).is_file()} == set()


def test_every_command_of_the_store_is_documented_and_exists():
    page = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `python -m db ([a-z]+)", page, re.M))
    told = subprocess.run([sys.executable, "-m", "db", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert documented == set(re.findall(r"^    ([a-z]+) ", told.stdout, re.M))


def test_every_table_of_the_store_is_documented_and_exists():
    page = (ROOT / "docs" / "store.md").read_text(encoding="utf-8")
    rows = re.search(r"## Tables\n(.*?)\n## ", page, re.S)[1].splitlines()
    named = {
        name for row in rows if row.startswith("| `") for name in re.findall(r"`(\w+)`", row.split("|")[1])
    }
    assert named == {*Base.metadata.tables, "alembic_version"}


def test_every_module_command_exists():
    for module in re.findall(r"`python -m ([a-z_.]+)`", section("Commands")):
        path = ROOT / module.replace(".", "/")
        assert (path / "__main__.py").is_file() or path.with_suffix(".py").is_file()


def test_every_endpoint_is_documented_and_exists():
    documented = set(re.findall(r"^\| `(?:GET )?/([a-z]+)`", section("Endpoints"), re.M))
    named = set(re.findall(r"api_name=\"([a-z]+)\"", SOURCES))
    assert documented == named | {"healthz"}


def test_the_readme_names_both_commands():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make run" in readme and "make test" in readme


@pytest.fixture
def the_example_of_the_docs(monkeypatch, tmp_path):
    """The page's own Python, as a module in the folder of schedules."""
    (tmp_path / "quartic.py").write_text(python_of("adding-a-schedule.md"), encoding="utf-8")
    monkeypatch.setattr(schedules, "__path__", [*schedules.__path__, str(tmp_path)])


def test_the_example_schedule_appears_and_decodes_all(the_example_of_the_docs):
    assert schedules.available()["quartic"] == "Quartic: one token at a time early, nearly all of them late."
    table = schedules.build("quartic", 4).table
    assert torch.allclose(table[:, 0], torch.tensor([1 - 0.25**4, 1 - 0.5**4, 1 - 0.75**4, 0.0]))
