"""The Explore tab as a visitor and as a program use it: `python app.py` in a process of its own."""

from __future__ import annotations

import io
import json
import re
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import gradio
import numpy as np
import pytest
from browser import HELD_STEPS, WATCH, App, Visit, outside
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Browser

from cogrpo.emoji.grammar import parse
from cogrpo.recipe import read_png
from cogrpo.trace import Trace
from ui.explore import ENGINE

PROMPT = "#prompt :is(input, textarea)"
AT_A_TIME = ENGINE["concurrency_limit"]
FIELDS = [f"#{name} :is(input, textarea)" for name in ("prompt", "seed", "steps", "guidance")]
ASSETS = Path(gradio.__file__).parent / "templates/frontend/assets"


@pytest.fixture
def visit(visit: Visit) -> Visit:
    visit.wait("set.state === 'done'")
    return visit


@pytest.fixture
def own(tmp_path: Path) -> Iterator[App]:
    """An app that a test may stop."""
    with App(tmp_path) as app:
        yield app


@pytest.fixture
def held(tmp_path: Path) -> Iterator[App]:
    with App(tmp_path, held=True) as app:
        yield app


@pytest.fixture
def waiting(browser: Browser, held: App) -> Iterator[Visit]:
    """A visit to an app whose held decodes go on only as the test says."""
    with Visit(browser, held.address) as visit:
        visit.wait("set.state === 'done'")
        yield visit
        assert visit.errors == []


@pytest.fixture(scope="module")
def client(app: App) -> Client:
    return Client(app.address, verbose=False)


def fill(visit: Visit, **settings: object) -> None:
    for name, value in settings.items():
        field = PROMPT if name == "prompt" else f"#{name} :is(input, textarea)"
        visit.page.fill(field, str(value))


def ask(visit: Visit, **settings: object) -> None:
    """Fill the form in and press Ctrl+Enter, as soon as there is a Generate."""
    fill(visit, **settings)
    visit.page.wait_for_selector("#generate")
    visit.page.keyboard.press("Control+Enter")


def generate(visit: Visit, **settings: object) -> None:
    """Ask, and wait until a new decode has begun."""
    before = visit.page.get_attribute(".cg-viewer", "data-id")
    ask(visit, **settings)
    visit.page.wait_for_function(
        "(before) => document.querySelector('.cg-viewer').dataset.id !== before", arg=before
    )


def reload(visit: Visit) -> None:
    """As somebody does whose page knows that the server is there."""
    visit.page.wait_for_function("() => !document.body.classList.contains('cg-lost')")
    visit.page.reload()
    visit.wait("set.state === 'done'")


def leave_the_prompt(visit: Visit) -> None:
    """While somebody types, keys belong to the text."""
    visit.page.focus("[data-part=slider]")


def settings(visit: Visit) -> dict[str, str]:
    """Form field -> its text."""
    return {field: visit.page.input_value(field) for field in FIELDS}


def saved(visit: Visit, item: str) -> bytes:
    """What the Save menu gives for one of its items."""
    link = f".cg-menu a:has-text('{item}')"
    visit.page.wait_for_selector(link, state="attached")
    visit.page.click(".cg-menu summary")
    with visit.page.expect_download() as download:
        visit.page.click(link)
    return Path(download.value.path()).read_bytes()


def test_healthz_tells_version_model_checkpoint_device_and_uptime(app: App) -> None:
    health = json.loads(app.get("healthz"))
    assert {"version", "model", "checkpoint", "device", "uptime"} <= set(health)
    assert health["model"] == "emoji" and health["checkpoint"].startswith("champion:")
    assert health["device"] == "cpu"


def test_cold_page_plays_a_recorded_example_and_explains_three_words(visit: Visit) -> None:
    assert visit.part("tag") == "recorded example"
    told = visit.page.inner_text("#how")
    assert all(word in told for word in ("token", "step", "schedule"))


