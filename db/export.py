"""All tables as JSON lines, one file a table, for other programs. Not for a release: consent is not asked here."""

from __future__ import annotations

import hashlib
import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from db.models import Base
from db.session import StoreError

# Whoever knows these can vote as somebody else, or is told who somebody is.
LEFT_OUT = {("voters", "login"), ("presentations", "token")}
HASHED = {("voters", "pseudonym")}


def export(session: Session, folder: Path) -> dict[str, int]:
    """Write `<folder>/<table>.jsonl`; returns the rows of each. Raises StoreError where the folder holds something."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"export: {folder} is not empty; allowed is a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    rows = {}
    # Beside its place, so that the rename at the end is one step: nobody reads half an export.
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as half:
        for table in Base.metadata.sorted_tables:
            columns = [column for column in table.columns if (table.name, column.name) not in LEFT_OUT]
            hashed = [column.name for column in columns if (table.name, column.name) in HASHED]
            found = session.execute(
                select(*columns).order_by(*table.primary_key).execution_options(yield_per=500)
            )
            rows[table.name] = 0
            with (Path(half) / f"{table.name}.jsonl").open("w", encoding="utf-8") as file:
                for row in found.mappings():
                    told = dict(row) | {name: _hashed(row[name]) for name in hashed}
                    file.write(json.dumps(told, default=_text, ensure_ascii=False) + "\n")
                    rows[table.name] += 1
        if folder.exists():
            folder.rmdir()
        Path(half).rename(folder)
        Path(half).mkdir()  # for the context to take away
    folder.chmod(0o755)  # a temporary folder is closed to others
    return rows


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _text(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} has no form in JSON")
