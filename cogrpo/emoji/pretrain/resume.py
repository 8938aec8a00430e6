"""The state of a short training on disk: a kill costs the updates since the last save, and the end is the same bits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

Parts = Mapping[
    str, Any
]  # networks, optimisers, rate schedules, random generators and tensors that a training changes


def save(path: Path, update: int, parts: Parts) -> None:
    """Write all parts under a temporary name, then give it its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing")
    torch.save({"update": update, **{name: _state(part) for name, part in parts.items()}}, temporary)
    temporary.replace(path)


def load(path: Path, parts: Parts) -> int:
    """Put all parts, in place, where `save` found them; returns the update, or 0 where nothing was saved."""
    if not path.exists():
        return 0
    saved = torch.load(path, weights_only=True)
    for name, part in parts.items():
        match part:
            case np.random.Generator():
                part.bit_generator.state = saved[name]
            case torch.Generator():
                part.set_state(saved[name])
            case Tensor():
                part.copy_(saved[name])
            case _:
                part.load_state_dict(saved[name])
    return saved["update"]


def _state(part: Any) -> Any:
    match part:
        case np.random.Generator():
            return part.bit_generator.state
        case torch.Generator():
            return part.get_state()
        case Tensor():
            return part
        case _:
            return part.state_dict()