def test_generate_is_paced_and_prints_the_true_time(visit: Visit) -> None:
    visit.page.evaluate(WATCH)
    generate(visit, prompt="two dogs and a red heart", steps=6)
    visit.wait("set.step === '6' && set.playing === 'false' && set.state === 'done'")
    shown = visit.watched()
    own = shown[max(i for i, (_, step) in enumerate(shown) if step == 1) :]
    assert [step for _, step in own] == [1, 2, 3, 4, 5, 6]
    assert min(b - a for (a, _), (b, _) in zip(own, own[1:], strict=False)) >= 150
    assert " ms for 6 steps" in visit.part("foot")
    assert visit.part("sum") == "64" and visit.part("hidden") == "0"


def begin_a_long_decode(visit: Visit, app: App) -> None:
    generate(visit, prompt="three books", steps=HELD_STEPS)
    app.release(3)
    visit.wait("Number(set.step) >= 1")
    visit.page.wait_for_selector("#cancel")


def test_cancel_stops_and_what_was_painted_stays(waiting: Visit, held: App) -> None:
    begin_a_long_decode(waiting, held)
    with waiting.page.expect_response(lambda answer: answer.request.method == "POST"):
        waiting.page.keyboard.press("Escape")
    held.release(1)
    waiting.wait("set.state === 'stopped'")
    assert "Stopped after step" in waiting.part("foot")
    assert int(waiting.part("foot").split()[3]) < HELD_STEPS
    leave_the_prompt(waiting)
    waiting.page.keyboard.press("Home")
    waiting.wait("set.step === '1'")
    waiting.page.wait_for_selector("#generate")


def test_unknown_words_are_underlined_and_corrected_by_one_click(visit: Visit) -> None:
    prompt = "a fox and a bananna"
    unknown = parse(prompt).unknown[0]
    generate(visit, prompt=prompt, steps=2)
    visit.page.wait_for_selector("#notice u")
    assert visit.page.inner_text("#notice u") == unknown.word
    visit.page.click(f"#notice [data-word='{unknown.suggestions[0]}']")
    fixed = prompt[: unknown.start] + unknown.suggestions[0] + prompt[unknown.end :]
    visit.wait_for_values({PROMPT: fixed})


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"prompt": "zzzz"}, "no object"),
        (
            {"prompt": "a dog", "steps": 65},
            "steps: 65 is not allowed; allowed are whole numbers from 1 to 64",
        ),
        ({"prompt": "a dog", "guidance": "nan"}, "guidance: 'nan' is not allowed"),
    ],
)
def test_what_is_refused_is_said_in_place_and_the_prompt_is_kept(
    visit: Visit, changed: dict, said: str
) -> None:
    ask(visit, **changed)
    visit.page.wait_for_selector("#notice .cg-error")
    assert said in visit.page.inner_text("#notice")
    assert visit.page.input_value(PROMPT) == changed["prompt"]
    visit.page.wait_for_selector("#generate")


def test_the_picture_says_its_own_prompt_and_seed_also_when_another_prompt_is_refused(visit: Visit) -> None:
    earlier = ".cg-earlier"
    generate(visit, prompt="three books", steps=2)
    visit.wait("set.state === 'done'")
    seed = visit.page.input_value("#seed input")
    assert (visit.part("prompt"), visit.part("seed")) == ("three books", f", seed {seed}")
    assert not visit.page.is_visible(earlier)
    ask(visit, prompt="zzzz")
    visit.page.wait_for_selector(earlier)
    assert (visit.part("prompt"), visit.part("seed")) == ("three books", f", seed {seed}")
    generate(visit, prompt="one cactus")
    visit.page.wait_for_selector(earlier, state="hidden")
    assert visit.part("prompt") == "one cactus"


