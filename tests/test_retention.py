"""What is kept of finished decodes. Times are those of the files, set by hand."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ui.retention import GIGABYTE, PAUSE, YOUNG, Retention, limit_from_settings

NOW = 1_000_000.0


def put(folder: Path, name: str, age: float, size: int = 100) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (NOW - age, NOW - age))
    return path


def left(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_the_oldest_go_first_and_only_as_many_as_needed(tmp_path: Path) -> None:
    for hours in (2, 3, 4, 5):
        put(tmp_path, f"{hours}.png", hours * YOUNG)
    Retention(tmp_path, limit=200).tidy(NOW)
    assert left(tmp_path) == {"2.png", "3.png"}


def test_nothing_goes_below_the_limit(tmp_path: Path) -> None:
    put(tmp_path, "old.png", 99 * YOUNG)
    Retention(tmp_path, limit=100).tidy(NOW)
    assert left(tmp_path) == {"old.png"}


def test_young_files_and_those_being_written_stay_whatever_the_size(tmp_path: Path) -> None:
    put(tmp_path, "page.png", YOUNG - 1)
    put(tmp_path, ".half.trace.77.abcd", 0)
    put(tmp_path, ".left-behind.trace.12.abcd", YOUNG)
    Retention(tmp_path, limit=0).tidy(NOW)
    assert left(tmp_path) == {"page.png", ".half.trace.77.abcd"}


def test_the_folder_is_looked_at_every_ten_minutes_at_most(tmp_path: Path) -> None:
    retention = Retention(tmp_path, limit=0)
    retention.tidy(NOW)
    put(tmp_path, "old.png", 2 * YOUNG)
    retention.tidy(NOW + PAUSE - 1)
    assert left(tmp_path) == {"old.png"}
    retention.tidy(NOW + PAUSE)
    assert left(tmp_path) == set()


def test_a_file_that_vanishes_meanwhile_is_no_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, kept = tmp_path / "gone", put(tmp_path, "kept", 0)
    monkeypatch.setattr(Path, "iterdir", lambda _: iter([gone, kept]))
    Retention(tmp_path, limit=0).tidy(NOW)
    assert kept.exists()


def test_the_setting_is_in_gigabytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STUDIO_KEEP", raising=False)
    assert limit_from_settings() == 2 * GIGABYTE
    monkeypatch.setenv("STUDIO_KEEP", "0.5")
    assert limit_from_settings() == GIGABYTE // 2


@pytest.mark.parametrize("text", ["", "much", "-1", "nan", "inf"])
def test_a_bad_setting_is_refused_in_one_sentence(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("STUDIO_KEEP", text)
    with pytest.raises(ValueError, match=r"^STUDIO_KEEP: .* is not allowed; allowed is .*\.$"):
        limit_from_settings()
