"""The viewer on the static page: a recorded trace, a browser, and a server that only has files."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from browser import WATCH, Visit, outside
from playwright.sync_api import Browser

from cogrpo.trace import Trace

STATIC = Path(__file__).parents[1] / "ui" / "static"
EXAMPLE = STATIC / "example.trace"


class _Files(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Files, directory=STATIC))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/explorer.html"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Visit]:
    with Visit(browser, address) as visit:
        visit.wait("set.state === 'done'")
        yield visit
        assert visit.errors == []
        assert outside(visit.requests) == []


@pytest.fixture(scope="module")
def trace() -> Trace:
    return Trace.load(EXAMPLE)


def test_recorded_example_plays_once_at_a_readable_pace(visit: Visit, trace: Trace) -> None:
    visit.page.add_init_script(f"({WATCH})()")
    visit.page.reload()
    visit.wait(f"set.state === 'done' && set.step === '{trace.steps}' && set.playing === 'false'")
    shown = visit.watched()
    assert [step for _, step in shown] == list(range(trace.steps + 1)), "each step is shown once, in order"
    waits = [after - before for (before, _), (after, _) in zip(shown, shown[1:], strict=False)]
    assert min(waits) >= 150, f"a step was on screen for {min(waits):.0f} ms only"
    assert visit.part("tag") == "recorded example"


def test_counts_of_every_step_are_those_of_the_trace(visit: Visit, trace: Trace) -> None:
    visit.page.keyboard.press("Home")
    for step in range(trace.steps):
        visit.wait(f"set.step === '{step + 1}'")
        hidden, new = int((trace.kept_step > step).sum()), int((trace.kept_step == step).sum())
        kept = trace.kept_step.size - hidden - new
        assert [visit.part(name) for name in ("hidden", "new", "kept")] == [
            str(n) for n in (hidden, new, kept)
        ]
        spoken = visit.page.get_attribute("[data-part=slider]", "aria-valuetext")
        assert spoken == f"step {step + 1} of {trace.steps}, {new} new, {kept} kept, {hidden} hidden"
        visit.page.keyboard.press("ArrowRight")


def test_keyboard_takes_over_and_moves_the_step(visit: Visit, trace: Trace) -> None:
    keys = visit.page.keyboard
    keys.press("End")
    visit.wait(f"set.step === '{trace.steps}' && set.playing === 'false'")
    keys.press("Home")
    visit.wait("set.step === '1'")
    keys.press("ArrowRight")
    keys.press("ArrowRight")
    keys.press("ArrowLeft")
    visit.wait("set.step === '2'")
    keys.press("Space")
    visit.wait("set.playing === 'true' && Number(set.step) > 2")
    keys.press("Space")
    visit.wait("set.playing === 'false'")
    keys.press("l")
    visit.wait("viewer.querySelector('[data-act=loop]').getAttribute('aria-pressed') === 'true'")


def test_the_same_seed_under_cosine_stands_beside_it_and_takes_its_place_step_for_step(
    visit: Visit, trace: Trace
) -> None:
    rival = Trace.load(STATIC / "example-cosine.trace")
    assert (rival.recipe["seed"], rival.recipe["prompt"]) == (trace.recipe["seed"], trace.recipe["prompt"])
    assert (trace.recipe["schedule"], rival.recipe["schedule"]) == ("learned", "cosine")
    assert visit.page.is_visible("[data-part=rivalfilm]")
    visit.page.keyboard.press("Home")
    for shown, name in ((trace, "learned"), (rival, "this schedule: cosine"), (trace, "learned")):
        visit.wait("set.step === '1'")
        visit.page.wait_for_function(
            "(text) => document.querySelector('[data-part=own]').textContent === text", arg=name
        )
        assert int(visit.part("new")) == (shown.kept_step == 0).sum()
        visit.page.keyboard.press("c")
    assert visit.page.get_attribute("[data-act=against]", "aria-pressed") == "true"


def test_without_the_rival_the_example_plays_alone(visit: Visit, trace: Trace) -> None:
    visit.page.route("**/example-cosine.trace", lambda route: route.fulfill(status=404))
    visit.page.reload()
    visit.wait(f"set.state === 'done' && set.step === '{trace.steps}' && set.playing === 'false'")
    assert not visit.page.is_visible("[data-part=rival]")
    assert visit.page.inner_text("#line") == ""
    visit.errors[:] = [error for error in visit.errors if "404" not in error]


def test_a_page_that_is_opened_as_a_file_says_that_it_must_be_served(browser: Browser) -> None:
    with Visit(browser, (STATIC / "explorer.html").as_uri()) as visit:
        assert "python -m http.server" in visit.page.inner_text("#line")


def test_loop_begins_again(visit: Visit, trace: Trace) -> None:
    visit.page.keyboard.press("l")
    visit.page.keyboard.press("End")
    visit.page.keyboard.press("ArrowLeft")
    visit.wait(f"set.step === '{trace.steps - 1}'")
    visit.page.keyboard.press("Space")
    visit.wait(f"set.step === '{trace.steps}'")
    visit.wait("set.step === '1' && set.playing === 'true'")


def test_scrubbing_anywhere_in_when_goes_to_the_column(visit: Visit, trace: Trace) -> None:
    box = visit.page.locator("[data-part=rowbox]").bounding_box()
    y = box["y"] + box["height"] / 2
    visit.page.mouse.move(box["x"] + box["width"] - 8, y)
    visit.page.mouse.down()
    visit.wait(f"set.step === '{trace.steps}' && set.playing === 'false'")
    visit.page.mouse.move(box["x"] + 164, y, steps=4)
    visit.wait("set.step === '1'")
    visit.page.mouse.up()


def test_a_clicked_cell_tells_its_code_and_when_it_was_kept(visit: Visit, trace: Trace) -> None:
    visit.page.keyboard.press("End")
    box = visit.page.locator("[data-map=tokens] canvas").bounding_box()
    side = box["width"] / trace.grid[1]
    row, column = 2, 5
    visit.page.mouse.click(box["x"] + (column + 0.5) * side, box["y"] + (row + 0.5) * side)
    cell = row * trace.grid[1] + column
    visit.wait("viewer.querySelector('[data-part=inspector]').innerText.includes('row 3, column 6')")
    said = visit.part("inspector")
    assert f"{int(trace.tokens[cell]):03X}" in said
    assert f"{int(trace.kept_step[cell]) + 1}" in said.split("\n")[3] + said.split("\n")[4]
    assert visit.page.locator("[data-part=inspector] .chosen").count() == 1


def test_arrows_inside_a_map_move_the_cell_not_the_step(visit: Visit, trace: Trace) -> None:
    visit.page.keyboard.press("Home")
    visit.wait("set.step === '1'")
    visit.page.focus("[data-map=order] canvas")
    before = visit.page.inner_text("[data-part=inspector] h3")
    visit.page.keyboard.press("ArrowDown")
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_function(
        "(before) => document.querySelector('[data-part=inspector] h3').innerText !== before", arg=before
    )
    assert visit.page.get_attribute(".cg-viewer", "data-step") == "1"
    rows, columns = trace.grid
    row, column = (int(number) for number in re.findall(r"\d+", before)[:2])
    assert visit.part("aloud").startswith(f"row {min(row + 1, rows)}, column {min(column + 1, columns)}, ")


def test_table_says_the_same_as_the_trace(visit: Visit, trace: Trace) -> None:
    visit.page.click("text=Read as a table")
    rows = visit.page.locator("[data-part=table] tbody tr")
    assert rows.count() == trace.steps
    last = rows.nth(trace.steps - 1).locator("td").all_inner_texts()
    assert last[0] == str(int((trace.kept_step == trace.steps - 1).sum()))
    assert last[2] == "0"


def test_reduced_motion_shows_the_last_step_at_rest(browser: Browser, address: str, trace: Trace) -> None:
    with Visit(browser, address, reduced_motion="reduce") as visit:
        visit.wait(f"set.state === 'done' && set.step === '{trace.steps}' && set.playing === 'false'")


def test_a_dropped_trace_plays(visit: Visit, trace: Trace) -> None:
    visit.drop(EXAMPLE.read_bytes(), "mine.trace")
    visit.wait("viewer.querySelector('[data-part=tag]').hidden && set.state === 'done'")
    assert visit.page.inner_text("#prompt") == trace.recipe["prompt"]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda data: data[:-1], "cut short or changed"),
        (lambda data: data[:3000] + bytes([data[3000] ^ 1]) + data[3001:], "cut short or changed"),
        (lambda data: b"GIF89a" + data[6:], "A GIF holds no recipe and no trace; drop the shared trace"),
        (
            lambda data: b"\x89PNG\r\n\x1a\n" + data[8:],
            "A PNG holds a picture and its recipe, but not its steps",
        ),
        (lambda data: b"CGTRACE2" + data[8:], "not a trace file"),
        (lambda data: b"", "not a trace file"),
    ],
)
def test_a_broken_file_gives_one_sentence_and_the_old_trace_stays(
    visit: Visit, change, sentence: str
) -> None:
    visit.drop(change(EXAMPLE.read_bytes()), "broken.trace")
    visit.page.wait_for_function("() => document.getElementById('line').textContent")
    said = visit.page.inner_text("#line")
    assert sentence in said and said.startswith("broken.trace: ")
    visit.page.keyboard.press("Home")
    visit.wait("set.step === '1'")


def test_a_trace_without_pictures_says_what_to_save_instead(visit: Visit) -> None:
    plain = Trace.load(EXAMPLE)
    object.__setattr__(plain, "attachments", {})
    visit.drop(plain.to_bytes(), "plain.trace")
    visit.page.wait_for_function("() => document.getElementById('line').textContent")
    assert "shared trace" in visit.page.inner_text("#line")


def test_phone_has_four_tabs_and_no_sideways_scroll(browser: Browser, address: str) -> None:
    with Visit(browser, address, 390, 844) as visit:
        visit.wait("set.state === 'done'")
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        visit.page.click("[data-tab=order]")
        visit.wait("viewer.querySelector('figure[data-map=order] canvas').offsetParent !== null")
        assert not visit.page.is_visible("figure[data-map=picture] canvas")
        bar = visit.page.locator(".cg-bar").bounding_box()
        assert abs(bar["y"] + bar["height"] - 844) < 2, "the transport sticks to the bottom"