def test_every_step_has_its_column_and_all_rows_scroll_together(visit: Visit) -> None:
    boxes = """() => ['time', 'rowbox'].map((part) => document.querySelector(`[data-part=${part}]`))
        .map(({ scrollLeft, scrollWidth, clientWidth }) => [scrollLeft, scrollWidth - clientWidth])"""
    generate(visit, prompt="three books", steps=16)
    visit.wait("set.state === 'done'")
    assert visit.page.evaluate(boxes) == [[0, 0], [0, 0]]
    generate(visit, steps=40)
    visit.wait("set.state === 'done'")
    leave_the_prompt(visit)
    visit.page.keyboard.press("End")
    visit.wait("set.step === '40' && set.playing === 'false'")
    visit.page.wait_for_function(f"() => ({boxes})().every(([left, most]) => left > 300 && left === most)")
    assert visit.page.locator("[data-part=track] text").count() == 40
    widths = [visit.page.locator(f"[data-part={part}]").bounding_box()["width"] for part in ("film", "rows")]
    assert widths[0] == widths[1] >= 40 * 30
    visit.page.evaluate("document.querySelector('[data-part=rowbox]').scrollLeft = 60")
    visit.page.wait_for_function(f"() => ({boxes})().every(([left]) => left === 60)")
    box = visit.page.locator("[data-part=rowbox]").bounding_box()
    visit.page.mouse.click(box["x"] + 160 + 15, box["y"] + 20)  # the first column beside the names
    visit.wait("set.step === '3'")


def test_the_list_of_models_closes_when_one_leaves_it_by_tab(visit: Visit) -> None:
    visit.page.focus("#checkpoint input")
    visit.page.wait_for_selector("[role=listbox]")
    visit.page.keyboard.press("Tab")
    visit.page.wait_for_selector("[role=listbox]", state="detached")
    assert visit.page.evaluate("document.activeElement.closest('#steps') !== null")


def test_html_in_a_prompt_stays_text(visit: Visit) -> None:
    generate(visit, prompt="a dog <img src=x onerror=alert(1)>", steps=2)
    visit.page.wait_for_selector("#notice q")
    assert visit.page.locator("#notice img").count() == 0


def test_a_dropped_picture_is_looked_at_then_restored_and_painted_again(visit: Visit) -> None:
    generate(visit, prompt="a cat to the left of a tree", steps=5, guidance="2.5")
    first = saved(visit, "PNG")
    image, recipe = read_png(first)
    fill(visit, prompt="one cactus", steps=3, guidance="", seed=7)
    before = settings(visit)
    visit.drop(first, "kept.png")
    visit.page.wait_for_selector("#recipe h3")
    assert "a cat to the left of a tree" in visit.page.inner_text("#recipe")
    assert settings(visit) == before, "looking changes nothing"
    visit.page.click("#restore")
    visit.wait_for_values(dict(zip(FIELDS, [recipe.prompt, str(recipe.seed), "5", "2.5"], strict=True)))
    generate(visit)
    again, _ = read_png(saved(visit, "PNG"))
    assert np.array_equal(image, again)


