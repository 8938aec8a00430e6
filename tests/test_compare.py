"""Compare: two decodes of one prompt and seed, where they first differ, and a side that fails alone."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browser import App, Visit
from gradio_client import Client
from gradio_client.exceptions import AppError
from mock_model import MockRegistry
from pages import python_of
from playwright.sync_api import Browser
from sqlalchemy import select

from cogrpo.recipe import read_png
from db.models import Generation as Row
from db.session import Store
from ui.comparisons import Comparisons, settings
from ui.generation import Generations, Refused, Settings
from ui.parting import Parting, first
from ui.records import Records

DONE = ".cg-compare[data-state=done][data-playing=false]"


def trace(kept_step: list[int], codes: list[list[int]]) -> SimpleNamespace:
    return SimpleNamespace(steps=len(codes), kept_step=np.array(kept_step), sampled=np.array(codes))


def test_guesses_that_are_hidden_again_are_no_difference() -> None:
    left = trace([0, 1, 2], [[5, 1, 1], [5, 6, 2], [5, 6, 7]])
    right = trace([0, 1, 2], [[5, 9, 9], [5, 6, 9], [5, 6, 7]])
    assert first(left, right) is None


def test_they_part_where_any_decided_token_differs() -> None:
    left = trace([0, 1, 1, 2], [[5, 0, 0, 0], [5, 6, 7, 0], [5, 6, 7, 8]])
    right = trace([0, 1, 2, 1], [[5, 0, 0, 0], [5, 9, 0, 8], [5, 9, 7, 8]])
    assert first(left, right) == Parting(step=2, differ=3, only_left=1, only_right=1, another=1)


@pytest.fixture
def comparisons(store: Store, tmp_path: Path) -> Comparisons:
    generations = Generations(Records(store), MockRegistry(tmp_path))
    generations.verdict = lambda generation: {"strict": True, "soft": 1.0, "clauses": [], "failed": []}
    return Comparisons(generations)


def side(schedule: str, prompt: str = "a dog", seed: object = 7) -> Settings:
    return Settings(prompt, seed, 3, schedule, "", "champion")


def streamed(comparisons: Comparisons, left: Settings, right: Settings) -> list[dict]:
    return list(comparisons.stream(left, right, threading.Event()))


def test_both_sides_come_step_by_step_and_both_are_recorded(comparisons: Comparisons, store: Store) -> None:
    came = [
        (message["side"], message["type"])
        for message in streamed(comparisons, side("cosine"), side("linear"))
    ]
    turns = ["open", "step", "step", "step", "close"]
    assert came == [(name, turn) for turn in turns for name in ("left", "right")]
    with store.read() as session:
        rows = session.scalars(select(Row).order_by(Row.id)).all()
        assert [(row.source, row.schedule, row.seed) for row in rows] == [
            ("page", "cosine", 7),
            ("page", "linear", 7),
        ]


@pytest.mark.parametrize(
    ("sides", "failed"), [(("sideways", "linear"), "left"), (("linear", "sideways"), "right")]
)
def test_a_side_that_fails_leaves_the_other_one_whole(
    comparisons: Comparisons, sides: tuple[str, str], failed: str
) -> None:
    messages = streamed(comparisons, *map(side, sides))
    of = {name: [message for message in messages if message["side"] == name] for name in ("left", "right")}
    (refusal,) = of.pop(failed)
    assert refusal["type"] == "failed" and refusal["text"].startswith("schedule: 'sideways' is unknown")
    (whole,) = of.values()
    assert [message["type"] for message in whole] == ["open", "step", "step", "step", "close"]


@pytest.mark.parametrize(("prompt", "seed", "field"), [("gibberish", 7, "prompt"), ("a dog", -1, "seed")])
def test_what_both_sides_share_is_refused_once(
    comparisons: Comparisons, prompt: str, seed: int, field: str
) -> None:
    with pytest.raises(Refused, match=f"^{field}: "):
        streamed(comparisons, side("cosine", prompt, seed), side("linear", prompt, seed))


def test_a_cancelled_comparison_stops_both(comparisons: Comparisons) -> None:
    cancel = threading.Event()
    came = comparisons.stream(side("cosine"), side("linear"), cancel)
    [next(came) for _ in range(4)]
    cancel.set()
    assert [(message["type"], message["stopped"]) for message in came] == [("close", True)] * 2


def test_a_program_may_name_a_side_as_text_or_json() -> None:
    table = {"name": "mine", "table": [[0, 1, 1, 1]]}
    told = json.dumps({"checkpoint": "baseline", "schedule": table, "steps": 1, "guidance": 2})
    assert settings("left", "emoji:runs/a/cosine/4", "a dog", 1) == Settings(
        "a dog", 1, "4", "cosine", "auto", "emoji:runs/a"
    )
    assert settings("left", "champion", "a dog", 1) == Settings("a dog", 1, 8, "auto", "auto", "champion")
    assert settings("right", told, "a dog", 1) == Settings("a dog", 1, 1, json.dumps(table), 2, "baseline")


@pytest.mark.parametrize(
    ("left", "right", "said"),
    [
        ("champion/linear/3", "champion/linear/4", "steps: 3 and 4 are not allowed together"),
        ("", "", "left: '' is not allowed; allowed is CHECKPOINT/SCHEDULE/STEPS"),
        ('{"steps": 3', "{", "left: this is not sound JSON"),
        ("nobody/linear/3", "noone/linear/3", "checkpoint: 'nobody' is unknown"),
    ],
)
def test_what_cannot_be_compared_is_refused(
    comparisons: Comparisons, left: str, right: str, said: str
) -> None:
    with pytest.raises(Refused) as refusal:
        list(comparisons.files("a dog", 7, left, right))
    assert str(refusal.value).startswith(said)


def test_a_program_gets_the_side_that_was_painted(comparisons: Comparisons) -> None:
    for left, right, about in comparisons.files("a dog", 7, "champion/linear/3", "champion/sideways/3"):
        assert right is None and about["right"]["error"].startswith("schedule: 'sideways' is unknown")
        assert read_png(Path(left).read_bytes())[1].model_dump(mode="json") == about["left"]["recipe"]
        assert about["parts"] is None


@pytest.fixture(scope="module")
def client(app: App) -> Client:
    return Client(app.address, verbose=False)


def test_the_example_of_the_reference_runs(app: App, capsys: pytest.CaptureFixture) -> None:
    exec(python_of("reference.md").replace("http://127.0.0.1:7860", app.address), {})
    said = capsys.readouterr().out
    assert "They part at step 1 in " in said and said.count("found:") == 2


def test_the_endpoint_refuses_in_one_sentence(client: Client) -> None:
    with pytest.raises(AppError, match=r"^seed: (?!.*\. ).*\.$"):
        client.predict("a dog", -1, "champion/auto/2", "baseline/cosine/2", api_name="/compare")


def compare(visit: Visit, prompt: str, seed: int = 3) -> None:
    """Fill in the form of the tab and wait until both sides have been played to their end."""
    visit.page.click("#tabs [role=tab]:has-text('Compare')")
    visit.page.wait_for_selector(DONE)  # the recorded example
    visit.page.fill("#cmp-prompt :is(input, textarea)", prompt)
    visit.page.fill("#cmp-seed input", str(seed))
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(f"{DONE}[data-prompt='{prompt}']")


def test_two_decodes_are_compared_by_keys_alone(visit: Visit, app: App, client: Client) -> None:
    page, prompt = visit.page, "two dogs and a red heart"
    compare(visit, prompt)
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("d")
    *_, about = client.predict(prompt, 3, "champion/auto/8", "baseline/cosine/8", api_name="/compare")
    parts = about["parts"]
    page.wait_for_selector(f".cg-compare[data-step='{parts['step']}'][data-parts='{parts['step']}']")
    words = page.inner_text("[data-part=parting]")
    assert f"They part at step {parts['step']}: {parts['differ']} token" in words
    assert "A and B differ in model and schedule" in words
    page.keyboard.press("End")
    page.wait_for_selector(".cg-compare[data-step='8']")
    page.keyboard.press("ArrowLeft")
    page.wait_for_selector(".cg-compare[data-step='7']")
    scores = page.inner_text("[data-part=scores]")
    for name in ("left", "right"):
        verifier = about[name]["verifier"]
        assert f"{verifier['soft']:.2f} soft score" in scores
        assert all(sentence in scores for sentence in verifier["failed"])
    page.keyboard.press("s")
    page.keyboard.press("ArrowRight")
    assert (
        page.evaluate("document.querySelector('[data-part=stage]').style.getPropertyValue('--edge')") == "51%"
    )
    store = Store.existing(Path(app.environment["STUDIO_DATA"]))
    with store.read() as session:
        kept = session.scalars(select(Row).where(Row.source == "page")).all()
        assert {row.schedule for row in kept} == {"learned", "cosine"}
    store.close()


def test_an_unknown_model_on_one_side_is_said_in_its_place(visit: Visit) -> None:
    visit.page.click("#tabs [role=tab]:has-text('Compare')")
    visit.page.wait_for_selector(DONE)
    visit.page.fill("#cmp-right-model input", "nobody")
    visit.page.keyboard.press("Tab")
    visit.page.fill("#cmp-prompt :is(input, textarea)", "three books")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector(f"{DONE}[data-prompt='three books']")
    assert "B was not painted. checkpoint: 'nobody' is unknown" in visit.page.inner_text(
        "[data-part=right-wrong]"
    )
    assert "Only one side was painted" in visit.page.inner_text("[data-part=parting]")


def test_two_people_compare_at_once_one_of_them_on_a_phone(browser: Browser, app: App) -> None:
    with (
        Visit(browser, app.address) as anna,
        Visit(browser, app.address, 390, 844, color_scheme="dark") as berta,
    ):
        compare(anna, "one cactus")
        compare(berta, "three books")
        assert "one cactus" in anna.page.inner_text(".cg-compare [data-part=prompt]")
        assert berta.page.evaluate("document.documentElement.scrollWidth") == 390
        assert anna.errors == [] and berta.errors == []
