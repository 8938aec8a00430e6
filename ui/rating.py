"""Rating a picture right beside it: three axes from 1 to 7 and a note. The last rating by the same voter counts."""

from __future__ import annotations

from typing import Any

from db import arena, voters
from db.models import AXES
from ui.records import Records


class Rating:
    def __init__(self, records: Records) -> None:
        self.records = records

    def rate(self, told: dict[str, Any]) -> dict[str, Any]:
        """Store what the page's form says. Raises ArenaError, VoterError or StoreError."""
        ratings = {axis: told.get(axis) for axis in AXES}
        with self.records.writing() as session:
            voter = voters.by_pseudonym(session, str(told.get("voter", "")))
            arena.rate(session, told.get("generation"), voter, ratings, told.get("note"))
        return {"saved": True}
