"""Opening a store: what holds on every connection, and what is refused in one sentence."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from database import fill, record
from sqlalchemy import func, select, text
from sqlalchemy.exc import DBAPIError, IntegrityError

from db import mounts, schema
from db.models import Audit, Consent, Prompt
from db.session import Store, StoreError

WRITERS, TURNS = 8, 5


@pytest.fixture
def settings(monkeypatch):
    """Only what a test sets."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    monkeypatch.delenv("STUDIO_ARTIFACTS", raising=False)
    return monkeypatch


def test_sqlite_keeps_its_rules_on_every_connection(settings, tmp_path):
    store = Store.open(tmp_path)
    with store.read() as one, store.read() as two, store.write() as three:
        for session in (one, two, three):
            told = {
                name: session.scalar(text(f"PRAGMA {name}"))
                for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
            }
            # 2: a commit that was told is on the disk.
            assert told == {
                "journal_mode": "wal",
                "foreign_keys": 1,
                "busy_timeout": 30_000,
                "synchronous": 2,
            }
    store.close()


def test_a_row_that_points_at_nothing_is_refused(store):
    with pytest.raises(IntegrityError), store.write() as session:
        session.add(Consent(voter_id=7, version="1", licence="CC BY 4.0"))


def test_a_writer_commits_at_the_end_and_takes_all_back_where_something_was_raised(store):
    with store.write() as session:
        session.add(Audit(actor="a", action="kept", subject="s"))
    with pytest.raises(KeyError), store.write() as session:
        session.add(Audit(actor="a", action="lost", subject="s"))
        session.flush()
        raise KeyError
    with store.read() as session:
        assert session.scalars(select(Audit.action)).all() == ["kept"]


def test_a_reader_cannot_write(store):
    with pytest.raises(DBAPIError), store.read() as session:
        session.add(Audit(actor="a", action="b", subject="s"))
        session.flush()


def test_a_reader_sees_one_moment(store):
    count = select(func.count()).select_from(Audit)
    with store.read() as reader:
        assert reader.scalar(count) == 0
        with store.write() as writer:
            writer.add(Audit(actor="a", action="b", subject="s"))
        assert reader.scalar(count) == 0
    with store.read() as reader:
        assert reader.scalar(count) == 1


def test_writers_at_once_wait_for_each_other(store):
    """Each reads before it writes: on SQLite a transaction that began as a reader would fail here."""
    together = threading.Barrier(WRITERS)

    def write(writer: int) -> None:
        together.wait()
        for turn in range(TURNS):
            with store.write() as session:
                session.scalar(select(func.count()).select_from(Prompt))
                record(session, store, f"{writer} {turn}")

    with ThreadPoolExecutor(WRITERS) as pool:
        list(pool.map(write, range(WRITERS)))
    with store.read() as session:
        assert session.scalar(select(func.count()).select_from(Prompt)) == 1
        assert session.scalar(text("SELECT count(*) FROM generations")) == WRITERS * TURNS


def test_processes_that_start_together_make_the_tables_once(new_store):
    store = new_store()
    together = threading.Barrier(4)

    def start(_: int) -> None:
        own = Store(store.url, store.artifacts.root)
        together.wait()
        own.upgrade()
        own.close()

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(start, range(4)))
    with store.read() as session:
        assert schema.version(session.connection()) == schema.newest()


def test_a_database_of_a_newer_program_is_refused_and_left_as_it_is(store):
    fill(store)
    with store.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=rf"version 9999, but .* up to {schema.newest()}"):
        store.upgrade()
    with store.read() as session:
        assert schema.version(session.connection()) == "9999"
        assert session.scalar(text("SELECT count(*) FROM votes")) == 1


@pytest.mark.parametrize("folder", ["/proc/self/studio", "/dev/null/studio"])
def test_a_folder_that_cannot_be_written_is_refused(settings, folder):
    with pytest.raises(StoreError, match="cannot be written .* allowed are"):
        Store.open(Path(folder))


def test_a_database_that_cannot_be_written_is_refused(settings, tmp_path):
    Store.open(tmp_path).close()
    settings.setenv("DATABASE_URL", f"sqlite:///file:{tmp_path / 'studio.db'}?mode=ro&uri=true")
    with pytest.raises(StoreError, match="cannot be written .*readonly.* allowed are"):
        Store.open(tmp_path)


def test_a_file_that_is_no_database_is_refused(settings, tmp_path):
    (tmp_path / "studio.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        Store.open(tmp_path)


@pytest.mark.parametrize("kind", ["nfs4", "cifs", "9p", "fuse.gcsfuse", "fuse.s3fs", "fuse.hf-mount"])
def test_a_network_mount_is_refused(settings, tmp_path, kind):
    folder = tmp_path / "a b"
    table = tmp_path / "mounts"
    place = str(tmp_path).replace(" ", "\\040") + "/a\\040b"
    table.write_text(f"disk / ext4 rw 0 0\nserver:/x {place} {kind} rw 0 0\ntmp /tmp/other tmpfs rw 0 0\n")
    settings.setattr(mounts, "MOUNTS", table)
    with pytest.raises(StoreError, match=f"network mount \\({kind}\\).*DATABASE_URL"):
        Store.open(folder / "data")
    assert not (folder / "data" / "studio.db").exists()
    Store.open(tmp_path / "local").close()


def test_a_local_disk_mounted_inside_a_network_mount_is_allowed(settings, tmp_path):
    table = tmp_path / "mounts"
    table.write_text(f"/dev/sdb1 {tmp_path}/disk ext4 rw 0 0\nserver:/x {tmp_path} nfs rw 0 0\n")
    settings.setattr(mounts, "MOUNTS", table)
    assert mounts.network_kind(tmp_path / "disk" / "data") is None
    assert mounts.network_kind(tmp_path / "else") == "nfs"


@pytest.mark.parametrize("scheme", ["postgres", "postgresql", "postgresql+psycopg"])
def test_people_write_addresses_of_postgresql_in_several_ways(settings, tmp_path, scheme):
    settings.setenv("DATABASE_URL", f"{scheme}://somebody:secret@localhost/studio")
    assert Store.at(tmp_path).url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", ["mysql://x/y", "nonsense", "postgresql+asyncpg://x/y"])
def test_an_address_of_something_else_is_refused(settings, tmp_path, url):
    settings.setenv("DATABASE_URL", url)
    with pytest.raises(StoreError, match="^DATABASE_URL: .*allowed"):
        Store.open(tmp_path)


def test_a_server_that_does_not_answer_is_named_without_its_password(settings, tmp_path):
    settings.setenv("DATABASE_URL", f"postgresql://somebody:secret@/studio?host={tmp_path}")
    with pytest.raises(StoreError, match="DATABASE_URL: .* cannot be used") as told:
        Store.open(tmp_path)
    assert "secret" not in str(told.value)


def test_settings_choose_the_folder_of_artifacts(settings, tmp_path):
    assert Store.at(tmp_path).artifacts.root == str(tmp_path / "artifacts")
    settings.setenv("STUDIO_ARTIFACTS", "memory://pictures")
    assert not Store.at(tmp_path).artifacts.local
    settings.setenv("STUDIO_ARTIFACTS", "nowhere://pictures")
    with pytest.raises(StoreError, match="^STUDIO_ARTIFACTS: .*allowed"):
        Store.at(tmp_path)
