"""A headless Chromium and what the browser tests do with it. Nothing here waits by sleeping."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

from playwright.sync_api import Browser, Page, sync_playwright

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
TIMEOUT = 30_000  # ms; generous, for machines that do other things too

# Notes the time of every change of the step on screen, and of the state of the decode.
WATCH = """() => {
  const viewer = document.querySelector('.cg-viewer');
  window.shown = [];
  let last = '';
  new MutationObserver(() => {
    if (viewer.dataset.step === last) return;
    last = viewer.dataset.step;
    window.shown.push([performance.now(), Number(last)]);
  }).observe(viewer, { attributes: true, attributeFilter: ['data-step'] });
}"""

DROP = """([data, name]) => {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const dataTransfer = new DataTransfer();
  dataTransfer.items.add(new File([bytes], name));
  document.querySelector('.cg-where').dispatchEvent(
    new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer }));
}"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Debian's browser, which cannot reach anything but this machine."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """One page: its address, what it asked for, and what went wrong on it."""

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

    def wait(self, condition: str) -> None:
        """Wait until a JavaScript expression over `viewer` (its element) and `set` (its dataset) is true."""
        self.page.wait_for_function(
            "() => { const viewer = document.querySelector('.cg-viewer');"
            f"if (!viewer) return false; const set = viewer.dataset; return {condition}; }}"
        )

    def drop(self, data: bytes, name: str) -> None:
        self.page.evaluate(DROP, [base64.b64encode(data).decode(), name])

    def part(self, name: str) -> str:
        """The text of a part of the viewer."""
        return self.page.inner_text(f"[data-part={name}]")

    def close(self) -> None:
        self.context.close()


def outside(requests: list[str]) -> list[str]:
    """Requests that left this machine."""
    return [url for url in requests if not url.startswith(("http://127.0.0.1:", "data:", "blob:"))]
