"""The Training tab, and what serves a champion: a swap without a restart, a damaged one, the admin's token."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from browser import HELD_STEPS, ROOT, App, Visit
from gradio_client import Client
from gradio_client.exceptions import AppError
from playwright.sync_api import Browser
from training_rows import held, judged, real_candidate, trained

from cogrpo.background import NICE, PAUSE, RESUME
from db import rounds
from db.session import Store
from ui.embedded import LOG, EmbeddedWorker

TOKEN = "correct horse"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return tmp_path


@pytest.fixture
def admin(folder: Path) -> Iterator[App]:
    with App(folder, held=True, STUDIO_ADMIN_TOKEN=TOKEN) as app:
        yield app


@pytest.fixture
def store(folder: Path) -> Iterator[Store]:
    """The store that the app has open, too."""
    store = Store.open(folder / "data")
    yield store
    store.close()


def served(app: App) -> str:
    return json.loads(app.get("healthz"))["checkpoint"]


def recipe(told: tuple) -> dict:
    return told[2]


def test_a_new_champion_is_served_without_a_restart_and_a_decode_in_flight_ends_on_the_old(
    admin, store, folder
):
    client = Client(admin.address, verbose=False)
    before = served(admin)
    sha256 = real_candidate(folder / "data", "new")
    number = held(store, sha256, "checkpoints/new")
    flying = client.submit("a dog", 0, HELD_STEPS, "auto", "", "champion", api_name="/generate")
    while not flying.outputs():
        assert not flying.done()
    assert "is champion now" in client.predict(TOKEN, number, api_name="/promote")
    assert served(admin) == f"champion:{sha256[:12]}" != before
    new = recipe(client.predict("a dog", 0, 2, "auto", "", "champion", api_name="/generate"))
    admin.release(HELD_STEPS)
    old = recipe(flying.result())
    assert old["checkpoint_sha256"][:12] == before.split(":")[1]
    assert (new["checkpoint_sha256"], new["schedule"]) == (sha256, "learned")
    assert "is champion again" in client.predict(TOKEN, api_name="/rollback")
    assert served(admin) == before


def test_a_damaged_champion_gives_way_to_the_one_before_and_the_page_says_so(admin, store, folder, browser):
    client = Client(admin.address, verbose=False)
    before = served(admin)
    number = held(store, real_candidate(folder / "data", "new"), "checkpoints/new")
    client.predict(TOKEN, number, api_name="/promote")
    weights = folder / "data" / "checkpoints" / "new" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    assert served(admin) == before
    told = recipe(client.predict("a dog", 0, 2, "auto", "", "champion", api_name="/generate"))
    assert told["checkpoint_sha256"][:12] == before.split(":")[1]
    with Visit(browser, admin.address) as visit:
        visit.page.get_by_role("tab", name="Training").click()
        said = visit.page.locator("#rounds [role=alert]")
        said.wait_for()
        assert "The champion cannot be served" in said.inner_text() and "is damaged" in said.inner_text()


def test_only_the_token_decides(admin, store, folder):
    client = Client(admin.address, verbose=False)
    number = held(store, real_candidate(folder / "data", "new"), "checkpoints/new")
    for name, more in (
        ("promote", [number]),
        ("reject", [number]),
        ("retry", [number]),
        ("rollback", []),
        ("run_round", []),
    ):
        for token in ("", "wrong"):
            with pytest.raises(AppError, match="token: this is not the admin's"):
                client.predict(token, *more, api_name=f"/{name}")
    with pytest.raises(AppError, match="one of emoji is running"):
        client.predict(TOKEN, api_name="/run_round")
    assert client.predict(TOKEN, number, api_name="/reject") == f"Round {number} is rejected."
    assert "waits for the worker" in client.predict(TOKEN, api_name="/run_round")


def test_without_a_token_there_is_nothing_to_decide_with(app: App, browser: Browser):
    client = Client(app.address, verbose=False)
    listed = client.view_api(return_format="dict")["named_endpoints"]
    for name in ("/promote", "/reject", "/retry", "/rollback", "/run_round"):
        assert name not in listed
        with pytest.raises(ValueError, match="Cannot find a function"):
            client.predict("", api_name=name)
    with Visit(browser, app.address) as visit:
        visit.page.get_by_role("tab", name="Training").click()
        visit.page.wait_for_selector("#rounds :text('No round has begun yet.')")
        assert "40 more votes and the next round begins." in visit.page.inner_text("#rounds")
        assert not visit.page.locator("#promote, #token, #run_round").count()
        assert visit.errors == []


def test_the_tab_shows_rounds_curves_verdict_and_pictures(app: App, browser: Browser):
    store = Store.open(Path(app.environment["STUDIO_DATA"]))
    judged(store, trained(store, "one"), "rejected", {})
    claim = trained(store, "two")
    with store.write() as session:
        rounds.fail(session, claim.id, claim.fence, "ZeroDivisionError: <no> disk", 1, timedelta(0))
    with Visit(browser, app.address) as visit:
        page = visit.page
        page.get_by_role("tab", name="Training").click()
        page.wait_for_selector("#report :text('is parked after failures')")
        assert "ZeroDivisionError: <no> disk" in page.inner_text("#report")
        assert page.locator("#rounds tbody tr").count() == 2
        page.click("#round input")
        page.get_by_role("option", name="1, rejected").click()
        page.wait_for_selector("#report :text('Gate: not passed')")
        page.wait_for_selector("#pictures figure")
        assert page.locator("#pictures img").count() == 16 and page.locator("#pictures figure").count() == 8
        page.wait_for_selector("#rewards canvas, #rewards svg")
        assert "verifier moved by" in page.inner_text("#report")
        assert visit.errors == []
    store.close()


def workers(app: App) -> list[int]:
    """The app's children that run worker.py."""
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            parent = int(re.search(r"^PPid:\s*(\d+)", (place / "status").read_text(), re.MULTILINE)[1])
            if parent == app.process.pid and b"worker.py" in (place / "cmdline").read_bytes():
                found.append(int(place.name))
        except (FileNotFoundError, ProcessLookupError):
            continue  # it has ended meanwhile
    return found


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
def test_the_embedded_worker_is_in_the_apps_group_and_ends_with_it_however_that_ends(folder, end):
    with App(folder, STUDIO_WORKER="embedded") as app:
        while not (found := workers(app)):
            assert app.process.poll() is None
        assert os.getpgid(found[0]) == os.getpgid(app.process.pid)
        with os.fdopen(os.pidfd_open(found[0])) as handle:
            while os.getpriority(os.PRIO_PROCESS, found[0]) < NICE:  # once it has loaded what it needs
                assert not select.select([handle], [], [], 0)[0], (folder / "data" / LOG).read_text()
            app.process.send_signal(end)
            assert select.select([handle], [], [], 60)[0]


