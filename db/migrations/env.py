"""Runs the migrations on the connection that `db.schema` hands over, inside its transaction."""

from __future__ import annotations

from alembic import context

from db.models import Base

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=Base.metadata,
    render_as_batch=True,  # SQLite changes a table by writing it anew
    compare_type=True,
)
context.run_migrations()
