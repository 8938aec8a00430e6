"""`python -m db`: what it tells about a store, and that a backup brings back what was there."""

from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import subprocess
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from database import fill, record, server_folder
from sqlalchemy import func, select, text, update

from db import schema
from db.__main__ import main
from db.backup import backup
from db.check import check
from db.models import Artifact, Base, Checkpoint, Generation, Vote, now
from db.restore import restore
from db.retention import Limits, Retention
from db.session import Store, StoreError

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def tools(monkeypatch):
    """The programs of the server that is tested with come first: others may be older than it."""
    folder = server_folder()
    if folder is not None:
        monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.fixture
def chosen(store, monkeypatch, tmp_path) -> Store:
    """A store with rows in every table that the settings point at; its data folder is `tmp_path / 'data'`."""
    fill(store)
    choose(store, monkeypatch, tmp_path / "data")
    return store


def choose(store: Store, monkeypatch, data: Path) -> None:
    monkeypatch.setenv("STUDIO_DATA", str(data))
    monkeypatch.setenv("DATABASE_URL", store.url.render_as_string(hide_password=False))
    monkeypatch.setenv("STUDIO_ARTIFACTS", store.artifacts.root)


def everything(store: Store) -> dict[str, list[tuple]]:
    with store.read() as session:
        return {
            table.name: [tuple(row) for row in session.execute(select(table).order_by(*table.primary_key))]
            for table in Base.metadata.sorted_tables
        }


