"""The files of candidates, kept as artifacts: the worker that made one may stand on another machine than the app."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from db.artifacts import ArtifactError, Artifacts
from db.models import ENDED, Alias, Checkpoint, Round
from db.session import Store

KIND = "checkpoint"


def keep(session: Session, artifacts: Artifacts, folder: Path) -> dict[str, str]:
    """Keep every file of a folder; returns name -> sha256. Raises OSError."""
    return {path.name: artifacts.put(session, path.read_bytes(), KIND) for path in sorted(folder.iterdir())}


def bring(store: Store, data: Path) -> None:
    """Put what is served, and what waits for its verdict, into the data folder where its folder is missing there.

    Where an artifact is lost, the folder stays missing: the registry serves what was served before, and says so. Raises
    OSError.
    """
    named = select(Alias.checkpoint_id)
    waiting = select(Round.candidate_id).where(Round.state.not_in(ENDED))
    wanted = select(Checkpoint.folder, Checkpoint.files).where(
        or_(Checkpoint.id.in_(named), Checkpoint.id.in_(waiting))
    )
    with store.read() as session:
        rows = [(data / folder, files) for folder, files in session.execute(wanted) if files]
    for place, files in rows:
        if not place.exists():
            with suppress(ArtifactError):
                _write(store.artifacts, place, files)


def _write(artifacts: Artifacts, place: Path, files: dict[str, str]) -> None:
    """The folder appears whole or not at all. Raises ArtifactError, OSError."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{place.name}-", dir=place.parent) as half:
        whole = Path(half) / place.name
        whole.mkdir()
        for name, sha256 in files.items():
            (whole / name).write_bytes(artifacts.get(sha256))
        try:
            whole.replace(place)
        except OSError:
            if not place.is_dir():  # else another process was faster
                raise
