"""The Vote tab and the rating in Explore, in a browser: nothing is lost by a reload, nothing is told too early."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from browser import App, Visit
from playwright.sync_api import Browser
from sqlalchemy import select

from db.models import Consent, Presentation, Vote
from db.session import Store

SERVER = re.compile("/component_server")
IMAGES = "[...document.querySelectorAll('.cg-vote img')].map((image) => image.src)"


@pytest.fixture(autouse=True)
def sqlite(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DATABASE_URL", raising=False)


def rows(app: App, table: type, newest: int = 1) -> list:
    store = Store.at(Path(app.environment["STUDIO_DATA"]))
    with store.read() as session:
        found = session.scalars(select(table).order_by(table.id.desc()).limit(newest)).all()
    store.close()
    return list(found)


def state(visit: Visit, name: str) -> None:
    visit.page.wait_for_selector(f".cg-vote[data-state={name}]")


def open_vote(visit: Visit) -> str:
    """Go to the tab and wait for both pictures. Returns the token of the pair."""
    visit.page.click("#tabs [role=tab]:has-text('Vote')")
    state(visit, "open")
    left, right = visit.page.evaluate(IMAGES)
    assert left.endswith("/left.png") and right.endswith("/right.png")
    return left.split("/")[-2]


def test_a_vote_by_key_is_stored_and_then_both_recipes_are_told(visit: Visit, app: App) -> None:
    token = open_vote(visit)
    assert visit.page.inner_text(".cg-vote dl >> nth=0") == "", "nothing is told before the vote"
    prompt = visit.page.inner_text(".cg-vote h2")
    visit.page.keyboard.press("3")
    state(visit, "voted")
    (vote,) = rows(app, Vote)
    (shown,) = rows(app, Presentation)
    assert (vote.kind, vote.outcome, vote.presentation_id) == ("pair", "right", shown.id)
    assert shown.token == token and vote.dwell_ms >= 0 and vote.consent_id is None
    assert "✓ Vote saved: B is better." in visit.page.inner_text(".cg-after")
    for side in ("left", "right"):
        told = visit.page.inner_text(f"[data-part={side}]")
        assert all(word in told for word in ("Model", "Schedule", "Seed", "Steps"))
    assert visit.page.locator(".cg-differs").count() >= 2
    visit.page.keyboard.press("Space")
    visit.page.wait_for_function(
        "(old) => !document.querySelector('.cg-vote img').src.includes(old)", arg=token
    )
    state(visit, "open")
    assert prompt and visit.page.inner_text("[data-part=left]") == ""


def test_a_reload_in_the_middle_brings_the_same_pair_back(visit: Visit, app: App) -> None:
    token = open_vote(visit)
    prompt = visit.page.inner_text(".cg-vote h2")
    visit.page.reload()
    assert open_vote(visit) == token
    assert visit.page.inner_text(".cg-vote h2") == prompt
    visit.page.click("[data-outcome=tie]")
    state(visit, "voted")
    assert rows(app, Vote)[0].outcome == "tie"
    visit.page.reload()
    assert open_vote(visit) != token


def test_two_browsers_have_pairs_of_their_own(browser: Browser, app: App) -> None:
    with (
        Visit(browser, app.address) as anna,
        Visit(browser, app.address, 390, 844, color_scheme="dark") as berta,
    ):
        assert open_vote(anna) != open_vote(berta)
        anna.page.keyboard.press("1")
        berta.page.click("[data-outcome=bad]")
        state(anna, "voted")
        state(berta, "voted")
        votes = rows(app, Vote, 2)
        assert {vote.outcome for vote in votes} == {"left", "bad"}
        assert len({vote.voter_id for vote in votes}) == 2
        assert berta.page.evaluate("document.documentElement.scrollWidth") == 390
        assert anna.errors == [] and berta.errors == []


def test_consent_is_given_and_withdrawn_and_remembered(visit: Visit, app: App) -> None:
    open_vote(visit)
    box = visit.page.locator(".cg-terms input")
    assert "CC BY 4.0 (terms, version 1)" in visit.page.inner_text(".cg-terms label") and not box.is_checked()
    with visit.page.expect_response(SERVER):
        box.check()
    visit.page.keyboard.press("1")  # the box has the focus
    state(visit, "voted")
    (given,) = rows(app, Consent)
    assert rows(app, Vote)[0].consent_id == given.id and (given.version, given.licence) == ("1", "CC BY 4.0")
    visit.page.reload()
    open_vote(visit)
    assert box.is_checked()
    with visit.page.expect_response(SERVER):
        box.uncheck()
    assert rows(app, Consent)[0].withdrawn_at is not None


def test_a_vote_that_did_not_arrive_is_said_and_the_pair_comes_back(visit: Visit, app: App) -> None:
    token = open_vote(visit)
    visit.page.route(SERVER, lambda route: route.abort())
    visit.page.keyboard.press("1")
    state(visit, "failed")
    assert "! The server did not answer." in visit.page.inner_text(".cg-after")
    visit.page.unroute_all()
    visit.page.click(".cg-vote [data-act=next]")
    state(visit, "open")
    assert token in visit.page.evaluate(IMAGES)[0]
    visit.errors[:] = [error for error in visit.errors if "ERR_FAILED" not in error]


def test_a_result_is_rated_beside_the_picture_and_the_last_rating_counts(visit: Visit, app: App) -> None:
    visit.wait("set.state === 'done'")
    assert visit.page.locator(".cg-rating").count() == 0, "a recorded example is nobody's result"
    visit.page.fill("#prompt :is(input, textarea)", "three books")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(".cg-rating")
    visit.page.click("[data-axis=overall] label:nth-child(5)")
    visit.page.wait_for_selector(".cg-rating[data-state=saved]")
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_selector(".cg-rating[data-state=saving]")
    visit.page.wait_for_selector(".cg-rating[data-state=saved]")
    visit.page.fill(".cg-note input", "one is green")
    visit.page.keyboard.press("Enter")
    visit.page.wait_for_selector(".cg-rating[data-state=saving]")
    visit.page.wait_for_selector(".cg-rating[data-state=saved]")
    last, middle, first = rows(app, Vote, 3)
    assert [(vote.overall, vote.note) for vote in (first, middle, last)] == [
        (5, None),
        (6, None),
        (6, "one is green"),
    ]
    assert [vote.superseded_at is None for vote in (first, middle, last)] == [False, False, True]
    assert len({vote.generation_id for vote in (first, middle, last)}) == 1 and last.alignment is None


def test_where_nothing_can_be_kept_pictures_are_painted_and_the_page_says_so(
    browser: Browser, tmp_path: Path
) -> None:
    with App(tmp_path, STUDIO_DATA="/proc/studio") as app, Visit(browser, app.address) as visit:
        visit.wait("set.state === 'done'")
        visit.page.fill("#prompt :is(input, textarea)", "one cactus")
        visit.page.keyboard.press("Control+Enter")
        visit.page.wait_for_selector(".cg-unkept")
        told = visit.page.inner_text(".cg-unkept")
        assert "Not kept" in told and "/proc/studio" in told
        visit.wait("set.state === 'done'")
        assert visit.part("prompt") == "one cactus" and visit.page.locator(".cg-rating").count() == 0
        visit.page.click("#tabs [role=tab]:has-text('Vote')")
        state(visit, "failed")
        assert "cannot be written" in visit.page.inner_text(".cg-after")
        assert visit.errors == []