def blank_png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "spoil", "said"),
    [
        ("cut.png", lambda picture, trace: picture[: len(picture) // 2], "cut short"),
        ("foreign.png", lambda picture, trace: blank_png(), "carries no recipe"),
        ("tampered.trace", lambda picture, trace: trace[:-9] + b"x" + trace[-8:], "cut short or changed"),
        ("kept.gif", lambda picture, trace: b"GIF89a" + bytes(40), "a GIF carries no recipe; open the PNG"),
        ("notes.txt", lambda picture, trace: b"a dog", "no PNG or trace"),
        ("large.png", lambda picture, trace: picture + bytes(60 * 2**20), "larger than the allowed 32 MB"),
    ],
)
def test_a_file_that_cannot_be_read_gives_one_sentence(
    visit: Visit, client: Client, tmp_path: Path, name: str, spoil: Callable, said: str
) -> None:
    picture, trace, _ = client.predict("a dog", 0, 2, "auto", "", "champion", api_name="/generate")
    path = tmp_path / name
    path.write_bytes(spoil(Path(picture).read_bytes(), Path(trace).read_bytes()))
    visit.page.set_input_files("input[type=file]:has(+ #open), #open ~ input[type=file]", path)
    visit.page.wait_for_selector("#notice .cg-error")
    told = visit.page.inner_text("#notice")
    assert said in told and told.endswith(".") and told.count(". ") == 1
    assert not visit.page.is_visible("#recipe h3")
    with pytest.raises(AppError) as refusal:
        client.predict(handle_file(path), api_name="/recipe")
    assert said in str(refusal.value) and str(refusal.value).count(".") <= 2
    generate(visit, prompt="a dog", steps=2)
    visit.wait("set.steps === '2' && set.state === 'done'")


def test_the_shared_trace_the_gif_and_a_dropped_trace(visit: Visit, tmp_path: Path) -> None:
    generate(visit, prompt="three books", steps=4)
    shared = Trace.from_bytes(saved(visit, "Trace to share"))
    assert len(shared.pictures) == 4 and shared.recipe["prompt"] == "three books"
    (tmp_path / "kept.gif").write_bytes(saved(visit, "GIF"))
    with Image.open(tmp_path / "kept.gif") as gif:
        assert gif.n_frames >= 4
    player = visit.page.get_attribute(".cg-menu a:has-text('how to play it')", "href")
    assert "Open a trace" in urllib.request.urlopen(player).read().decode()
    plain = saved(visit, "numbers only")
    assert len(plain) < 30_000
    visit.drop(plain, "kept.trace")
    visit.page.wait_for_selector("#recipe h3")
    visit.wait("set.state === 'done' && set.steps === '4' && !viewer.querySelector('.cg-menu')")


def test_the_picker_shows_curves_and_is_used_by_keyboard(visit: Visit) -> None:
    visit.page.focus("#schedule summary")
    visit.page.keyboard.press("ArrowDown")
    assert visit.page.locator("#schedule [role=menuitemradio] svg").count() >= 4 * 4
    visit.page.click("#schedule [data-name=linear]")
    generate(visit, prompt="a dog", steps=3)
    visit.wait("set.state === 'done'")
    assert visit.part("own") == "this schedule: linear"


def test_phone_in_the_dark(browser: Browser, app: App) -> None:
    with Visit(browser, app.address, 390, 844, color_scheme="dark") as visit:
        visit.wait("set.state === 'done'")
        generate(visit, prompt="a dog")
        visit.wait("set.state === 'done'")
        assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
        ground = visit.page.evaluate("getComputedStyle(document.querySelector('.cg-bar')).backgroundColor")
        assert max(int(part) for part in ground.strip("rgb()").split(",")[:3]) < 60
        bar = visit.page.locator(".cg-bar").bounding_box()
        assert abs(bar["y"] + bar["height"] - 844) < 2
        assert visit.errors == [] and outside(visit.requests) == []


def test_after_the_server_is_gone_everything_still_moves(browser: Browser, own: App) -> None:
    with Visit(browser, own.address) as visit:
        visit.wait("set.state === 'done'")
        generate(visit, prompt="a dog", steps=5)
        visit.wait("set.state === 'done'")
        visit.page.wait_for_selector("#generate")
        own.stop()
        leave_the_prompt(visit)
        visit.page.keyboard.press("End")
        visit.wait("set.step === '5'")
        visit.page.keyboard.press("Home")
        visit.wait("set.step === '1'")
        visit.page.click("[data-map=confidence] canvas")
        visit.wait("viewer.querySelectorAll('[data-part=inspector] li').length >= 5")
        visit.page.keyboard.press("Space")
        visit.wait("set.step === '5' && set.playing === 'false'")
        visit.page.wait_for_selector("#line :text('Connection lost')")
        ask(visit, prompt="one cactus")
        own.start()
        visit.page.wait_for_selector("#line p", state="hidden")
        visit.wait_for_values({PROMPT: "one cactus"})
        generate(visit, steps=2)
        visit.wait("set.steps === '2' && set.state === 'done'")


def lose(visit: Visit, text: str) -> None:
    """To this page the server is gone, and somebody types a prompt. `visit.page.unroute_all()` brings it back."""
    visit.page.route("**/healthz", lambda route: route.abort())
    visit.page.wait_for_selector("#line :text('Connection lost')")
    fill(visit, prompt=text)


def forgive_the_loss(visit: Visit) -> None:
    """What failed because the connection was lost is no fault of the page."""
    visit.errors[:] = [error for error in visit.errors if "ERR_FAILED" not in error]


def test_nothing_begins_while_the_server_is_gone(visit: Visit) -> None:
    lose(visit, "one cactus")
    visit.page.keyboard.press("Control+Enter")
    visit.page.press(PROMPT, "Enter")
    visit.page.click("#generate")
    visit.page.unroute_all()
    visit.page.wait_for_selector("#line p", state="hidden")
    generate(visit, steps=2)
    visit.wait("set.steps === '2' && set.state === 'done'")
    assert sum("/queue/join" in request for request in visit.requests) == 1
    forgive_the_loss(visit)


def test_escape_brings_generate_back_when_the_server_went_during_a_decode(waiting: Visit, held: App) -> None:
    begin_a_long_decode(waiting, held)
    waiting.page.route("**/healthz", lambda route: route.abort())
    waiting.page.wait_for_selector("#line :text('Connection lost')")
    waiting.page.keyboard.press("Escape")
    waiting.page.wait_for_selector("#generate")
    assert not waiting.page.is_visible("#cancel")
    forgive_the_loss(waiting)


def script_of(component: str) -> str:
    """The file from which Gradio's page loads a component."""
    (core,) = ASSETS.glob("core-*.js")
    told = re.search(rf"\b{component}:{{.*?component:\(\)=>.*?import\(`\./([^`]+)`", core.read_text())
    return told[1]


@pytest.mark.parametrize("component", ["textbox", "button"])
def test_what_was_typed_is_there_whichever_part_of_the_page_comes_last(visit: Visit, component: str) -> None:
    before = settings(visit)
    lose(visit, "one cactus")
    late = []
    visit.page.route(f"**/assets/{script_of(component)}", lambda route: late.append(route))
    missing, there = (PROMPT, "#again") if component == "textbox" else ("#again", PROMPT)
    for _ in range(2):  # the second time away from a page that is not whole
        late.clear()
        visit.page.reload(wait_until="commit")
        visit.wait("set.state === 'done'")
        visit.page.wait_for_selector(there)
        assert late and visit.page.locator(missing).count() == 0
    for route in late:
        route.continue_()
    visit.wait_for_values({PROMPT: "one cactus"})
    visit.page.unroute_all()
    visit.page.click("#again")
    visit.wait_for_values(before)
    forgive_the_loss(visit)


def test_what_was_typed_outlives_reloads_until_it_is_painted(visit: Visit) -> None:
    before = settings(visit)
    lose(visit, "one cactus")
    for _ in range(3):
        visit.page.reload(wait_until="domcontentloaded")  # so before there is a field
    visit.wait_for_values({PROMPT: "one cactus"})
    visit.page.unroute_all()
    fill(visit, prompt="three books")
    reload(visit)
    visit.wait_for_values({PROMPT: "three books"})
    generate(visit, steps=2)
    visit.wait("set.state === 'done'")
    visit.page.wait_for_selector("#generate")
    reload(visit)
    visit.wait_for_values(before)
    forgive_the_loss(visit)


def test_what_was_typed_outlives_a_loss_that_gradio_alone_has_noticed(visit: Visit) -> None:
    visit.page.evaluate("window.old = true")
    visit.page.route("**/queue/join*", lambda route: route.abort())
    ask(visit, prompt="three books")
    fill(visit, prompt="one cactus")
    visit.page.wait_for_function("() => !window.old")  # Gradio loads the page anew on its own
    visit.wait("set.state === 'done'")
    visit.wait_for_values({PROMPT: "one cactus"})
    forgive_the_loss(visit)


@pytest.mark.parametrize("leave", [False, True])
def test_who_waits_is_told_the_place_and_may_leave(waiting: Visit, held: App, leave: bool) -> None:
    client = Client(held.address, verbose=False)
    asked = ("a dog", 0, HELD_STEPS, "cosine", "", "champion")
    ahead = [client.submit(*asked, api_name="/generate") for _ in range(AT_A_TIME)]
    while not all(job.outputs() for job in ahead):  # all are being painted, so the next one waits
        assert not any(job.done() for job in ahead)
        waiting.page.wait_for_function("() => true")
    ask(waiting, prompt="one cactus", steps=2)
    waiting.page.wait_for_selector("#line :text('First in line.')")
    assert waiting.part("tag") == "recorded example"
    if leave:
        waiting.page.keyboard.press("Escape")
        waiting.page.wait_for_selector("#generate")
        waiting.page.wait_for_selector("#line p", state="hidden")  # by the server's answer, after the buttons
    held.release(HELD_STEPS * len(ahead))
    if leave:
        generate(waiting, steps=3)
    steps = 3 if leave else 2
    waiting.wait(f"set.steps === '{steps}' && set.state === 'done'")
    waiting.page.wait_for_selector("#line p", state="hidden")
    waiting.page.wait_for_selector("#generate")


def test_start_again_brings_the_newcomers_page_back(visit: Visit) -> None:
    before = settings(visit)
    generate(visit, prompt="three books", steps=4, guidance="3", seed=9)
    visit.wait("set.steps === '4' && set.state === 'done'")
    visit.page.click("#schedule summary")
    visit.page.click("#schedule [data-name=linear]")
    visit.page.click("[data-act=loop]")
    visit.page.select_option("[data-part=speed]", "4")
    visit.page.evaluate(WATCH)
    visit.page.click("#again")
    visit.wait("set.state === 'done' && set.playing === 'false' && set.step === set.steps")
    assert visit.part("tag") == "recorded example"
    visit.wait_for_values(before)
    visit.page.wait_for_selector("#schedule summary b:text('auto')")
    assert len(visit.watched()) >= 4, "it was seen playing"
    generate(visit, steps=3)
    visit.wait("set.steps === '3' && set.state === 'done'")


def test_start_again_puts_a_running_decode_aside(waiting: Visit, held: App) -> None:
    begin_a_long_decode(waiting, held)
    with waiting.page.expect_response(lambda answer: answer.request.method == "POST"):
        waiting.page.click("#again")
    held.release(1)
    waiting.page.wait_for_selector("#generate")
    waiting.wait(
        f"set.steps !== '{HELD_STEPS}' && set.state === 'done' && set.playing === 'false' && set.step === set.steps"
    )
    assert waiting.part("tag") == "recorded example"


def test_a_table_in_a_dropped_recipe_is_used_again(visit: Visit, client: Client) -> None:
    table = json.dumps({"name": "mine", "table": [[0.8, 1.5, 4, 2], [0.3, 1, 2, 3], [0, 0.7, 0, 5]]})
    picture, _, recipe = client.predict("a red heart", 4, 3, table, "", "champion", api_name="/generate")
    assert recipe["schedule"] == "mine" and not recipe["interpolated"]
    visit.drop(Path(picture).read_bytes(), "kept.png")
    visit.page.wait_for_selector("#recipe :text('its 3 rows stand in this file')")
    visit.page.click("#restore")
    visit.page.wait_for_selector("#schedule summary b:text('mine')")
    visit.wait_for_values(dict(zip(FIELDS, ["a red heart", "4", "3", ""], strict=True)))
    generate(visit)
    image, again = read_png(saved(visit, "PNG"))
    assert np.array_equal(image, read_png(Path(picture).read_bytes())[0])
    assert again.model_dump(mode="json") == recipe


def test_api_yields_one_update_a_step_and_files_that_can_be_read(client: Client) -> None:
    job = client.submit("a dog and a cat", 5, 6, "cosine", "auto", "champion", api_name="/generate")
    image, trace, recipe = job.result()
    assert len(job.outputs()) == 6
    pixels, inside = read_png(Path(image).read_bytes())
    assert pixels.shape == (128, 128, 3)
    assert inside.model_dump(mode="json") == recipe
    assert recipe["checkpoint"] == "champion" and recipe["checkpoint_name"] == "champion"
    assert Trace.load(Path(trace)).recipe["prompt"] == "a dog and a cat"
    for file in (image, trace):
        assert client.predict(handle_file(file), api_name="/recipe") == recipe


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"prompt": ""}, "prompt"),
        ({"prompt": "x" * 10_000}, "prompt"),
        ({"prompt": "a dog\0"}, "prompt"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**63}, "seed"),
        ({"steps": 0}, "steps"),
        ({"steps": 65}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"schedule": "nope"}, "schedule"),
        ({"schedule": "../../etc/passwd.csv"}, "schedule"),
        ({"guidance": "inf"}, "guidance"),
        ({"guidance": 21}, "guidance"),
        ({"checkpoint": "../model.safetensors"}, "checkpoint"),
    ],
)
def test_api_refuses_in_one_sentence(client: Client, change: dict, field: str) -> None:
    asked = {
        "prompt": "a dog",
        "seed": 0,
        "steps": 4,
        "schedule": "auto",
        "guidance": "",
        "checkpoint": "champion",
    }
    with pytest.raises(AppError) as refusal:
        client.predict(*{**asked, **change}.values(), api_name="/generate")
    said = str(refusal.value)
    assert said.startswith(f"{field}: ") and said.endswith(".") and "Traceback" not in said


