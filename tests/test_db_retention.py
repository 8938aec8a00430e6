"""Retention: what is dropped first, what never, and that a dropped picture can come back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from database import record
from sqlalchemy import select, update

from db import orphans
from db.check import check
from db.models import Artifact, Generation, Presentation, PresentationItem, Vote, Voter
from db.retention import GIGABYTE, PAUSE, YOUNG, Limits, Retention, excess, limits_from_settings
from db.session import Store, StoreError

START = datetime(2026, 1, 1, tzinfo=UTC)
LATER = START + timedelta(days=1)
SIZE = len("image a") + len("trace a")  # of one picture with its trace


@pytest.fixture
def voter(store) -> Voter:
    with store.write() as session:
        voter = Voter(pseudonym="ab" * 16)
        session.add(voter)
    return voter


def make(store: Store, name: str, age: int, **facts) -> int:
    """A picture of `age` minutes before LATER."""
    made = LATER - timedelta(minutes=age)
    with store.write() as session:
        row = record(session, store, name, **facts)
        row.created_at = made
        files = Artifact.sha256.in_([row.image_sha256, row.trace_sha256])
        session.execute(update(Artifact).where(files).values(created_at=made))
        return row.id


def kept(store: Store) -> str:
    """The names of the pictures whose rows still promise both files."""
    with store.read() as session:
        there = set(session.scalars(select(Artifact.sha256).where(Artifact.dropped_at.is_(None))))
        rows = session.scalars(select(Generation).order_by(Generation.id))
        rows = [row for row in rows if {row.image_sha256, row.trace_sha256} <= there]
        return "".join(store.artifacts.get(row.image_sha256).decode()[-1] for row in rows)


def tidy(store: Store, pictures: float, **kinds: float) -> None:
    limits = Limits(pictures * SIZE, kinds)
    with store.read() as session:
        chosen = set(excess(session, limits, LATER))
    Retention(store, limits).tidy(LATER)
    with store.read() as session:  # with nobody else at work, what was chosen goes
        assert chosen <= set(session.scalars(select(Artifact.sha256).where(Artifact.dropped_at == LATER)))


def test_nothing_goes_below_the_limit(store):
    for name, age in zip("abc", (900, 800, 700), strict=True):
        make(store, name, age)
    tidy(store, 3)
    assert kept(store) == "abc"


def test_the_oldest_go_first_with_their_files_and_their_rows_say_so(store):
    for name, age in zip("abcd", (700, 900, 800, 600), strict=True):
        make(store, name, age)
    tidy(store, 2)
    assert kept(store) == "ad"
    with store.read() as session:
        dropped = session.scalars(select(Artifact.sha256).where(Artifact.dropped_at == LATER)).all()
        assert len(dropped) == 4 and not set(dropped) & set(store.artifacts.listed())
    assert list(check(store)) == []  # on purpose is no loss


def test_nobodys_pictures_go_before_those_of_a_history_and_deleted_ones_before_all(store, voter):
    make(store, "a", 900, voter=voter)
    make(store, "b", 800)
    deleted = make(store, "c", 700, voter=voter)
    with store.write() as session:
        session.get(Generation, deleted).deleted_at = LATER
    with store.write() as session:  # an animation, made from a trace
        store.artifacts.put(session, b"g" * SIZE, "gif")
        session.execute(update(Artifact).where(Artifact.kind == "gif").values(created_at=START))
    for room, left in ((3, "abc"), (2, "ab"), (1, "a"), (0, "")):
        tidy(store, room)
        assert kept(store) == left


def test_what_a_vote_or_a_presentation_needs_never_goes(store, voter):
    names = "abcdef"
    rows = {name: make(store, name, 900) for name in names[:5]}
    make(store, "f", 900, source="round")

    def show(name: str, expires: datetime, used: datetime | None) -> None:
        with store.write() as session:
            facts = {
                "kind": "pair",
                "purpose": "collect",
                "seed": 1,
                "probability": 1.0,
                "voter_id": voter.id,
            }
            prompt = session.get(Generation, rows[name]).prompt_id
            shown = Presentation(token=name, prompt_id=prompt, expires_at=expires, used_at=used, **facts)
            session.add(shown)
            session.flush()
            item = PresentationItem(presentation_id=shown.id, position=0, generation_id=rows[name])
            session.add(item)

    show("a", START, START)  # voted
    show("b", LATER + timedelta(hours=1), None)  # open
    show("c", START, None)  # expired without a vote
    with store.write() as session:
        session.add(Vote(kind="rating", voter_id=voter.id, generation_id=rows["d"], overall=5))
    tidy(store, 0)
    assert kept(store) == "abdf"


def test_young_pictures_and_what_belongs_to_no_picture_stay(store):
    minutes = YOUNG // timedelta(minutes=1)
    make(store, "a", minutes - 1)
    make(store, "b", minutes)
    with store.write() as session:
        report = store.artifacts.put(session, b"report", "report")
        session.execute(update(Artifact).where(Artifact.kind == "report").values(created_at=START))
    tidy(store, 0)
    assert kept(store) == "a"
    assert store.artifacts.get(report) == b"report"


def test_a_picture_made_again_is_as_young_as_its_last_making(store):
    make(store, "a", 900)
    make(store, "b", 800)
    with store.write() as session:
        record(session, store, "a").created_at = LATER - timedelta(minutes=700)
    tidy(store, 1)
    assert kept(store) == "aa"


def test_what_is_derived_again_is_as_young_as_its_last_making(store):
    for again in (False, True):
        with store.write() as session:
            animation = store.artifacts.put(session, b"animation", "gif")
            if not again:
                session.execute(update(Artifact).values(created_at=START))
    tidy(store, 0)
    assert store.artifacts.get(animation) == b"animation"


def test_a_kind_can_have_a_limit_of_its_own(store):
    for name, age in zip("abc", (900, 800, 700), strict=True):
        make(store, name, age)
    tidy(store, 100, trace=2 * len("trace a"))
    with store.read() as session:
        rows = session.execute(
            select(Artifact.kind, Artifact.dropped_at.is_(None)).order_by(Artifact.created_at, Artifact.kind)
        )
        assert [tuple(row) for row in rows] == [("image", True), ("trace", False)] + 2 * [
            ("image", True),
            ("trace", True),
        ]


def test_the_sizes_are_looked_at_every_ten_minutes_at_most(store):
    retention = Retention(store, Limits(0))
    retention.tidy(LATER)
    make(store, "a", 900)
    retention.tidy(LATER + PAUSE - timedelta(seconds=1))
    assert kept(store) == "a"
    retention.tidy(LATER + PAUSE)
    assert kept(store) == ""


def test_the_same_picture_again_brings_a_dropped_one_back(store):
    make(store, "a", 900)
    tidy(store, 0)
    assert kept(store) == ""
    with store.write() as session:
        record(session, store, "a")
    assert kept(store) == "aa"
    assert list(check(store)) == []


def test_a_picture_that_comes_back_while_retention_works_is_not_lost(store, monkeypatch):
    """The writer comes between the end of the row and the end of the file: when a file could vanish."""
    make(store, "a", 900)
    batches = []

    def come_back(hashes: list[str]) -> list[list[str]]:
        batches.append(hashes)
        if len(batches) == 2:  # the rows are dropped and committed; the files are next
            with store.write() as session:
                record(session, store, "a")
        return [hashes]

    monkeypatch.setattr("db.retention._batches", come_back)
    Retention(store, Limits(0)).tidy(LATER)
    assert len(batches) == 2
    assert kept(store) == "aa"
    assert list(check(store)) == []


def test_a_picture_that_is_rated_while_retention_chooses_stays(store, voter, monkeypatch):
    rated = make(store, "a", 900)
    make(store, "b", 900)

    def choose(*told) -> list[str]:
        doomed = excess(*told)
        with store.write() as session:
            session.add(Vote(kind="rating", voter_id=voter.id, generation_id=rated, overall=5))
        return doomed

    monkeypatch.setattr("db.retention.excess", choose)
    Retention(store, Limits(0)).tidy(LATER)
    assert kept(store) == "a"


def test_a_crash_between_row_and_file_is_swept_up_by_the_next_start(store, monkeypatch):
    make(store, "a", 900)

    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr("db.artifacts.Artifacts.delete", killed)
        with pytest.raises(KeyboardInterrupt):
            Retention(store, Limits(0)).tidy(LATER)
    assert len(list(store.artifacts.listed())) == 2
    assert list(check(store)) == []
    Retention(store, Limits()).tidy(LATER)
    assert list(store.artifacts.listed()) == []


def test_sweeping_leaves_a_file_that_is_being_written(store, tmp_path):
    store.artifacts.place(b"x")
    (folder,) = (path.parent for path in (tmp_path / "store0" / "artifacts").rglob("*") if path.is_file())
    (folder / "new.tmp").write_bytes(b"half")
    orphans.sweep(store)
    assert [path.name for path in folder.iterdir()] == ["new.tmp"]


@pytest.mark.parametrize(
    ("text", "limits"),
    [
        (None, Limits(2 * GIGABYTE)),
        ("0", Limits(0)),
        ("1.5", Limits(1.5 * GIGABYTE)),
        ("trace=1", Limits(kinds={"trace": GIGABYTE})),
        ("3, trace=1,image=0.5", Limits(3 * GIGABYTE, {"trace": GIGABYTE, "image": GIGABYTE / 2})),
    ],
)
def test_the_setting_is_in_gigabytes(monkeypatch, text, limits):
    monkeypatch.delenv("STUDIO_KEEP", raising=False)
    if text is not None:
        monkeypatch.setenv("STUDIO_KEEP", text)
    assert limits_from_settings() == limits


@pytest.mark.parametrize("text", ["", "two", "-1", "nan", "inf", "trace=", "=1", "1,", "a b=1"])
def test_a_setting_that_is_no_size_is_refused(monkeypatch, text):
    monkeypatch.setenv("STUDIO_KEEP", text)
    with pytest.raises(StoreError, match="^STUDIO_KEEP: .* allowed is"):
        limits_from_settings()
