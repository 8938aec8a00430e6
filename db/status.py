"""How much is in the store and where the rounds are, for people and scripts."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from db.models import Base, Round


def status(session: Session) -> dict[str, Any]:
    """`{"tables": {name: rows}, "rounds": [{"id", "state"}]}`, the oldest round first."""
    tables = {
        table.name: session.scalar(select(func.count()).select_from(table))
        for table in sorted(Base.metadata.tables.values(), key=lambda table: table.name)
    }
    rounds = session.execute(select(Round.id, Round.state).order_by(Round.id))
    return {"tables": tables, "rounds": [{"id": row.id, "state": row.state} for row in rounds]}