def test_api_names_are_exactly_those_that_are_promised(app: App) -> None:
    named = json.loads(app.get("gradio_api/info"))["named_endpoints"]
    assert set(named) == {"/generate", "/recipe", "/compare", "/leaderboard"}
    names = [parameter["parameter_name"] for parameter in named["/generate"]["parameters"]]
    assert names == ["prompt", "seed", "steps", "schedule", "guidance", "checkpoint"]
    tools = [tool["name"] for tool in json.loads(app.get("gradio_api/mcp/schema"))]
    assert {"generate", "recipe"} <= set(tools)


def test_the_server_itself_never_looks_outside(app: App, client: Client) -> None:
    client.predict("a dog", 0, 2, "auto", "", "champion", api_name="/generate")
    places = set(app.witness.read_text().split())
    assert places <= {"127.0.0.1", "localhost", "::1", "0.0.0.0", "None"}


def test_dark_is_remembered_and_a_reload_begins_anew(visit: Visit) -> None:
    before = settings(visit)
    fill(visit, prompt="one cactus")
    visit.page.click("#shade")
    dark = visit.page.evaluate("document.body.classList.contains('dark')")
    reload(visit)
    assert visit.page.evaluate("document.body.classList.contains('dark')") == dark
    visit.wait_for_values(before)


