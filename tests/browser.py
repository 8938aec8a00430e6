"""The app in a process of its own, a headless Chromium, and what tests do with them. Nothing waits by sleeping."""

from __future__ import annotations

import base64
import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.serving import READY, free_port

ROOT = Path(__file__).parents[1]
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
TIMEOUT = 60_000  # ms; generous, for machines that do other things too
# Settings of this machine that no test wants.
OWN = (
    "GRADIO_ANALYTICS_ENABLED", "GRADIO_SERVER_NAME", "SPACE_ID", "STUDIO_KEEP", "STUDIO_PAIR_HOURS", "DATABASE_URL",
    "STUDIO_ARTIFACTS",
)  # fmt: skip
HELD_STEPS = 9  # decodes of so many steps are held, where any are

# Notes the time of every change of the step on screen, from before the viewer is there.
WATCH = """() => {
  window.shown = [];
  let last = '';
  new MutationObserver(([{ target }]) => {
    if (target.dataset.step === last) return;
    last = target.dataset.step;
    window.shown.push([performance.now(), Number(last)]);
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ['data-step'] });
}"""

DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  document.querySelector('.cg-where').dispatchEvent(
    new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }));
}"""


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


class App:
    """`python app.py` with a data folder of its own; `held`: decodes of HELD_STEPS steps wait for `release`.

    more: settings. As a context manager it is ended in any case.
    """

    def __init__(self, folder: Path, held: bool = False, **more: str) -> None:
        self.script = "tests/held_app.py" if held else "app.py"
        (folder / "sitecustomize.py").write_text(WITNESS)
        self.witness = folder / "addresses"
        self.witness.touch()
        settings = {
            "PORT": str(free_port()),
            "STUDIO_DATA": str(folder / "data"),
            "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
            "STUDIO_WORKER": "off",
            **more,
        }
        inherited = {name: value for name, value in os.environ.items() if name not in OWN}
        self.environment = {**inherited, **settings, "WITNESS": str(self.witness)}
        if held:
            self.hold = folder / "hold"
            os.mkfifo(self.hold)
            self.environment |= {"HOLD": str(self.hold), "HELD_STEPS": str(HELD_STEPS)}
        self.start()

    def start(self) -> None:
        """At the same address each time."""
        self.process = subprocess.Popen(
            [sys.executable, self.script], cwd=ROOT, env=self.environment, text=True, stdout=subprocess.PIPE
        )
        for line in self.process.stdout:
            if line.startswith(READY):
                self.address = line.split()[-1]
                return
        self.stop()
        raise AssertionError(f"app.py ended with {self.process.returncode} before it was ready")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def release(self, steps: int) -> None:
        """Let that many steps of held decodes go on."""
        with self.hold.open("wb") as pipe:
            pipe.write(b"." * steps)

    def get(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.address}/{path}") as answer:
            return answer.read()


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, which cannot reach anything but this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


class Visit:
    """One page: its address, what it asked for, and what went wrong on it. As a context manager it is closed."""

    def __init__(self, browser: Browser, address: str, width: int = 1440, height: int = 900, **context: str):
        self.context = browser.new_context(viewport={"width": width, "height": height}, **context)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(TIMEOUT)
        self.errors: list[str] = []
        self.requests: list[str] = []
        self.page.on("console", lambda m: self.errors.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.context.close()

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression over `viewer` (its element) and `set` (its dataset) is true."""
        self.page.wait_for_function(
            "() => { const viewer = document.querySelector('.cg-viewer');"
            f"if (!viewer) return false; const set = viewer.dataset; return {condition}; }}"
        )

    def wait_for_values(self, expected: dict[str, str]) -> None:
        """Wait until form fields, by their CSS selectors, hold these texts."""
        self.page.wait_for_function(
            "(expected) => Object.entries(expected).every(([field, text]) =>"
            " document.querySelector(field)?.value === text)",
            arg=expected,
        )

    def watched(self) -> list[tuple[float, int]]:
        """What WATCH has noted: when (in ms) which step came on screen."""
        return [tuple(shown) for shown in self.page.evaluate("window.shown")]

    def drop(self, data: bytes, name: str) -> None:
        self.page.evaluate(DROP, [base64.b64encode(data).decode(), name])

    def part(self, name: str) -> str:
        """The text of a part of the viewer."""
        return self.page.inner_text(f"[data-part={name}]")


def outside(requests: list[str]) -> list[str]:
    """Requests that left this machine."""
    return [url for url in requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
