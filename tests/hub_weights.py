"""What is done to the weights of any model of the hub: saved and found again, or broken."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from cogrpo.models.clip_vq import ClipVqModel
from cogrpo.registry import Checkpoint, Registry


def saved_and_found(model: ClipVqModel, name: str, data: Path) -> tuple[Registry, Checkpoint]:
    """The model's weights with a last layer of zeros, saved in a data folder and found there by their hash."""
    registry = Registry(data)
    with torch.no_grad():
        model.network.mlm_layer.conv2.weight.zero_()
    path = data / "checkpoints" / "mine.safetensors"
    path.parent.mkdir()
    model.save(path)
    return registry, registry.resolve(f"{name}:{registry.at(path, name).sha256[:12]}")


def break_key(tensors: dict[str, Tensor], key: str, harm: str) -> str:
    """Take a tensor away, add one of somebody else's, or change its shape; returns the name that an error must tell."""
    if harm == "missing":
        del tensors[key]
    elif harm == "foreign":
        key = "somebody.else"
        tensors[key] = torch.zeros(1)
    elif harm == "shape":
        tensors[key] = torch.zeros(tensors[key].numel() + 1)
    return key
