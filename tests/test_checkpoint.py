"""Checkpoints: whole or absent, and refused by name where damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from cogrpo import checkpoint
from cogrpo.checkpoint import CheckpointFileError

TENSORS = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3, dtype=torch.int64)}


def test_what_is_saved_comes_back(tmp_path):
    checkpoint.save(tmp_path, 3, TENSORS, {"round": 3, "best": None})
    saved = checkpoint.load(checkpoint.latest(tmp_path))
    assert saved.facts == {"round": 3, "best": None, "version": checkpoint.VERSION}
    assert all(torch.equal(saved.tensors[name], tensor) for name, tensor in TENSORS.items())


def test_the_same_state_has_the_same_hash_and_another_state_another(tmp_path):
    hashes = []
    for name, extra in (("a", 0), ("b", 0), ("c", 1)):
        checkpoint.save(tmp_path / name, 1, {**TENSORS, "extra": torch.tensor(extra)}, {"round": 1})
        hashes.append(checkpoint.check_folder(tmp_path / name / "round-000001"))
    assert hashes[0] == hashes[1] != hashes[2]


def test_only_the_latest_stay_and_the_last_is_found(tmp_path):
    for round in range(1, 6):
        checkpoint.save(tmp_path, round, TENSORS, {"round": round})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["round-000004", "round-000005"]
    assert checkpoint.latest(tmp_path).name == "round-000005"
    assert checkpoint.latest_round(tmp_path) == 5
    assert checkpoint.latest(tmp_path / "none") is None and checkpoint.latest_round(tmp_path / "none") == 0


def test_a_folder_that_was_not_finished_is_no_checkpoint(tmp_path):
    checkpoint.save(tmp_path, 1, TENSORS, {"round": 1})

    def killed(folder):
        (folder / checkpoint.TENSORS).write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        checkpoint.write_folder(tmp_path / "round-000002", killed)
    assert checkpoint.latest(tmp_path).name == "round-000001"
    checkpoint.save(tmp_path, 2, TENSORS, {"round": 2})
    assert checkpoint.load(checkpoint.latest(tmp_path)).facts["round"] == 2


def test_what_is_replaced_stays_until_the_new_one_is_whole(tmp_path, monkeypatch):
    checkpoint.save(tmp_path, 1, TENSORS, {"round": 1})
    final, rename = tmp_path / "round-000001", Path.rename

    def killed(path, target):
        if path.name.endswith(".writing"):
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(tmp_path, 1, TENSORS, {"round": 1, "again": True})
    monkeypatch.undo()
    assert "again" not in checkpoint.load(tmp_path / ".round-000001.replaced").facts
    checkpoint.save(tmp_path, 1, TENSORS, {"round": 1, "again": True})
    assert checkpoint.load(final).facts["again"] and list(tmp_path.iterdir()) == [final]


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path):
    def full(folder):
        raise SafetensorError("I/O error: No space left on device")

    with pytest.raises(OSError, match="No space left") as caught:
        checkpoint.write_folder(tmp_path / "round-000001", full)
    assert caught.value.filename == str(tmp_path / "round-000001")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_the_manifest_does_not_list_is_refused(tmp_path):
    checkpoint.save(tmp_path, 1, TENSORS, {"round": 1})
    (tmp_path / "round-000001" / "more.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointFileError, match="more.safetensors is not in the manifest"):
        checkpoint.load(tmp_path / "round-000001")


@pytest.mark.parametrize("name", [checkpoint.TENSORS, checkpoint.FACTS])
def test_a_changed_byte_is_refused_by_name(tmp_path, name):
    checkpoint.save(tmp_path, 1, TENSORS, {"round": 1})
    path = tmp_path / "round-000001" / name
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(CheckpointFileError, match=rf"round-000001/{name} is damaged"):
        checkpoint.load(path.parent)


def test_a_missing_file_a_foreign_manifest_and_another_version_are_refused(tmp_path):
    checkpoint.save(tmp_path, 1, TENSORS, {"round": 1})
    folder = tmp_path / "round-000001"
    with pytest.raises(CheckpointFileError, match="manifest.json cannot be read"):
        checkpoint.load(tmp_path)
    (folder / checkpoint.MANIFEST).write_text("[1]")
    with pytest.raises(CheckpointFileError, match="manifest of .* is damaged"):
        checkpoint.load(folder)

    def old(place):
        (place / checkpoint.FACTS).write_text(json.dumps({"version": 0}))
        checkpoint.save_file(TENSORS, place / checkpoint.TENSORS)

    checkpoint.write_folder(folder, old)
    with pytest.raises(CheckpointFileError, match="version 0, not 1"):
        checkpoint.load(folder)


def test_a_place_that_cannot_be_written_leaves_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        checkpoint.save(tmp_path / "file", 1, TENSORS, {"round": 1})
