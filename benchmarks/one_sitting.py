"""One person, one laptop, one sitting: from the first picture over 40 votes to a model that is served.

`python -m benchmarks.one_sitting FOLDER` starts `make run` with an empty data folder, and nothing else, and then does
in a browser what a person would do: generates, votes by keys, waits for the round that begins by itself, reads its
report, generates again. The person is simulated: it likes the brighter picture. It prints one JSON line; screenshots
and the round's report go to FOLDER. Exit 1 where the round was not promoted.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from benchmarks.serving import ROOT, free_port, picture, ready
from cogrpo.evaluation.taste import VOTERS

VOTES, LONGEST, PATIENCE = 40, 15 * 60, 120_000  # votes; s that a round may take; ms for anything else
LOOK = 500  # ms; the store finds votes under 300 suspicious, and no round takes them
PROMPT = "a fox to the left of a tree on a light blue background"
SIDES, BRIGHT = ("left", "right"), VOTERS["bright"]
KEYS = {"left": "1", "tie": "2", "right": "3", "bad": "4"}
DONE = "() => document.querySelector('.cg-viewer')?.dataset.state === 'done'"
ROUNDS = "document.querySelector('#rounds tbody')?.innerText ?? ''"
TRAINS, ENDED = (
    f"() => /trains/.test({ROUNDS})",
    f"() => /promoted|rejected|parked|waits for a person/.test({ROUNDS})",
)


class Person:
    """What a simulated person does on the page."""

    def __init__(self, page: Page, address: str, shots: Path) -> None:
        self.page, self.address, self.shots = page, address, shots
        page.set_default_timeout(PATIENCE)
        page.goto(address)
        page.wait_for_function(DONE)

    def generate(self, name: str) -> str:
        """Returns the hash of the weights that painted it."""
        self.tab("Explore")
        self.page.fill("#prompt :is(input, textarea)", PROMPT)
        self.page.keyboard.press("Control+Enter")
        self.page.wait_for_selector("#cancel, #leave", state="visible")
        self.page.wait_for_function(DONE)
        self.shot(name)
        with urllib.request.urlopen(f"{self.address}/healthz") as told:
            return json.load(told)["checkpoint"]

    def vote(self) -> str:
        self.page.wait_for_selector(".cg-vote[data-state=open]")
        images = [f".cg-vote [data-side={side}] img" for side in SIDES]
        left, right = (BRIGHT(picture(self.page.get_attribute(image, "src"))) for image in images)
        outcome = "tie" if left == right else SIDES[left < right]
        self.page.wait_for_timeout(LOOK)
        self.page.keyboard.press(KEYS[outcome])
        self.page.wait_for_selector(".cg-vote[data-state=voted]")
        return outcome

    def tab(self, name: str) -> None:
        self.page.click(f"#tabs [role=tab]:has-text('{name}')")

    def shot(self, name: str) -> None:
        self.page.screenshot(path=self.shots / f"{name}.png", full_page=True)


def sit(page: Page, address: str, out: Path) -> dict[str, object]:
    begun = time.monotonic()
    person = Person(page, address, out)
    before = person.generate("1-before")
    person.tab("Vote")
    said = []
    for number in range(VOTES):
        said.append(person.vote())
        if number == 0:
            person.shot("2-voted")
        if number < VOTES - 1:
            page.keyboard.press("Space")
    voted = time.monotonic()
    person.tab("Training")
    page.wait_for_function(TRAINS)
    person.shot("3-training")
    page.wait_for_function(ENDED, timeout=LONGEST * 1000)
    ended = time.monotonic()
    page.wait_for_selector("#pictures figure")
    person.shot("4-report")
    report = "\n".join(page.locator("#report :is(h3, li, summary)").all_inner_texts())
    (out / "report.txt").write_text(report + "\n", encoding="utf-8")
    after = person.generate("5-after")
    return {
        "event": "one sitting", "person": "simulated: likes bright pictures",
        "promoted": before != after,
        "votes": {outcome: said.count(outcome) for outcome in KEYS}, "voting_minutes": round((voted - begun) / 60, 1),
        "round_minutes": round((ended - voted) / 60, 1), "before": before, "after": after,
        "report": report.splitlines(),
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    out: Path = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as data, sync_playwright() as playwright:
        environment = {**os.environ, "PORT": str(free_port()), "STUDIO_DATA": data}
        # In a group of its own, as in a terminal: what ends `make` ends the app, and the worker with it.
        made = subprocess.Popen(
            ["make", "run"],
            cwd=ROOT,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            address = ready(made)
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            told = sit(browser.new_page(viewport={"width": 1440, "height": 900}), address, out)
            browser.close()
        finally:
            os.killpg(made.pid, signal.SIGTERM)
            made.wait()
            made.stdout.close()
    print(json.dumps(told))
    return 0 if told["promoted"] else 1


if __name__ == "__main__":
    sys.exit(main())