def test_status_counts_rows_and_names_rounds(chosen, capsys):
    assert main(["status"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["tables"]["votes"] == 1 and told["tables"]["generations"] == 2
    assert set(told["tables"]) == set(Base.metadata.tables)
    assert told["rounds"] == [{"id": 1, "state": "gated"}]


def test_check_is_silent_about_a_whole_store_and_fails_for_each_kind_of_damage(chosen, capsys):
    assert main(["check"]) == 0
    with chosen.read() as session:
        left, right = session.scalars(select(Generation).order_by(Generation.id))
    Path(chosen.artifacts.path(left.image_sha256)).write_bytes(b"altered")
    Path(chosen.artifacts.path(right.trace_sha256)).unlink()
    chosen.artifacts.place(b"nobody's")
    capsys.readouterr()
    assert main(["check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert f"altered: {left.image_sha256} of generation {left.id}" in lines
    assert f"missing: {right.trace_sha256} of generation {right.id}" in lines
    assert [line for line in lines if line.startswith("unknown: ")] and lines[-1] == "3 found"


def test_upgrade_makes_a_store_and_the_others_say_so_where_there_is_none(monkeypatch, tmp_path):
    environment = {"STUDIO_DATA": str(tmp_path / "data"), "PATH": ""}

    def run(command: str) -> subprocess.CompletedProcess[str]:
        call = [sys.executable, "-W", "error", "-m", "db", command]
        return subprocess.run(call, cwd=ROOT, env=environment, capture_output=True, text=True)

    for command in ("status", "check"):
        told = run(command)
        assert told.returncode == 1 and "python -m db upgrade" in told.stderr and not told.stdout
        assert len(told.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
    assert run("upgrade").returncode == 0
    assert run("upgrade").returncode == 0
    assert json.loads(run("status").stdout)["tables"]["votes"] == 0


def test_commands_refuse_a_database_that_is_not_of_this_version(chosen, capsys):
    for version, told in (("9999", "knows versions up to"), (None, "brings them up to date")):
        with chosen.write() as session:
            if version is None:
                session.execute(text("DELETE FROM alembic_version"))
            else:
                session.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        assert main(["status"]) == 1
        assert told in capsys.readouterr().err


def test_export_writes_every_table_without_what_names_or_lets_in_a_person(chosen, tmp_path, capsys):
    assert main(["export", str(tmp_path / "out")]) == 0
    counts = json.loads(capsys.readouterr().out)
    files = {path.stem: path.read_text(encoding="utf-8") for path in (tmp_path / "out").iterdir()}
    assert set(files) == set(Base.metadata.tables) == set(counts)
    lines = {name: [json.loads(line) for line in content.splitlines()] for name, content in files.items()}
    assert {name: len(rows) for name, rows in lines.items()} == counts and all(counts.values())
    assert not any(
        secret in content for content in files.values() for secret in ("somebody", "ab" * 16, "secret")
    )
    assert lines["votes"][0]["outcome"] == "left"
    assert lines["generations"][0]["recipe"]["schedule_table"] == [[0.5, 1.0, 1.0, 1.5]]
    assert lines["votes"][0]["created_at"].endswith("+00:00")
    assert main(["export", str(tmp_path / "out")]) == 1
    assert "not empty" in capsys.readouterr().err


def test_a_backup_brings_back_every_row_artifact_and_checkpoint(chosen, new_store, monkeypatch, tmp_path):
    folder = tmp_path / "data" / "checkpoints" / "best"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / ".half").write_bytes(b"not whole")
    with chosen.write() as session:
        session.execute(update(Checkpoint).values(folder="checkpoints/best", status="promoted"))
    before = everything(chosen)
    assert main(["backup", str(tmp_path / "b.tar")]) == 0
    assert [path.name for path in tmp_path.glob("*b.tar*")] == ["b.tar"]
    other = new_store()
    choose(other, monkeypatch, tmp_path / "elsewhere")
    assert main(["restore", str(tmp_path / "b.tar")]) == 0
    assert everything(other) == before
    assert list(check(other)) == []
    assert [path.name for path in (tmp_path / "elsewhere" / "checkpoints" / "best").iterdir()] == [
        "model.safetensors"
    ]
    aliases = json.loads((tmp_path / "elsewhere" / "aliases.json").read_text())
    assert aliases == {"emoji": {"champion": "c" * 64}}
    with other.write() as session:  # counters go on behind the old rows
        assert record(session, other, "new").id == 3


def test_a_state_that_a_round_takes_away_while_it_is_read_is_left_out_whole_and_the_newer_one_is_in(
    chosen, tmp_path, monkeypatch
):
    run = tmp_path / "data" / "rounds" / "1" / "run"

    def state(number: int) -> None:
        (run / f"round-{number}").mkdir(parents=True)
        for name in ("a", "b"):
            (run / f"round-{number}" / name).write_bytes(name.encode())

    read = Path.read_bytes

    def meanwhile(path: Path) -> bytes:
        content = read(path)
        if path == run / "round-1" / "a":
            state(2)
            shutil.rmtree(run / "round-1")
        return content

    state(1)
    monkeypatch.setattr(Path, "read_bytes", meanwhile)
    with chosen.write() as session:
        session.execute(update(Checkpoint).values(folder="rounds/1"))
    assert main(["backup", str(tmp_path / "b.tar")]) == 0
    with tarfile.open(tmp_path / "b.tar") as tar:
        held = [name.split("run/")[1] for name in tar.getnames() if "run/" in name]
    assert held == ["round-2/a", "round-2/b"]


def test_a_backup_under_load_is_one_moment_of_the_store(chosen, new_store, tmp_path, monkeypatch):
    """Writers go on while it reads the artifacts, which it does not begin before they have written more."""
    over, goes_on, more = threading.Event(), threading.Event(), threading.Semaphore(0)

    def write(writer: int) -> None:
        own, turn = Store(chosen.url, chosen.artifacts.root), 0
        while not over.is_set():
            with own.write() as session:
                record(session, own, f"{writer} {turn}", recipe={"prompt": f"prompt {turn}"})
            turn += 1
            more.release()
        own.close()

    get = chosen.artifacts.get

    def wait_for_six() -> None:
        assert all(more.acquire(timeout=60) for _ in range(6))

    def later(sha256: str) -> bytes:
        if not goes_on.is_set():
            goes_on.set()
            wait_for_six()
        return get(sha256)

    monkeypatch.setattr(chosen.artifacts, "get", later)
    with ThreadPoolExecutor(3) as pool:
        writers = [pool.submit(write, number) for number in range(3)]
        try:
            wait_for_six()
            assert backup(chosen, tmp_path, tmp_path / "b.tar") == []
        finally:
            over.set()
    assert all(writer.exception() is None for writer in writers)
    other = new_store()
    restore(other, tmp_path / "elsewhere", tmp_path / "b.tar")
    assert list(check(other)) == []
    count = select(func.count()).select_from(Generation)
    with chosen.read() as live, other.read() as copy:
        assert 2 + 6 <= copy.scalar(count) < live.scalar(count)
        assert schema.differences(copy.connection()) == []


def test_what_retention_drops_during_a_backup_is_dropped_in_it(chosen, new_store, tmp_path, monkeypatch):
    with chosen.write() as session:
        record(session, chosen, "old")
    retention, get = Retention(chosen, Limits(0)), chosen.artifacts.get

    def drop_first(sha256: str) -> bytes:
        retention.tidy(now() + timedelta(days=2))  # the pair of `fill` was voted on and stays
        return get(sha256)

    monkeypatch.setattr(chosen.artifacts, "get", drop_first)
    assert backup(chosen, tmp_path, tmp_path / "b.tar") == []
    other = new_store()
    restore(other, tmp_path, tmp_path / "b.tar")
    assert list(check(other)) == []
    with other.read() as session:
        assert len(session.scalars(select(Artifact).where(Artifact.dropped_at.is_not(None))).all()) == 2


def test_a_backup_keeps_what_is_left_of_a_damaged_store_and_says_so(chosen, new_store, tmp_path, capsys):
    with chosen.read() as session:
        lost = session.scalars(select(Generation.image_sha256)).first()
    Path(chosen.artifacts.path(lost)).write_bytes(b"altered")
    assert main(["backup", str(tmp_path / "b.tar")]) == 1
    assert lost in capsys.readouterr().err
    other = new_store()
    restore(other, tmp_path, tmp_path / "b.tar")
    assert [(found.problem, found.subject) for found in check(other)] == [("missing", lost)]


@pytest.mark.parametrize("folder", ["checkpoints/gone", "../outside", "/outside"])
def test_a_backup_names_a_folder_that_it_cannot_hold(chosen, tmp_path, folder):
    (tmp_path / "outside").mkdir()
    folder = folder.replace("/outside", f"{tmp_path}/outside") if folder.startswith("/") else folder
    with chosen.write() as session:
        session.execute(update(Checkpoint).values(folder=folder))
    assert backup(chosen, tmp_path / "data", tmp_path / "b.tar") == [folder]


def test_restore_refuses_a_store_that_holds_something_unless_forced(chosen, tmp_path, capsys):
    before = everything(chosen)
    assert main(["backup", str(tmp_path / "b.tar")]) == 0
    with chosen.write() as session:
        session.execute(update(Vote).values(outcome="right"))
    assert main(["restore", str(tmp_path / "b.tar")]) == 1
    assert "--force" in capsys.readouterr().err
    with chosen.read() as session:
        assert session.scalars(select(Vote.outcome)).all() == ["right"]
    assert main(["restore", str(tmp_path / "b.tar"), "--force"]) == 0
    assert everything(chosen) == before


def test_restore_refuses_where_only_artifacts_are(chosen, new_store, tmp_path):
    backup(chosen, tmp_path, tmp_path / "b.tar")
    other = new_store()
    other.artifacts.place(b"somebody's")
    with pytest.raises(StoreError, match="not empty"):
        restore(other, tmp_path, tmp_path / "b.tar")


def damaged(source: Path, member: str, change) -> Path:
    """A copy of a backup with one member changed; its length may change, too."""
    target = source.with_name("damaged.tar")
    with tarfile.open(source) as old, tarfile.open(target, "w") as new:
        for info in old:
            content = old.extractfile(info).read()
            content = change(content) if info.name.startswith(member) else content
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return target


def escaping(source: Path) -> Path:
    """A copy of a backup with one more file, whole, whose name leads out of the data folder."""
    told = f'"members": {{"data/../../x": "{hashlib.sha256(b"x").hexdigest()}", '.encode()
    target = damaged(source, "manifest", lambda old: re.sub(rb'"members": \{\s*', told, old))
    with tarfile.open(target, "a") as tar:
        info = tarfile.TarInfo("data/../../x")
        info.size = 1
        tar.addfile(info, io.BytesIO(b"x"))
    return target


@pytest.mark.parametrize(
    "member", ["database", "artifacts/", "manifest.json", "cut", "foreign", "escape", "newer"]
)
def test_a_damaged_or_foreign_backup_changes_nothing(chosen, new_store, tmp_path, member):
    source = tmp_path / "b.tar"
    backup(chosen, tmp_path, source)
    if member == "cut":
        source.write_bytes(source.read_bytes()[:-20_000])
    elif member == "foreign":
        source.write_bytes(b"no tar at all" * 100)
    elif member == "escape":
        source = escaping(source)
    elif member == "newer":
        source = damaged(source, "manifest", lambda old: old.replace(b'"0002"', b'"9999"'))
    else:
        source = damaged(source, member, lambda old: old[:-1])
    other = new_store()
    with pytest.raises(StoreError, match="restore: .* is no backup|version 9999"):
        restore(other, tmp_path / "data", source)
    assert list(other.artifacts.listed()) == [] and not list(tmp_path.rglob("x"))
    with other.engine.connect() as connection:
        assert schema.version(connection) is None


def test_a_backup_of_the_other_kind_of_database_is_refused(chosen, new_store, tmp_path):
    backup(chosen, tmp_path, tmp_path / "b.tar")
    kind = chosen.engine.dialect.name.encode()
    source = damaged(tmp_path / "b.tar", "manifest", lambda old: old.replace(b'"' + kind + b'"', b'"other"'))
    with pytest.raises(StoreError, match="made on other"):
        restore(new_store(), tmp_path, source)


def test_a_backup_that_cannot_be_written_leaves_the_old_one(chosen, tmp_path, monkeypatch):
    (tmp_path / "b.tar").write_bytes(b"the old one")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device", "b.tar")

    monkeypatch.setattr("db.backup.os.fsync", full)
    assert main(["backup", str(tmp_path / "b.tar")]) == 1
    assert (tmp_path / "b.tar").read_bytes() == b"the old one"
    assert [path.name for path in tmp_path.glob("*b.tar*")] == ["b.tar"]


def test_without_pg_dump_a_backup_says_what_to_install(chosen, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    expected = 1 if chosen.engine.dialect.name == "postgresql" else 0
    assert main(["backup", str(tmp_path / "b.tar")]) == expected
    if expected:
        assert "postgresql-client" in capsys.readouterr().err
        assert not (tmp_path / "b.tar").exists()
