"""/pair and /vote as a program uses them: `python app.py` in a process of its own."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from browser import ROOT, App
from gradio_client import Client
from gradio_client.exceptions import AppError
from PIL import Image

from db.session import Store

SAID_ONCE = r"^[a-z_]+: (?!.*\. ).*\.$"


@pytest.fixture(scope="module")
def client(app: App) -> Client:
    return Client(app.address, verbose=False)


@pytest.fixture(scope="module")
def pair(client: Client) -> dict:
    """One that belongs to anna and stays without a vote."""
    return client.predict("collect", "anna", "", api_name="/pair")


def votes(app: App) -> int:
    told = subprocess.run(
        [sys.executable, "-m", "db", "status"], cwd=ROOT, env=app.environment, capture_output=True, check=True
    )
    return json.loads(told.stdout)["tables"]["votes"]


def test_a_pair_says_no_more_than_it_must(pair: dict) -> None:
    assert set(pair) == {"presentation", "prompt", "left", "right"}
    sizes = set()
    for side in ("left", "right"):
        with urllib.request.urlopen(pair[side]) as told:
            data, headers = told.read(), str(told.headers).lower()
        assert "etag" not in headers and "last-modified" not in headers and "no-store" in headers
        with Image.open(io.BytesIO(data)) as picture:
            assert picture.format == "PNG" and picture.info == {}
            sizes.add(picture.size)
    assert sizes == {(128, 128)}


def test_what_was_hidden_is_told_after_the_vote_is_stored(app: App, client: Client) -> None:
    told = client.predict("collect", "anna", "1", api_name="/pair")
    before = votes(app)
    hidden = client.predict(told["presentation"], "left", "anna", api_name="/vote")
    assert votes(app) == before + 1
    assert {hidden[side]["prompt"] for side in ("left", "right")} == {told["prompt"]}
    assert hidden["left"] != hidden["right"]
    with pytest.raises(AppError, match="it has its vote already"):
        client.predict(told["presentation"], "left", "anna", api_name="/vote")
    with pytest.raises(AppError, match="it has its vote already"):
        client.predict(told["presentation"], "right", "anna", api_name="/vote")
    assert votes(app) == before + 1


@pytest.mark.parametrize("left_out", [(), ("collect",), ("collect", ""), (None, None, None)])
def test_voter_and_consent_may_be_left_out_and_the_token_is_then_enough(
    client: Client, left_out: tuple
) -> None:
    told = client.predict(*left_out, api_name="/pair")
    with pytest.raises(AppError, match="shown to another voter"):
        client.predict(told["presentation"], "tie", "berta", api_name="/vote")
    assert set(client.predict(told["presentation"], "tie", api_name="/vote")) == {"left", "right"}


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("gold",), "purpose: 'gold' is not allowed; allowed are collect and gate."),
        (("gate",), "purpose: no candidate waits for a verdict now; allowed is collect."),
        (("collect", "two words"), "voter: this is not allowed; "),
        (("collect", "anna", "0.1"), "consent: '0.1' is not allowed; allowed is '1', "),
    ],
)
def test_a_pair_that_cannot_be_had_is_refused_in_one_sentence(
    client: Client, asked: tuple, said: str
) -> None:
    with pytest.raises(AppError, match=SAID_ONCE) as refusal:
        client.predict(*asked, api_name="/pair")
    assert str(refusal.value).startswith(said)


@pytest.mark.parametrize(
    ("vote", "said"),
    [
        (("{token}", "left", "berta"), "presentation: it was shown to another voter"),
        (("{token}", "left"), "presentation: it was shown to a voter; name"),
        (("{token}", "best", "anna"), "outcome: 'best' is not allowed"),
        (("{token}", "", "anna"), "outcome: "),
        (("nothing", "left", "anna"), "presentation: this token is unknown"),
        ((), "presentation: this token is unknown"),
    ],
)
def test_a_vote_that_cannot_count_is_refused_in_one_sentence(
    app: App, client: Client, pair: dict, vote: tuple, said: str
) -> None:
    before = votes(app)
    with pytest.raises(AppError, match=SAID_ONCE) as refusal:
        client.predict(*(text.format(token=pair["presentation"]) for text in vote), api_name="/vote")
    assert str(refusal.value).startswith(said)
    assert votes(app) == before


def test_nobody_finds_them_in_a_list(app: App) -> None:
    assert set(json.loads(app.get("gradio_api/info"))["named_endpoints"]) == {
        "/generate",
        "/recipe",
        "/leaderboard",
        "/compare",
    }
    tools = {tool["name"] for tool in json.loads(app.get("gradio_api/mcp/schema"))}
    assert not any("pair" in name or "vote" in name for name in tools)
    listed = json.loads(app.get("gradio_api/openapi.json"))["paths"]
    assert listed and not any("pair" in path or "vote" in path for path in listed)


def test_what_a_program_generates_is_recorded(app: App, client: Client) -> None:
    client.predict("one cactus", 77, 2, "linear", "", "champion", api_name="/generate")
    store = Store.existing(Path(app.environment["STUDIO_DATA"]))
    with store.read() as session:
        found = (
            session.connection()
            .exec_driver_sql("SELECT source, schedule FROM generations WHERE seed = 77")
            .all()
        )
    store.close()
    assert found == [("api", "linear")]
