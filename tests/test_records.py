"""What the app keeps of what it paints, with a mock model, and what it says where it cannot keep anything."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from mock_model import MockRegistry
from PIL import Image
from sqlalchemy import select
from starlette.requests import Request as Asked

from cogrpo.engine import Engine, Generation
from cogrpo.recipe import Request, read_png
from cogrpo.trace import Trace
from db import arena, voters
from db.models import Artifact, Vote
from db.models import Generation as Row
from db.session import Store, StoreError
from ui.files import bare, routes
from ui.records import Records


@pytest.fixture
def painted(tmp_path: Path) -> list[Generation]:
    requests = [Request("a dog", seed, 3) for seed in (1, 2)]
    return [
        item for item in Engine(MockRegistry(tmp_path)).generate(requests) if isinstance(item, Generation)
    ]


@pytest.fixture
def records(store: Store) -> Records:
    return Records(store)


def answer(records: Records, path: str, **parameters: str):
    """What the app's route of this pattern answers."""
    (route,) = [route for route in routes(records) if route.path == path]
    return route.endpoint(Asked({"type": "http", "path_params": parameters}))


def test_a_picture_is_kept_with_its_recipe_and_found_at_its_addresses(records, painted) -> None:
    more = {"shared": b"shared", "gif": b"gif"}
    kept = records.keep(painted[0], "page", "ab" * 16, {"verifier": 0.5}, more)
    files = {kind: records.file(address.removeprefix("files/")) for kind, address in kept.addresses.items()}
    assert read_png(files["image"])[1] == painted[0].recipe
    assert Trace.from_bytes(files["trace"]).recipe["prompt"] == "a dog"
    assert (files["shared"], files["gif"]) == (b"shared", b"gif")
    with records.reading() as session:
        row = session.get_one(Row, kept.generation)
        assert (row.source, row.scores, row.voter_id) == ("page", {"verifier": 0.5}, 1)
        assert row.pixels_sha256 == painted[0].trace.image_sha256 and row.prompt.text == "a dog"
    name = kept.addresses["image"].removeprefix("files/")
    assert answer(records, "/files/{name}", name=name).body == files["image"]
    for other in ("nothing.png", name.replace(".png", ".gif"), "../studio.db"):
        assert answer(records, "/files/{name}", name=other).status_code == 404


@pytest.mark.parametrize("pseudonym", ["", "no name", "untold:" + "ab" * 16])
def test_who_has_no_pseudonym_is_nobody(records, painted, pseudonym: str) -> None:
    kept = records.keep(painted[0], "api", pseudonym)
    with records.reading() as session:
        assert session.get_one(Row, kept.generation).voter_id is None


def test_what_retention_dropped_is_no_longer_found(records, painted) -> None:
    name = records.keep(painted[0], "page").addresses["image"].removeprefix("files/")
    with records.writing() as session:
        row = session.get_one(Artifact, name.removesuffix(".png"))
        row.dropped_at = row.created_at
    assert records.file(name) is None


def test_the_pictures_of_a_pair_hold_pixels_alone(records, painted) -> None:
    with records.writing() as session:
        voter = voters.untold(session)
        rows = [records.record(session, generation, "pair", voter) for generation in painted]
        shown = arena.present(session, voter, rows, "collect", 1.0)
        kept = {
            side: item.generation.image_sha256
            for side, item in zip(("left", "right"), shown.items, strict=True)
        }
    for side, sha256 in kept.items():
        told = answer(records, "/pairs/{token}/{side}.png", token=shown.token, side=side)
        with (
            Image.open(io.BytesIO(told.body)) as picture,
            Image.open(io.BytesIO(records.file(f"{sha256}.png"))) as own,
        ):
            assert picture.info == {} and own.info != {}
            assert picture.tobytes() == own.tobytes()
        assert sha256 not in str(told.raw_headers) and b"recipe" not in told.body
    for token, side in ((shown.token, "middle"), ("nothing", "left")):
        assert answer(records, "/pairs/{token}/{side}.png", token=token, side=side).status_code == 404


def test_two_pictures_with_the_same_pixels_are_the_same_bytes_when_bare() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    Image.new("RGB", (8, 8), "red").save(first, "PNG", dpi=(1, 1))
    Image.new("RGB", (8, 8), "red").save(second, "PNG", compress_level=0)
    assert bare(first.getvalue()) == bare(second.getvalue())


def test_a_place_that_cannot_be_written_keeps_nothing_and_says_why(painted, monkeypatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)
    records = Records.open(Path("/proc/studio"))
    assert records.keep(painted[0], "page") is None
    assert records.problem.startswith("STUDIO_DATA: /proc/studio/studio.db cannot be written")
    with pytest.raises(StoreError, match="cannot be written"), records.writing():
        pass
    assert answer(records, "/files/{name}", name="a.png").status_code == 503


def test_a_store_that_stops_being_writable_is_told_and_told_no_more_when_it_is_back(
    records, painted, monkeypatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(records.store.artifacts, "place", full)
        assert records.keep(painted[0], "page") is None
    assert "No space left on device" in records.problem
    with records.reading() as session:
        assert session.scalars(select(Row)).all() == []
    assert records.keep(painted[0], "page") is not None and records.problem is None


def test_a_vote_that_cannot_be_written_is_not_acknowledged(records, painted, monkeypatch) -> None:
    with records.writing() as session:
        voter = voters.untold(session)
        rows = [records.record(session, generation, "pair", voter) for generation in painted]
        token = arena.present(session, voter, rows, "collect", 1.0).token
    with pytest.raises(StoreError, match="cannot be written"), records.writing() as session:
        arena.cast(session, token, None, arena.Said(outcome="left"))
        raise OSError(28, "No space left on device")
    with records.writing() as session:
        assert session.scalars(select(Vote)).all() == []
        arena.cast(session, token, None, arena.Said(outcome="left"))


def test_a_setting_that_cannot_be_used_ends_the_app(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("STUDIO_KEEP", "much")
    with pytest.raises(StoreError, match="^STUDIO_KEEP: "):
        Records.open(tmp_path)
