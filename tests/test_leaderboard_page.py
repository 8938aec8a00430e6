"""The Leaderboard tab and /leaderboard, on a store that is empty and then filled by scripts."""

from __future__ import annotations

from pathlib import Path

import pytest
from browser import App, Visit
from gradio_client import Client
from leaderboard_rows import filled
from pages import python_of
from playwright.sync_api import Browser

from db.session import Store, StoreError
from ui import leaderboard_text
from ui.records import Records
from ui.standings import Standings


@pytest.fixture(autouse=True)
def sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


@pytest.fixture(scope="module")
def client(app: App) -> Client:
    return Client(app.address, verbose=False)


def look(visit: Visit) -> str:
    """Open the tab and read what it says."""
    visit.page.get_by_role("tab", name="Leaderboard").click()
    visit.page.wait_for_selector("#board [data-board=uses]")
    return visit.page.inner_text("#board")


def test_an_empty_store_cannot_tell_and_a_filled_one_is_shown_when_the_tab_is_opened_again(
    visit: Visit, app: App, client: Client
):
    told = client.predict(api_name="/leaderboard")
    assert told["votes"] == 0 and set(told["uses"].values()) == {0}
    assert told["checkpoints"]["all"]["verdict"] == told["schedules"]["all"]["verdict"] == "cannot tell yet"
    text = look(visit)
    assert text.count("Cannot tell yet.") == 2 and text.count("cannot tell yet") == 5
    assert "No vote compares two checkpoints here." in text and "There are no votes yet." in text
    assert not visit.page.locator("#board .cg-bar, #board .cg-matrix, #category").count()

    store = Store.open(Path(app.environment["STUDIO_DATA"]))
    new, old = filled(store)
    store.close()
    visit.page.get_by_role("tab", name="Explore").click()
    visit.page.get_by_role("tab", name="Leaderboard").click()
    visit.page.wait_for_selector("#board .cg-standings")
    text = visit.page.inner_text("#board")
    told = client.predict(api_name="/leaderboard")
    assert told["votes"] == sum(told["uses"].values()) and f"{told['votes']} votes in all" in text
    assert told["names"] == {new[:12]: "champion", old[:12]: "baseline"}
    board = told["checkpoints"]["all"]
    assert [row["player"] for row in board["standings"]] == [new[:12], old[:12]]
    best = board["standings"][0]
    rows = visit.page.locator("[data-board=checkpoint] .cg-standings tbody tr")
    assert rows.count() == 2 and rows.locator(".cg-bar rect").count() == 2
    heads = visit.page.locator("[data-board=checkpoint] .cg-standings thead tr > *").all_inner_texts()
    cells = rows.first.locator("> *").all_inner_texts()
    shown = dict(zip(heads, cells, strict=True))
    assert shown["Pairs"] == str(best["games"]) and shown["Checkpoint"].startswith("champion")
    first = rows.first.inner_text()
    assert "champion" in first and f"+{best['strength']:.2f}" in first and f"{best['wins']} won" in first
    assert "stronger" in first and best["above_next"]["verdict"] == "stronger"
    schedules = visit.page.inner_text("[data-board=schedule]")
    assert "learned by champion" in schedules and "not distinguishable" in schedules
    assert "fewer than 20 pairs" in schedules and "3 won, 3 lost, 0 ties" in schedules
    assert visit.page.locator("[data-board=schedule] .cg-matrix tbody tr").count() == 4
    worth = visit.page.inner_text("[data-board=quality]")
    assert "5 of 6; 20 needed" in worth and "4 of 6; 20 needed" in worth and "no bias seen" in worth
    assert "in sight for too short: 1" in worth and "a script: 1" in worth

    visit.page.focus("#category input")
    visit.page.keyboard.press("ArrowDown")
    visit.page.get_by_role("option", name="two (").click()
    visit.page.wait_for_function(
        "(old) => !document.querySelector('[data-board=checkpoint] header').innerText.includes(old)",
        arg=f"{board['games']} pairs",
    )
    pairs = told["checkpoints"]["two"]["games"]
    assert f"{pairs} pair" in visit.page.inner_text("[data-board=checkpoint] header")


@pytest.fixture
def voted(app: App, client: Client) -> App:
    """The app with votes, whichever test runs first."""
    if not client.predict(api_name="/leaderboard")["votes"]:
        store = Store.open(Path(app.environment["STUDIO_DATA"]))
        filled(store)
        store.close()
    return app


def test_the_example_of_the_docs_runs(voted: App, capsys: pytest.CaptureFixture):
    exec(python_of("leaderboard.md").replace("http://127.0.0.1:7860", voted.address), {})
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("linear -0.") for line in lines), lines


def test_on_a_phone_nothing_is_wider_than_the_screen(browser: Browser, voted: App):
    with Visit(browser, voted.address, 390, 844, color_scheme="dark") as visit:
        look(visit)
        assert visit.page.locator("#board .cg-standings").count() == 2
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        assert visit.page.evaluate(
            "[...document.querySelectorAll('#board .cg-bar')].every((bar) => bar.getBoundingClientRect().width > 200)"
        )
        assert visit.errors == []


def test_without_a_store_the_page_says_why():
    with pytest.raises(StoreError, match="there is no <disk>") as refusal:
        Standings(Records(None, "STUDIO_DATA: there is no <disk>.")).figures()
    html = leaderboard_text.unreadable(str(refusal.value))
    assert 'role="alert"' in html and "there is no &lt;disk&gt;." in html