def test_a_setting_that_means_nothing_is_one_sentence(folder):
    with pytest.raises(AssertionError, match="ended with 1"):
        App(folder, STUDIO_WORKER="sometimes")


def test_who_generates_goes_first(folder):
    """The pipe says so from the first of several decodes to the end of the last."""
    worker = EmbeddedWorker(folder, lambda: None)
    read, write = os.pipe()
    worker.process = SimpleNamespace(stdin=os.fdopen(write, "wb", buffering=0))
    with worker.busy():
        with worker.busy():
            pass
        assert os.read(read, 9) == PAUSE
    assert os.read(read, 9) == RESUME
    worker.process.stdin.close()
    os.close(read)


def test_work_pauses_while_the_pipe_says_so_and_ends_with_it():
    code = "import sys\nfrom cogrpo.background import Pauses\nPauses(sys.stdin.buffer, True)\n"
    code += "for number in range(10**9): print(number, flush=True)\n"
    working = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
    )
    assert working.stdout.readline() == b"0\n"
    working.stdin.write(PAUSE)
    while select.select([working.stdout], [], [], 1)[0]:  # what it had said before; then nothing for a second
        assert working.stdout.read(65536)
    working.stdin.write(RESUME)
    assert working.stdout.readline()
    working.stdin.close()
    assert working.wait(60) == 0
    working.stdout.close()
