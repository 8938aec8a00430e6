"""The Explore tab as a visitor and as a program use it: `python app.py` in a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from browser import WATCH, Visit, chromium, outside
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image
from playwright.sync_api import Browser

from cogrpo.emoji.grammar import parse
from cogrpo.recipe import read_png
from cogrpo.trace import Trace

ROOT = Path(__file__).parents[1]
PROMPT = "#prompt :is(input, textarea)"
# Runs first in the app's process, and notes every address that it connects to or asks a name for.
WITNESS = """
import os, sys
def note(event, args):
    if event in ("socket.connect", "socket.getaddrinfo"):
        place = args[1][0] if event == "socket.connect" and isinstance(args[1], tuple) else args[0]
        with open(os.environ["WITNESS"], "a") as file:
            file.write(f"{place}\\n")
sys.addaudithook(note)
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class App:
    """`python app.py` with a data folder of its own."""

    def __init__(self, folder: Path) -> None:
        (folder / "sitecustomize.py").write_text(WITNESS)
        self.witness = folder / "addresses"
        self.witness.touch()
        settings = {"PORT": str(free_port()), "STUDIO_DATA": str(folder / "data"), "PYTHONPATH": str(folder)}
        environment = {**os.environ, **settings, "WITNESS": str(self.witness)}
        for name in ("GRADIO_ANALYTICS_ENABLED", "GRADIO_SERVER_NAME", "SPACE_ID"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "app.py"], cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE
        )
        for line in self.process.stdout:
            if line.startswith("Co-GRPO Studio is ready: "):
                self.address = line.split()[-1]
                return
        self.stop()
        raise AssertionError(f"app.py ended with {self.process.returncode} before it was ready")

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.address}/{path}") as answer:
            return answer.read()


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = App(tmp_path_factory.mktemp("studio"))
    yield app
    app.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture
def visit(browser: Browser, app: App) -> Iterator[Visit]:
    visit = Visit(browser, app.address)
    visit.wait("set.state === 'done'")
    yield visit
    assert visit.errors == []
    assert outside(visit.requests) == []
    visit.close()


@pytest.fixture(scope="module")
def client(app: App) -> Client:
    return Client(app.address, verbose=False)


def fill(visit: Visit, **settings: object) -> None:
    for name, value in settings.items():
        field = PROMPT if name == "prompt" else f"#{name} :is(input, textarea)"
        visit.page.fill(field, str(value))


def generate(visit: Visit, **settings: object) -> None:
    """Fill the form in, press Ctrl+Enter and wait until a new decode has begun."""
    fill(visit, **settings)
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_function("() => document.querySelector('[data-part=tag]').hidden")


def leave_the_prompt(visit: Visit) -> None:
    """While somebody types, keys belong to the text."""
    visit.page.focus("[data-part=slider]")


def settings(visit: Visit) -> list[str]:
    names = ("#prompt", "#seed", "#steps", "#guidance")
    return [visit.page.input_value(f"{name} :is(input, textarea)") for name in names]


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
    assert health["model"] == "emoji" and health["checkpoint"].startswith("baseline:")


def test_cold_page_plays_a_recorded_example_and_explains_three_words(visit: Visit) -> None:
    assert visit.part("tag") == "recorded example"
    told = visit.page.inner_text("#how")
    assert all(word in told for word in ("token", "step", "schedule"))


def test_generate_is_paced_and_prints_the_true_time(visit: Visit) -> None:
    visit.page.evaluate(WATCH)
    generate(visit, prompt="two dogs and a red heart", steps=6)
    visit.wait("set.step === '6' && set.playing === 'false' && set.state === 'done'")
    shown = visit.page.evaluate("window.shown")
    own = shown[max(i for i, (_, step) in enumerate(shown) if step == 1) :]
    assert [step for _, step in own] == [1, 2, 3, 4, 5, 6]
    assert min(b - a for (a, _), (b, _) in zip(own, own[1:], strict=False)) >= 150
    assert " ms for 6 steps" in visit.part("foot")
    assert visit.part("sum") == "64" and visit.part("hidden") == "0"


def test_cancel_stops_and_what_was_painted_stays(visit: Visit) -> None:
    generate(visit, prompt="three books", steps=64)
    visit.wait("set.steps === '64' && Number(set.step) >= 1")
    visit.page.keyboard.press("Escape")
    visit.wait("set.state === 'stopped'")
    assert "Stopped after step" in visit.part("foot")
    assert int(visit.part("foot").split()[3]) < 64
    leave_the_prompt(visit)
    visit.page.keyboard.press("Home")
    visit.wait("set.step === '1'")
    visit.page.wait_for_selector("#generate")


