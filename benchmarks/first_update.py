"""How long somebody waits for the first step on a warm server: by the API, and from a click to the first drawn step.

`python -m benchmarks.first_update` starts `app.py` on a free port with a data folder of its own and prints one JSON
line: medians in milliseconds with 95 % bootstrap intervals. The browser's figure needs chromium and playwright.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from gradio_client import Client
from playwright.sync_api import Page, sync_playwright

from benchmarks.serving import server
from cogrpo.device import probe

CALLS = 15
WARM_UP = 3
GOAL = 300  # ms, on two quiet cores
ASKED = ("a dog", 0, 16, "cosine", "", "champion")

# Resolves with two times after the click: a new decode is on screen, all hidden, which the viewer shows for 250 ms by
# intent; and its first step is drawn.
CLICK = """() => new Promise((resolve) => {
  const viewer = document.querySelector('.cg-viewer');
  const times = [];
  const begun = performance.now();
  const watch = new MutationObserver(() => {
    if (viewer.dataset.state === 'done' && !times.length) return;
    if (viewer.dataset.step !== String(times.length)) return;
    times.push(performance.now() - begun);
    if (times.length < 2) return;
    watch.disconnect();
    resolve(times);
  });
  watch.observe(viewer, { attributes: true });
  document.getElementById('generate').click();
})"""
DONE = "() => document.querySelector('.cg-viewer')?.dataset.state === 'done'"


def by_api(client: Client) -> float:
    """Milliseconds from the call to the first update; the decode is then finished."""
    begun = time.perf_counter()
    job = client.submit(*ASKED, api_name="/generate")
    next(iter(job))
    spent = 1e3 * (time.perf_counter() - begun)
    job.result()
    return spent


def by_click(page: Page) -> list[float]:
    """Milliseconds from a click on Generate to a new decode on screen and to its first drawn step."""
    spent = page.evaluate(CLICK)
    page.wait_for_function(DONE)
    page.wait_for_selector("#generate")
    return spent


def summary(times: Sequence[float]) -> dict[str, float]:
    """Median and its 95 % bootstrap interval."""
    draws = np.median(np.random.default_rng(0).choice(times, (2000, len(times))), axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    told = {"median_ms": np.median(times), "low": low, "high": high}
    return {name: round(float(value), 1) for name, value in told.items()}


def main() -> None:
    with (
        tempfile.TemporaryDirectory() as data,
        server(Path(data)) as address,
        sync_playwright() as playwright,
    ):
        client = Client(address, verbose=False)
        api = [by_api(client) for _ in range(WARM_UP + CALLS)][WARM_UP:]
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(address)
        page.wait_for_function(DONE)
        clicks = [by_click(page) for _ in range(WARM_UP + CALLS)][WARM_UP:]
        browser.close()
    machine = probe()
    opened, drawn = zip(*clicks, strict=True)
    figures = {
        "benchmark": "first update",
        "calls": CALLS,
        "goal_ms": GOAL,
        "api": summary(api),
        "click_to_new_decode": summary(opened),
        "click_to_first_step": summary(drawn),
        "precision": machine.name,
        "threads": machine.threads,
        "gflops": dict(machine.gflops),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
