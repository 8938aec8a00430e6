"""Steps and traces as the messages that the viewer plays: open, one step each, close.

Numbers go in as numpy arrays or CPU tensors, JSON comes out. `ui/static/record.js` is the reader.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from PIL import Image

from cogrpo.decode import Step
from cogrpo.models.base import MaskedImageModel
from cogrpo.trace import Trace

Message = dict[str, Any]
Table = Sequence[Sequence[float]]


def png(pixels: Any) -> bytes:
    """uint8 pixels [H, W, 3] as a PNG file."""
    file = io.BytesIO()
    Image.fromarray(np.asarray(pixels)).save(file, "PNG")
    return file.getvalue()


def considered(sampled: Any, top_codes: Any) -> set[int]:
    """Every code that a viewer may have to show. Known cells carry 0 as top code: one more thumbnail."""
    return set(np.unique(np.asarray(sampled)).tolist()) | set(np.unique(np.asarray(top_codes)).tolist())


def strip(codes: Sequence[int], model: MaskedImageModel) -> bytes:
    """What codes look like, side by side, as a PNG file."""
    return png(np.concatenate(list(model.code_images(torch.tensor(codes)).numpy()), axis=1))


def data_url(image: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(image).decode("ascii")


def open_message(
    key: str,
    recipe: Mapping[str, object],
    grid: tuple[int, int],
    vocab: int,
    schedule: Table,
    baselines: Mapping[str, Table],
) -> Message:
    """A decode begins. `schedule` may be empty where its numbers come step by step."""
    return {
        "type": "open",
        "id": key,
        "recipe": dict(recipe),
        "grid": list(grid),
        "vocab": vocab,
        "steps": int(recipe["steps"]),
        "schedule": _rounded(schedule),
        "baselines": {name: _rounded(table) for name, table in baselines.items()},
    }


def step_message(key: str, step: Step, row: int, picture: bytes) -> Message:
    """One row of one decoded step, with the picture of all its guesses."""
    return _step(
        key,
        step.index,
        step.sampled[row],
        step.kept[row],
        step.hidden[row],
        step.confidence[row],
        step.entropy[row],
        step.schedule[row],
        step.top_codes[row],
        step.top_probs[row],
        picture,
    )


def close_message(
    key: str,
    milliseconds: float | None,
    atlas: Message | None,
    files: Mapping[str, str] = MappingProxyType({}),
    verifier: Message | None = None,
    generation: int | None = None,
    unknown: Sequence[object] = (),
    notes: Sequence[str] = (),
    stopped: bool = False,
) -> Message:
    """The decode is over. `files` maps what can be saved (image, trace, shared, gif) to its address; `generation` is
    the number under which the picture can be rated. Both are empty where it is not kept."""
    return {
        "type": "close",
        "id": key,
        "milliseconds": milliseconds,
        "atlas": atlas,
        "image": files.get("image", ""),
        "trace": files.get("trace", ""),
        "files": dict(files),
        "generation": generation,
        "verifier": verifier,
        "unknown": list(unknown),
        "notes": list(notes),
        "stopped": stopped,
    }


def beside_message(key: str, messages: Sequence[Message]) -> Message:
    """Another decode's messages, to be shown beside the decode `key`."""
    return {"type": "beside", "id": key, "messages": list(messages)}


def atlas_message(codes: Sequence[int], cell: tuple[int, int], picture: bytes) -> Message:
    """What the used codes look like: one strip of cells, in the order of `codes`."""
    return {"codes": [int(code) for code in codes], "cell": list(cell), "picture": data_url(picture)}


def trace_messages(
    key: str, trace: Trace, pictures: Sequence[bytes], baselines: Mapping[str, Table], close: Message
) -> list[Message]:
    """A finished trace as the same messages that its decode sent."""
    opening = open_message(key, trace.recipe, trace.grid, trace.vocab_size, trace.schedule, baselines)
    steps = [
        _step(
            key,
            t,
            trace.sampled[t],
            trace.kept[t],
            trace.kept_step > t,
            trace.confidence[t],
            trace.entropy[t],
            trace.schedule[t],
            trace.top_codes[t],
            trace.top_probs[t],
            picture,
        )
        for t, picture in enumerate(pictures)
    ]
    return [opening, *steps, close]


def _step(
    key: str,
    index: int,
    sampled: Any,
    kept: Any,
    hidden: Any,
    confidence: Any,
    entropy: Any,
    schedule: Any,
    top_codes: Any,
    top_probs: Any,
    picture: bytes,
) -> Message:
    sampled, kept, hidden, top_codes = map(np.asarray, (sampled, kept, hidden, top_codes))
    drawn = (kept | hidden).nonzero()[0]  # hidden before the step: only there was anything considered
    return {
        "type": "step",
        "id": key,
        "index": index,
        "sampled": sampled.tolist(),
        "kept": kept.astype(int).tolist(),
        "hidden": hidden.astype(int).tolist(),
        "confidence": _rounded(confidence),
        "entropy": round(float(entropy), 4),
        "decoded": int(kept.sum()),
        "schedule": _rounded(schedule),
        "top": {
            "positions": drawn.tolist(),
            "codes": top_codes[drawn].tolist(),
            "probs": _rounded(np.asarray(top_probs)[drawn]),
        },
        "picture": data_url(picture),
    }


def _rounded(numbers: Any) -> list:
    """Four decimals are more than a screen shows, and keep a message small."""
    return np.asarray(numbers, dtype=np.float64).round(4).tolist()
