"""Weight files: safetensors with fp16 numbers and a few facts, the same bytes for the same weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

KIND, FACTS = "kind", "facts"


def save(path: Path, kind: str, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write `tensors`, floating ones as fp16. `kind` says what they are for; `facts` are anything that JSON holds."""
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    # One entry of metadata: several would stand in the file in an order that changes from run to run.
    told = json.dumps({KIND: kind, **facts}, sort_keys=True)
    save_file({name: tensor.contiguous() for name, tensor in halves.items()}, path, {FACTS: told})


def load(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors, floating ones as float32, and the facts. Raises ValueError, naming the file, where it is missing,
    damaged, or holds something else."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get(FACTS, "{}"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path.name}: cannot be read as weights ({error}).") from None
    if facts.get(KIND) != kind:
        raise ValueError(f"{path.name}: holds no {kind}.")
    return {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}, facts
