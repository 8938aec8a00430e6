"""Scores that are kept: reward models, not the policy, are the cost of a round on a CPU.

File: one record a line, `crc32 of the rest as 8 hex digits, space, JSON of [picture, prompt, name, version, score]`,
only ever appended. A record begins with its line break, so what a crash cut off spoils no later record, and a line
whose checksum is wrong is passed over.
"""

from __future__ import annotations

import hashlib
import json
import os
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from cogrpo.rewards.base import RewardError


class Key(NamedTuple):
    picture: str  # sha256 of the pixels
    prompt: str  # sha256 of the text in UTF-8
    name: str
    version: str


def prompt_hash(prompt: str) -> str:
    return hashlib.sha256(prompt.encode()).hexdigest()


class ScoreCache:
    """Scores by `Key`, in memory and, where `path` is given, in a file that several processes may append to.

    The file is made by the first score. Raises RewardError where it cannot be read.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._scores: dict[Key, float] = {}
        if path is not None:
            try:
                self._scores = dict(filter(None, map(_read, path.read_bytes().split(b"\n"))))
            except FileNotFoundError:
                pass
            except OSError as error:
                raise RewardError(f"reward cache: {path} cannot be read ({error.strerror}).") from error

    def __len__(self) -> int:
        return len(self._scores)

    def get(self, key: Key) -> float | None:
        return self._scores.get(key)

    def put(self, scores: Mapping[Key, float]) -> None:
        """Keep new scores, all by one append. Raises OSError where the disk is full or the folder read-only."""
        self._scores.update(scores)
        if self.path is not None and scores:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as file:
                file.write(b"".join(_line(key, score) for key, score in scores.items()))
                os.fsync(file.fileno())


def _line(key: Key, score: float) -> bytes:
    payload = json.dumps([*key, score]).encode()
    return b"\n%08x %s" % (zlib.crc32(payload), payload)


def _read(line: bytes) -> tuple[Key, float] | None:
    """The record of a line, or None where it is empty or damaged."""
    checksum, _, payload = line.partition(b" ")
    if checksum != b"%08x" % zlib.crc32(payload):
        return None
    *key, score = json.loads(payload)
    return Key(*key), score