def test_a_seed_that_is_typed_is_kept_and_ctrl_enter_leaves_the_tick_alone(visit: Visit) -> None:
    fill(visit, prompt="a dog", seed=77, steps=2)
    visit.page.wait_for_function("() => document.querySelector('#lock input').checked")
    before = visit.page.get_attribute(".cg-viewer", "data-id")
    visit.page.focus("#lock input")
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_function(
        "(before) => document.querySelector('.cg-viewer').dataset.id !== before", arg=before
    )
    visit.wait("set.state === 'done'")
    assert visit.page.is_checked("#lock input") and visit.part("seed") == ", seed 77"


def test_a_refused_prompt_leaves_the_seed(visit: Visit) -> None:
    before = visit.page.input_value("#seed input")
    ask(visit, prompt="zzzz")
    visit.page.wait_for_selector("#notice .cg-error")
    visit.page.wait_for_selector("#generate")
    assert visit.page.input_value("#seed input") == before


def test_the_sheet_of_keys_closes_on_escape_and_on_a_click_elsewhere(visit: Visit) -> None:
    for close in (lambda: visit.page.keyboard.press("Escape"), lambda: visit.page.click("#how p")):
        visit.page.click("#keys summary")
        assert visit.page.evaluate("document.getElementById('keys').open")
        close()
        assert not visit.page.evaluate("document.getElementById('keys').open")
