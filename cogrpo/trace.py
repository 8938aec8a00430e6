"""A trace: everything that one decode did, and its file format.

File: 8 bytes magic, 32 bytes sha256 of all that follows, u32 (little endian) length of the header, the
header (JSON, UTF-8), then one zlib stream with the arrays, each at the offset that the header tells, little
endian. A browser reads it with DecompressionStream('deflate') and typed arrays (offsets are multiples of
8).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cogrpo.decode import Step
from cogrpo.schedule import COLUMNS, MOST_STEPS

MAGIC = b"CGTRACE1"
VERSION = 1
LARGEST_FILE = 64 * 2**20  # bytes
LARGEST_HEADER = 2**20
LARGEST_CONTENT = 256 * 2**20  # bytes after decompression
DTYPES = {"uint8": "|u1", "uint16": "<u2", "uint32": "<u4", "float16": "<f2", "float32": "<f4"}
PACKED = ("token_logprob", "top_codes", "top_probs")  # stored only where hidden before the step, row by row


class TraceError(ValueError):
    """A file that is not a sound trace; the message is one sentence."""


@dataclass(frozen=True, eq=False)
class Trace:
    """One row of a decode, in the number types of its file, so that saving and loading change nothing.

    T steps, N positions. Arrays are 0 where a position was known before the step, except `sampled` and
    `confidence`.
    """

    recipe: Mapping[str, object]
    grid: tuple[int, int]
    vocab_size: int
    image_sha256: str
    sampled: np.ndarray  # [T, N] uint16 (uint32 where the codes need it)
    kept_step: np.ndarray  # [N] uint8: the step that kept the position
    schedule: np.ndarray  # [T, 4] float32
    confidence: np.ndarray  # [T, N] float16
    token_logprob: np.ndarray  # [T, N] float32
    entropy: np.ndarray  # [T] float32, nats
    top_codes: np.ndarray  # [T, N, 5]
    top_probs: np.ndarray  # [T, N, 5] float16
    clamped: np.ndarray  # [T] uint8
    extras: Mapping[str, object] = field(default_factory=dict)
    attachments: Mapping[str, np.ndarray] = field(default_factory=dict)  # name -> uint8 [bytes]

    @staticmethod
    def of(
        steps: Sequence[Step],
        row: int,
        recipe: Mapping[str, object],
        grid: tuple[int, int],
        vocab_size: int,
        image_sha256: str,
    ) -> Trace:
        """The trace of one row of a finished decode. Raises ValueError where positions are still hidden."""
        own = [step for step in steps if bool(step.active[row])]
        if not own or bool(own[-1].hidden[row].any()):
            raise ValueError("trace: the decode is not finished.")
        code = np.uint16 if vocab_size <= 2**16 else np.uint32
        kept = _stack(own, "kept", row)
        return Trace(
            recipe, grid, vocab_size, image_sha256,
            sampled=_stack(own, "sampled", row).astype(code),
            kept_step=kept.argmax(axis=0).astype(np.uint8),
            schedule=_stack(own, "schedule", row).astype(np.float32),
            confidence=_stack(own, "confidence", row).astype(np.float16),
            token_logprob=_stack(own, "token_logprob", row).astype(np.float32),
            entropy=_stack(own, "entropy", row).astype(np.float32),
            top_codes=_stack(own, "top_codes", row).astype(code),
            top_probs=_stack(own, "top_probs", row).astype(np.float16),
            clamped=_stack(own, "clamped", row).astype(np.uint8),
        )  # fmt: skip

    @property
    def steps(self) -> int:
        return len(self.sampled)

    @property
    def tokens(self) -> np.ndarray:
        """The final tokens [N]."""
        return self.sampled[-1]

    @property
    def hidden_before(self) -> np.ndarray:
        """[T, N] bool: hidden before each step."""
        return self.kept_step[None] >= np.arange(self.steps)[:, None]

    @property
    def kept(self) -> np.ndarray:
        """[T, N] bool: revealed in each step."""
        return self.kept_step[None] == np.arange(self.steps)[:, None]

    def state(self, step: int) -> tuple[Tensor, Tensor]:
        """Tokens [N] int64 (0 where hidden) and hidden [N] bool as the network saw them before `step`."""
        hidden = self.hidden_before[step]
        tokens = np.where(hidden, 0, self.tokens).astype(np.int64)
        return torch.from_numpy(tokens), torch.from_numpy(hidden)

    def shared(
        self, pictures: Sequence[bytes], atlas: bytes, codes: Sequence[int], cell: tuple[int, int]
    ) -> Trace:
        """The trace with what a page without a server needs: a PNG a step, and one strip of the used
        codes."""
        ends = np.cumsum([0, *map(len, pictures)]).tolist()
        extras = {"pictures": {"offsets": ends}, "atlas": {"codes": list(codes), "cell": list(cell)}}
        arrays = {"pictures": b"".join(pictures), "atlas": atlas}
        attachments = {name: np.frombuffer(data, np.uint8) for name, data in arrays.items()}
        return replace(self, extras={**self.extras, **extras}, attachments=attachments)

    @property
    def pictures(self) -> list[bytes]:
        """The PNG of each step in a shared trace, else none."""
        if "pictures" not in self.attachments:
            return []
        data, ends = self.attachments["pictures"].tobytes(), self.extras["pictures"]["offsets"]
        return [data[a:b] for a, b in zip(ends, ends[1:], strict=False)]

    def to_bytes(self) -> bytes:
        content, entries = bytearray(), []
        arrays = {name: getattr(self, name) for name in _NAMES}
        for name in PACKED:
            arrays[name] = arrays[name][self.hidden_before]
        for name, array in {**arrays, **self.attachments}.items():
            content += bytes(-len(content) % 8)  # typed arrays of a browser want aligned offsets
            place = {"shape": list(array.shape), "offset": len(content)}
            entries.append({"name": name, "dtype": array.dtype.name, **place})
            content += array.astype(DTYPES[array.dtype.name]).tobytes()
        header = json.dumps(
            {
                "version": VERSION, "recipe": dict(self.recipe), "grid": list(self.grid),
                "vocab_size": self.vocab_size, "steps": self.steps, "image_sha256": self.image_sha256,
                "arrays": entries, "extras": dict(self.extras),
            },
            ensure_ascii=False, allow_nan=False, separators=(",", ":"),
        ).encode()  # fmt: skip
        body = struct.pack("<I", len(header)) + header + zlib.compress(bytes(content), 9)
        return MAGIC + hashlib.sha256(body).digest() + body

    def save(self, path: Path) -> None:
        write_atomically(path, self.to_bytes())

    @staticmethod
    def load(path: Path) -> Trace:
        """Read a trace file. Raises TraceError for a missing, foreign, truncated or tampered file."""
        try:
            if path.stat().st_size > LARGEST_FILE:
                raise TraceError(f"trace: the file is larger than the allowed {LARGEST_FILE >> 20} MB.")
            return Trace.from_bytes(path.read_bytes())
        except OSError as error:
            raise TraceError(f"trace: {path.name!r} cannot be read.") from error

    @staticmethod
    def from_bytes(data: bytes) -> Trace:
        if data[:8] != MAGIC:
            raise TraceError("trace: this is not a trace file (it does not begin with CGTRACE1).")
        if len(data) < 44 or hashlib.sha256(data[40:]).digest() != data[8:40]:
            raise TraceError("trace: the checksum does not match, so the file was cut short or changed.")
        (length,) = struct.unpack_from("<I", data, 40)
        if length > min(LARGEST_HEADER, len(data) - 44):
            raise TraceError("trace: the header is longer than the file, or than the 1 MB that is allowed.")
        try:
            return _decode(json.loads(data[44 : 44 + length]), data[44 + length :])
        except TraceError:
            raise
        # Whatever a forged header lacks or twists surfaces as one of these.
        except (LookupError, TypeError, AttributeError, ValueError, OverflowError, MemoryError) as error:
            raise TraceError("trace: the header does not describe what the file holds.") from error
        except (RecursionError, zlib.error) as error:
            raise TraceError("trace: the header or the arrays are damaged.") from error


_NAMES = (
    "sampled", "kept_step", "schedule", "confidence", "token_logprob", "entropy",
    "top_codes", "top_probs", "clamped",
)  # fmt: skip


def _stack(steps: Sequence[Step], name: str, row: int) -> np.ndarray:
    return torch.stack([getattr(step, name)[row] for step in steps]).numpy()


def _decode(header: dict, compressed: bytes) -> Trace:
    rows, columns = header["grid"]
    steps, vocab, positions = header["steps"], header["vocab_size"], rows * columns
    whole = all(type(number) is int and number >= 1 for number in (rows, columns, steps, vocab))
    allowed = whole and steps <= MOST_STEPS and positions <= 2**16 and vocab <= 2**32
    if header["version"] != VERSION or not allowed:
        raise TraceError(f"trace: version, steps (1 to {MOST_STEPS}) or grid are outside what is allowed.")
    entries = {entry["name"]: entry for entry in header["arrays"]}
    sizes = {
        name: entry["offset"] + math.prod(entry["shape"]) * np.dtype(DTYPES[entry["dtype"]]).itemsize
        for name, entry in entries.items()
    }
    size = max(sizes.values())
    if size > LARGEST_CONTENT or any(min(e["offset"], *e["shape"]) < 0 for e in entries.values()):
        raise TraceError(f"trace: the arrays are larger than the allowed {LARGEST_CONTENT >> 20} MB.")
    stream = zlib.decompressobj()
    content = stream.decompress(compressed, size + 1)
    if len(content) != size or not stream.eof or stream.unused_data:
        raise TraceError("trace: the arrays have another size than the header tells.")
    arrays = {}
    for name, e in entries.items():
        flat = np.frombuffer(content, DTYPES[e["dtype"]], math.prod(e["shape"]), e["offset"])
        arrays[name] = flat.reshape(e["shape"])
    own = {name: arrays.pop(name) for name in _NAMES}
    before = own["kept_step"][None] >= np.arange(steps)[:, None]
    _check_arrays(own, steps, positions, vocab, int(before.sum()))
    for name in PACKED:
        full = np.zeros((steps, positions, *own[name].shape[1:]), own[name].dtype)
        full[before] = own[name]
        own[name] = full
    if any(array.dtype != np.uint8 or array.ndim != 1 for array in arrays.values()):
        raise TraceError("trace: an attached array is not a row of bytes.")
    if arrays:
        _check_shared(header["extras"], arrays, steps, vocab)
    return Trace(
        dict(header["recipe"]), (rows, columns), vocab, str(header["image_sha256"]), **own,
        extras=dict(header["extras"]), attachments=arrays,
    )  # fmt: skip


def _check_arrays(
    arrays: Mapping[str, np.ndarray], steps: int, positions: int, vocab: int, packed: int
) -> None:
    """Raises TraceError where a shape, a type or a number cannot have come from a decode."""
    code = np.dtype(np.uint16 if vocab <= 2**16 else np.uint32)
    top = min(5, vocab)
    expected = {
        "sampled": (code, (steps, positions)), "kept_step": (np.uint8, (positions,)),
        "schedule": (np.float32, (steps, len(COLUMNS))), "confidence": (np.float16, (steps, positions)),
        "token_logprob": (np.float32, (packed,)), "entropy": (np.float32, (steps,)),
        "top_codes": (code, (packed, top)), "top_probs": (np.float16, (packed, top)),
        "clamped": (np.uint8, (steps,)),
    }  # fmt: skip
    for name, (dtype, shape) in expected.items():
        if arrays[name].dtype != dtype or arrays[name].shape != shape:
            raise TraceError(f"trace: the array {name} has the wrong type or shape.")
    if arrays["kept_step"].max() >= steps or max(arrays["sampled"].max(), arrays["top_codes"].max()) >= vocab:
        raise TraceError("trace: a step or a code lies outside the range that the header tells.")
    numbers = ("schedule", "confidence", "token_logprob", "entropy", "top_probs")
    if not all(np.isfinite(arrays[name]).all() for name in numbers):
        raise TraceError("trace: a number is not finite.")


def _check_shared(extras: Mapping, attachments: Mapping[str, np.ndarray], steps: int, vocab: int) -> None:
    """Raises TraceError where what is attached is not what `Trace.shared` attaches; what is missing is a KeyError."""
    ends, codes, cell = (np.array(told) for told in (
        extras["pictures"]["offsets"], extras["atlas"]["codes"], extras["atlas"]["cell"],
    ))  # fmt: skip
    whole = all(array.dtype.kind == "i" for array in (ends, codes, cell))
    fits = set(attachments) == {"pictures", "atlas"} and ends.shape == (steps + 1,) and cell.shape == (2,)
    if not whole or not fits or ends[0] != 0 or (np.diff(ends) <= 0).any() or cell.min() < 1:
        raise TraceError("trace: the pictures that are attached are not one a step.")
    if ends[-1] != len(attachments["pictures"]) or codes.ndim != 1 or codes.min() < 0 or codes.max() >= vocab:
        raise TraceError("trace: the pictures that are attached are not those that the header tells.")


def write_atomically(path: Path, data: bytes) -> None:
    """Write under a temporary name, flush, rename: nobody ever sees half a file, and none is left behind."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
