"""Rows that rounds need: weights, voters, pictures and votes, each with the least that the tables ask for."""

from __future__ import annotations

import hashlib
import io
from datetime import timedelta
from itertools import count
from pathlib import Path

import numpy as np
from PIL import Image
from sqlalchemy.orm import Session

from cogrpo.recipe import picture_hash
from db import aliases
from db.artifacts import Artifacts
from db.models import Generation, Presentation, PresentationItem, Prompt, Vote, Voter, now

_number = count()


def sha(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def champion(session: Session, model: str = "emoji", sha256: str | None = None) -> None:
    """Shipped weights that are champion and baseline at once."""
    sha256 = sha256 or sha(f"shipped {model}")
    aliases.establish(session, model, {"champion": sha256, "baseline": sha256}, Path("nowhere"), "test")


def voter(session: Session) -> int:
    row = Voter(pseudonym=f"voter-{next(_number)}")
    session.add(row)
    session.flush()
    return row.id


def prompt(session: Session, text: str) -> int:
    row = session.query(Prompt).filter_by(text=text).one_or_none()
    if row is None:
        row = Prompt(text=text, sha256=sha(text))
        session.add(row)
        session.flush()
    return row.id


def picture(
    session: Session,
    artifacts: Artifacts,
    text: str,
    pixels: np.ndarray | None = None,
    weights: str | None = None,
    model: str = "emoji",
) -> int:
    """A generation; pixels uint8 [H, W, 3], random where they do not matter."""
    if pixels is None:
        pixels = np.random.default_rng(next(_number)).integers(0, 256, (8, 8, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    image = artifacts.put(session, buffer.getvalue(), "image")
    trace = artifacts.put(session, b"trace of " + image.encode(), "trace")
    row = Generation(
        prompt_id=prompt(session, text), source="pair", model=model, checkpoint_sha256=weights or sha("weights"),
        schedule="cosine", steps=8, seed=0, sampler_version="1", recipe={}, pixels_sha256=picture_hash(pixels),
        image_sha256=image, trace_sha256=trace,
    )  # fmt: skip
    session.add(row)
    session.flush()
    return row.id


def pair(
    session: Session,
    who: int,
    text: str,
    left: int,
    right: int,
    outcome: str = "left",
    purpose: str = "collect",
    round: int | None = None,
    kind: str = "pair",
    **vote: object,
) -> int:
    """A presentation of two pictures and its vote; returns the vote's id."""
    shown = Presentation(
        token=f"token-{next(_number)}", kind=kind, purpose=purpose, voter_id=who, prompt_id=prompt(session, text),
        round_id=round, seed=0, probability=1.0, expires_at=now() + timedelta(hours=1), used_at=now(),
    )  # fmt: skip
    shown.items = [PresentationItem(position=i, generation_id=each) for i, each in enumerate((left, right))]
    session.add(shown)
    session.flush()
    row = Vote(kind=kind, voter_id=who, presentation_id=shown.id, outcome=outcome, **vote)
    session.add(row)
    session.flush()
    return row.id


def votes(session: Session, artifacts: Artifacts, number: int, model: str = "emoji") -> list[int]:
    """That many pair votes by one voter on random pictures."""
    who, ids = voter(session), []
    for index in range(number):
        text = f"prompt {index}"
        shown = [picture(session, artifacts, text, model=model) for _ in range(2)]
        ids.append(pair(session, who, text, *shown))
    return ids
