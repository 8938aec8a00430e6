"""Brings tables to the newest version and back, with Alembic. Leaves the app's logging as it is."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from db.errors import StoreError
from db.models import Base

MIGRATIONS = Path(__file__).parent / "migrations"


def config(connection: Connection | None = None) -> Config:
    """What an alembic command needs; the connection is one in a transaction, which the caller commits."""
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    settings.attributes["connection"] = connection
    return settings


def newest() -> str:
    """The version that this program writes."""
    head = ScriptDirectory.from_config(config()).get_current_head()
    assert head is not None, "there is a first migration"
    return head


def version(connection: Connection) -> str | None:
    """The version of the database; None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def check_known(found: str | None) -> None:
    """Raises StoreError for a version that only a newer program knows. None: there are no tables yet."""
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    if found is not None and found not in known:
        raise StoreError(
            f"database: it is of version {found}, but this program knows versions up to {newest()}; update the "
            "program, or use another STUDIO_DATA or DATABASE_URL."
        )


def upgrade(connection: Connection) -> None:
    """To the newest version. Raises StoreError for a database of a newer program."""
    check_known(version(connection))
    command.upgrade(config(connection), "head")
    # Where nothing had to be upgraded: SQLite tells only at the first change that it may not write.
    connection.exec_driver_sql("UPDATE alembic_version SET version_num = version_num")
    check_references(connection)


def downgrade(connection: Connection, revision: str) -> None:
    """Back to a version, or to 'base', which drops every table."""
    command.downgrade(config(connection), revision)
    check_references(connection)


def check_references(connection: Connection) -> None:
    """Raises StoreError where SQLite holds rows that point at nothing: migrations run without foreign keys."""
    if connection.dialect.name == "sqlite":
        broken = connection.exec_driver_sql("PRAGMA foreign_key_check").first()
        if broken is not None:
            raise StoreError(
                f"database: a row of {broken[0]} points at a row of {broken[2]} that is missing."
            )


def differences(connection: Connection) -> list[object]:
    """What the models say and the database lacks, or the other way round; empty where they agree."""
    context = MigrationContext.configure(connection, opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))
