"""The fixture `store`: an empty store on each database. PostgreSQL is a private server, started once a session.

`fill` and `record` put made-up rows into one.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from db import generations
from db.models import (
    Alias,
    Audit,
    Checkpoint,
    Consent,
    GateReport,
    Generation,
    Metric,
    Presentation,
    PresentationItem,
    Round,
    RoundVote,
    SavedSchedule,
    Vote,
    Voter,
    now,
)
from db.session import Store

BACKENDS = ("sqlite", "postgresql")
DEBIAN = Path("/usr/lib/postgresql")  # Debian keeps the server's programs out of PATH, by version


def server_folder() -> Path | None:
    """Where initdb and pg_ctl lie, the newest first."""
    found = shutil.which("initdb")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(DEBIAN.glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


class Server:
    """A PostgreSQL on a unix socket in a folder of its own; nobody else can reach it."""

    def __init__(self, programs: Path) -> None:
        self.programs = programs
        # Not pytest's folder: a socket's path may have 107 bytes, and the server's user must get there.
        self.folder = Path(tempfile.mkdtemp(prefix="studio-pg-"))
        self.as_user: list[str] = []
        if os.geteuid() == 0:  # the server refuses to run as root
            owner = pwd.getpwnam("postgres")
            os.chown(self.folder, owner.pw_uid, owner.pw_gid)
            self.as_user = ["runuser", "-u", "postgres", "--"]
        self._run(
            "initdb", "-D", "data", "-U", "studio", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )
        options = f"-c listen_addresses= -c unix_socket_directories={self.folder} -c max_connections=200"
        self._run("pg_ctl", "-D", "data", "-w", "-l", "log", "-o", f"{options} -c fsync=off", "start")

    def create(self) -> str:
        """The address of a new, empty database."""
        name = f"studio_{uuid.uuid4().hex}"
        self._sql(f"CREATE DATABASE {name}")
        return self._url(name)

    def drop(self, name: str) -> None:
        self._sql(f"DROP DATABASE {name} WITH (FORCE)")

    def stop(self) -> None:
        self._run("pg_ctl", "-D", "data", "-m", "immediate", "-w", "stop")
        shutil.rmtree(self.folder)

    def _url(self, name: str) -> str:
        return f"postgresql://studio@/{name}?host={self.folder}"

    def _sql(self, command: str) -> None:
        url = self._url("postgres").replace("postgresql:", "postgresql+psycopg:")
        engine = create_engine(url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text(command))
        engine.dispose()

    def _run(self, program: str, *arguments: str) -> None:
        # Output goes to a file: a pipe would stay open in the server and never end.
        with (self.folder / f"{program}.out").open("wb") as out:
            command = [*self.as_user, str(self.programs / program), *arguments]
            told = subprocess.run(command, cwd=self.folder, stdout=out, stderr=subprocess.STDOUT)
        assert told.returncode == 0, (self.folder / f"{program}.out").read_text()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """Skips where no server is installed; in CI a skip is a failure (tests/conftest.py)."""
    programs = server_folder()
    if programs is None:
        pytest.skip("no PostgreSQL server here: install Debian's package postgresql")
    server = Server(programs)
    yield server
    server.stop()


@pytest.fixture(params=BACKENDS)
def new_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[[], Store]]:
    """Makes stores without tables, all of one kind; the test runs once for each kind."""
    server: Server | None = request.getfixturevalue("postgresql") if request.param == "postgresql" else None
    stores: list[Store] = []

    def make() -> Store:
        folder = tmp_path / f"store{len(stores)}"
        folder.mkdir()
        url = server.create() if server else f"sqlite:///{folder / 'studio.db'}"
        stores.append(Store(url, str(folder / "artifacts")))
        return stores[-1]

    yield make
    for store in stores:
        store.close()
        if server:
            server.drop(str(store.url.database))


@pytest.fixture
def store(new_store: Callable[[], Store]) -> Store:
    """A store with its tables and no row."""
    store = new_store()
    store.upgrade()
    return store


def record(session: Session, store: Store, name: str, **facts: Any) -> Generation:
    """A made-up picture whose files hold its name. facts: as `db.generations.record` takes them."""
    recipe = {
        "prompt": "a red dog", "model": "emoji", "checkpoint_sha256": "c" * 64, "schedule": "cosine", "steps": 8,
        "seed": 3, "sampler_version": 1, "schedule_table": [[0.5, 1.0, 1.0, 1.5]],
    }  # fmt: skip
    facts = {"pixels_sha256": "d" * 64, "source": "page", **facts}
    image, trace = f"image {name}".encode(), f"trace {name}".encode()
    return generations.record(
        session, store.artifacts, recipe | facts.pop("recipe", {}), image, trace, **facts
    )


def fill(store: Store) -> None:
    """At least one row in every table, as a round leaves them."""
    with store.write() as session:

        def add(row: Any) -> Any:
            session.add(row)
            session.flush()
            return row

        voter = add(Voter(pseudonym="ab" * 16, login="somebody"))
        consent = add(Consent(voter_id=voter.id, version="1", licence="CC BY 4.0"))
        left, right = (record(session, store, name, voter=voter) for name in ("left", "right"))
        shipped = add(Checkpoint(model="emoji", sha256="c" * 64, status="shipped"))
        add(Alias(model="emoji", name="champion", checkpoint_id=shipped.id))
        add(SavedSchedule(model="emoji", name="mine", table=[[0.5, 1.0, 1.0, 1.5]], voter_id=voter.id))
        judged = Round(model="emoji", state="gated", cause="votes", config={"seed": 1}, parent_id=shipped.id)
        add(judged)
        shown = add(
            Presentation(
                token="secret", kind="pair", purpose="collect", voter_id=voter.id, prompt_id=left.prompt_id,
                seed=1, probability=0.5, expires_at=now() + timedelta(days=1), used_at=now(),
            )
        )  # fmt: skip
        for position, picture in enumerate((left, right)):
            add(PresentationItem(presentation_id=shown.id, position=position, generation_id=picture.id))
        vote = Vote(kind="pair", voter_id=voter.id, presentation_id=shown.id, outcome="left")
        vote.consent_id = consent.id
        add(RoundVote(round_id=judged.id, vote_id=add(vote).id))
        add(Metric(round_id=judged.id, step=0, values={"reward": 0.25}))
        add(GateReport(round_id=judged.id, passed=True, verdict={"rows": []}))
        add(Audit(actor="worker", action="promote", subject="emoji:champion"))
