"""The migrations lead to what the models say, and back, with rows in the tables."""

from __future__ import annotations

import logging
import shutil

import pytest
from database import fill
from sqlalchemy import inspect, select, text

from db import schema
from db.models import Base, Vote
from db.session import MODE, StoreError, connect

# A later change of the kind that SQLite cannot do in place: a table that others point at is written anew.
LATER = """
import sqlalchemy as sa
from alembic import op

revision, down_revision = "0003", "0002"


def upgrade() -> None:
    with op.batch_alter_table("voters") as table:
        table.add_column(sa.Column("language", sa.String(10), nullable=False, server_default="en"))
        table.create_check_constraint(op.f("ck_voters_language"), "language <> ''")
    with op.batch_alter_table("votes") as table:
        table.drop_constraint(op.f("ck_votes_overall"), type_="check")
        table.create_check_constraint(op.f("ck_votes_overall"), "overall IS NULL OR overall BETWEEN 0 AND 9")


def downgrade() -> None:
    with op.batch_alter_table("votes") as table:
        table.drop_constraint(op.f("ck_votes_overall"), type_="check")
        table.create_check_constraint(op.f("ck_votes_overall"), "overall IS NULL OR overall BETWEEN 1 AND 7")
    with op.batch_alter_table("voters") as table:
        table.drop_constraint(op.f("ck_voters_language"), type_="check")
        table.drop_column("language")
"""


@pytest.fixture
def later(monkeypatch, tmp_path):
    """The migrations with one more."""
    shutil.copytree(schema.MIGRATIONS, tmp_path / "migrations")
    (tmp_path / "migrations" / "versions" / "0003_later.py").write_text(LATER)
    monkeypatch.setattr(schema, "MIGRATIONS", tmp_path / "migrations")


def rows(store) -> dict[str, list[tuple]]:
    """Everything that is in the tables."""
    with store.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
        }


def downgrade(store, revision: str) -> None:
    engine = connect(store.url, foreign_keys=False).execution_options(**{MODE: "write"})
    with engine.begin() as connection:
        schema.downgrade(connection, revision)
    engine.dispose()


def test_models_and_migrations_agree(store):
    with store.read() as session:
        assert schema.differences(session.connection()) == []


def test_a_difference_would_be_found(store):
    with store.write() as session:
        session.execute(text("DROP INDEX ix_votes_created_at"))
        session.execute(text("ALTER TABLE prompts ADD COLUMN extra INTEGER"))
    with store.read() as session:
        assert {told[0] for told in schema.differences(session.connection())} == {
            "add_index",
            "remove_column",
        }


def test_every_check_is_in_the_database_as_in_the_models(store):
    """Alembic does not compare these."""
    with store.read() as session:
        inspector = inspect(session.connection())
        for table in Base.metadata.sorted_tables:
            named = {str(c.name) for c in table.constraints if type(c).__name__ == "CheckConstraint"}
            assert named == {c["name"] for c in inspector.get_check_constraints(table.name)}, table.name


def test_down_to_nothing_and_up_again_with_rows_in_every_table(store):
    fill(store)
    assert all(rows(store).values())
    downgrade(store, "base")
    assert set(inspect(store.engine).get_table_names()) == {"alembic_version"}
    store.upgrade()
    fill(store)
    with store.read() as session:
        assert schema.differences(session.connection()) == []


def test_a_later_migration_keeps_every_row_up_and_down(store, later):
    fill(store)
    before = rows(store)
    store.upgrade()
    assert rows(store) == before
    with store.write() as session:
        assert session.scalar(text("SELECT language FROM voters")) == "en"
        session.scalars(select(Vote)).one().overall = 9
        session.flush()
        session.rollback()
    downgrade(store, "0002")
    assert rows(store) == before
    with store.read() as session:
        assert schema.differences(session.connection()) == []


def test_a_migration_that_fails_changes_nothing(store, later):
    fill(store)
    with (schema.MIGRATIONS / "versions" / "0003_later.py").open("a") as file:
        file.write(
            '\n\n_half = upgrade\n\n\ndef upgrade():\n    _half()\n    op.execute("SELECT * FROM nowhere")\n'
        )
    before = rows(store)
    with pytest.raises(StoreError, match="nowhere"):
        store.upgrade()
    assert rows(store) == before
    with store.read() as session:
        assert schema.version(session.connection()) == "0002"
        assert schema.differences(session.connection()) == []


def test_the_apps_logging_stays_as_it_was(new_store):
    root = logging.getLogger()
    own = logging.getLogger("somebody.else")
    before = (root.level, list(root.handlers), own.disabled, logging.getLogger("alembic").level)
    new_store().upgrade()
    assert (root.level, list(root.handlers), own.disabled, logging.getLogger("alembic").level) == before