def test_unknown_words_are_underlined_and_corrected_by_one_click(visit: Visit) -> None:
    prompt = "a fox and a bananna"
    unknown = parse(prompt).unknown[0]
    generate(visit, prompt=prompt, steps=2)
    visit.page.wait_for_selector("#notice u")
    assert visit.page.inner_text("#notice u") == unknown.word
    visit.page.click(f"#notice [data-word='{unknown.suggestions[0]}']")
    fixed = prompt[: unknown.start] + unknown.suggestions[0] + prompt[unknown.end :]
    assert visit.page.input_value(PROMPT) == fixed


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
    fill(visit, **changed)
    visit.page.keyboard.press("Control+Enter")
    visit.page.wait_for_selector("#notice .cg-error")
    assert said in visit.page.inner_text("#notice")
    assert visit.page.input_value(PROMPT) == changed["prompt"]
    visit.page.wait_for_selector("#generate")


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
    visit.page.wait_for_function("(steps) => document.querySelector('#steps input').value === steps", arg="5")
    assert settings(visit) == [recipe.prompt, str(recipe.seed), "5", "2.5"]
    visit.page.evaluate("document.querySelector('.cg-menu').remove()")  # the new decode brings its own
    visit.page.keyboard.press("Control+Enter")
    again, _ = read_png(saved(visit, "PNG"))
    assert np.array_equal(image, again)


def test_the_shared_trace_the_gif_and_a_dropped_trace(visit: Visit, tmp_path: Path) -> None:
    generate(visit, prompt="three books", steps=4)
    shared = Trace.from_bytes(saved(visit, "Trace to share"))
    assert len(shared.pictures) == 4 and shared.recipe["prompt"] == "three books"
    (tmp_path / "kept.gif").write_bytes(saved(visit, "GIF"))
    with Image.open(tmp_path / "kept.gif") as gif:
        assert gif.n_frames >= 4
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
    visit = Visit(browser, app.address, 390, 844, color_scheme="dark")
    visit.wait("set.state === 'done'")
    generate(visit, prompt="a dog")
    visit.wait("set.state === 'done'")
    assert visit.page.evaluate("document.documentElement.scrollWidth") == 390
    ground = visit.page.evaluate("getComputedStyle(document.querySelector('.cg-bar')).backgroundColor")
    assert max(int(part) for part in ground.strip("rgb()").split(",")[:3]) < 60
    bar = visit.page.locator(".cg-bar").bounding_box()
    assert abs(bar["y"] + bar["height"] - 844) < 2
    assert visit.errors == [] and outside(visit.requests) == []
    visit.close()


def test_after_the_server_is_gone_everything_still_moves(browser: Browser, tmp_path: Path) -> None:
    own = App(tmp_path)
    visit = Visit(browser, own.address)
    visit.wait("set.state === 'done'")
    generate(visit, prompt="a dog", steps=5)
    visit.wait("set.state === 'done'")
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
    visit.close()


def test_api_yields_one_update_a_step_and_files_that_can_be_read(client: Client) -> None:
    job = client.submit("a dog and a cat", 5, 6, "cosine", "auto", "champion", api_name="/generate")
    image, trace, recipe = job.result()
    assert len(job.outputs()) == 6
    pixels, inside = read_png(Path(image).read_bytes())
    assert pixels.shape == (128, 128, 3)
    assert inside.model_dump(mode="json") == recipe
    assert recipe["checkpoint"] == "champion" and recipe["checkpoint_name"] == "baseline"
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
    assert set(named) == {"/generate", "/recipe"}
    names = [parameter["parameter_name"] for parameter in named["/generate"]["parameters"]]
    assert names == ["prompt", "seed", "steps", "schedule", "guidance", "checkpoint"]
    tools = [tool["name"] for tool in json.loads(app.get("gradio_api/mcp/schema"))]
    assert {"generate", "recipe"} <= set(tools)


def test_the_server_itself_never_looks_outside(app: App, client: Client) -> None:
    client.predict("a dog", 0, 2, "auto", "", "champion", api_name="/generate")
    places = set(app.witness.read_text().split())
    assert places <= {"127.0.0.1", "localhost", "::1", "0.0.0.0", "None"}
