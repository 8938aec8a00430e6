"""Weight files: the same bytes for the same weights, and a sentence for any other file."""

from __future__ import annotations

import pytest
import torch

from cogrpo import weights

TENSORS = {"a": torch.arange(4.0), "b": torch.tensor([1, 2], dtype=torch.int8)}
FACTS = {"seed": 0, "config": {"width": 3}, "note": "x", "scenes": 12}


def test_tensors_and_facts_come_back(tmp_path):
    weights.save(tmp_path / "w", "thing", TENSORS, FACTS)
    tensors, facts = weights.load(tmp_path / "w", "thing")
    assert facts == {"kind": "thing", **FACTS}
    assert tensors["a"].dtype == torch.float32 and tensors["b"].dtype == torch.int8
    assert all(torch.equal(tensors[name], tensor) for name, tensor in TENSORS.items())


def test_the_same_weights_are_the_same_bytes(tmp_path):
    """Several entries of metadata would stand in an order that changes from file to file."""
    for number in range(20):
        weights.save(
            tmp_path / str(number), "thing", TENSORS, dict(reversed(FACTS.items())) if number % 2 else FACTS
        )
    assert len({path.read_bytes() for path in tmp_path.iterdir()}) == 1


def test_another_file_is_refused_by_name(tmp_path):
    weights.save(tmp_path / "w", "thing", TENSORS, FACTS)
    (tmp_path / "junk").write_bytes(b"junk")
    with pytest.raises(ValueError, match="w: holds no other thing"):
        weights.load(tmp_path / "w", "other thing")
    for name in ("junk", "none"):
        with pytest.raises(ValueError, match=f"{name}: cannot be read"):
            weights.load(tmp_path / name, "thing")
