"""The page in every width, theme and state: nothing sticks out, overlaps, is pale or out of the keyboard's reach."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import App, Visit, outside
from gradio_client import Client
from playwright.sync_api import Browser

pytestmark = pytest.mark.slow

WIDTHS = {1440: 900, 1240: 800, 1024: 768, 768: 1024, 390: 844}
STATES = ("cold", "decoded", "refused", "dropped", "static")
LEAST_CONTRAST = 4.5

# On a phone the transport sticks to the bottom, over what scrolls below it: its parts are compared among themselves.
FLOW = (
    "#top h1", "#tabs [role=tab]", "#top .cg-pill", "#keys summary", "#shade", "#prompt", "#generate", "#schedule",
    "#checkpoint", "#steps", "#seed", "#lock", "#dice", "#guidance", "#change", "#try", "#examples button",
    "#again", "#open", "#how", "#notice", "#line", "#recipe", "header.top h1", "header.top label", "main > #prompt",
    "main > .how", "main > #recipe", ".cg-where h2", ".cg-where .cg-tag", ".cg-where .cg-legend", ".cg-tabs button",
    ".cg-maps canvas", ".cg-maps figcaption b", ".cg-maps figcaption > span", ".cg-inspector",
    "[data-part=verdict]", ".cg-whole", ".cg-when h2", ".cg-when .cg-legend", "[data-part=rows]",
    "[data-part=foot]", ".cg-table summary",
)  # fmt: skip
BAR = (
    "[data-act=play]", "[data-act=back]", "[data-act=next]", "[data-act=loop]", ".cg-speed", "[data-part=counter]",
    ".cg-menu summary", "[data-part=film]", ".cg-slider",
)  # fmt: skip
TEXTS = (
    "#top h1", "#tabs [role=tab]", ".cg-pill", "#keys summary", "#shade", "#prompt :is(input, textarea)",
    "#generate", "#schedule summary", "#schedule summary b", "#settings label span",
    "#settings input:not([type=checkbox])", "#dice", "#try", "#examples button", "#how p", "#how b", "#how summary",
    "#how u", "#notice p", "#notice b", "#notice button", "#recipe h3", "#recipe dt", "#recipe dd",
    "#recipe button", "main > p", "header.top label", ".cg-viewer h2", ".cg-tag", ".cg-legend span", ".cg-legend b",
    "figcaption b", "figcaption span", ".cg-inspector h3", ".cg-inspector li span", ".cg-hint",
    "[data-part=verdict]", ".cg-whole", ".cg-viewer button", ".cg-speed span", "[data-part=counter]",
    ".cg-of q", ".cg-of span", ".cg-time p",
    ".cg-viewer text", "[data-part=foot]", ".cg-table summary", ".cg-menu summary",
)  # fmt: skip

OVERLAPS = """(selectors) => {
  const seen = (element) => element.checkVisibility({ visibilityProperty: true })
    && !getComputedStyle(element).clipPath.startsWith('inset');
  const parts = [...new Set(selectors.flatMap((selector) => [...document.querySelectorAll(selector)]))].filter(seen);
  const name = (element) => element.id || element.dataset.part || element.className || element.innerText;
  const inSight = (element) => { // of what slides in a strip, the part that its strip shows
    let { left, right, top, bottom } = element.getBoundingClientRect();
    const strip = element.closest('.tab-wrapper')?.getBoundingClientRect();
    if (strip) [left, right] = [Math.max(left, strip.left), Math.min(right, strip.right)];
    return { left, right, top, bottom };
  };
  const found = [];
  parts.forEach((one, index) => parts.slice(index + 1).forEach((other) => {
    if (one.contains(other) || other.contains(one)) return;
    const [a, b] = [one, other].map(inSight);
    const width = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const height = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (width > 1 && height > 1) found.push([one, other].map(name));
  }));
  return found;
}"""

# Contrast of each text with the nearest ground behind it, after WCAG 2.
PALE = """([selectors, least]) => {
  const pixel = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (colour) => {
    pixel.clearRect(0, 0, 1, 1);
    pixel.fillStyle = colour;
    pixel.fillRect(0, 0, 1, 1);
    return [...pixel.getImageData(0, 0, 1, 1).data];
  };
  const luminance = (colour) => colour.slice(0, 3).map((part) => part / 255)
    .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4))
    .reduce((sum, part, index) => sum + part * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = rgba(getComputedStyle(at).backgroundColor);
      if (colour[3] === 255) return colour;
    }
    return [255, 255, 255, 255];
  };
  const found = [];
  for (const selector of selectors) for (const element of document.querySelectorAll(selector)) {
    if (!element.checkVisibility({ opacityProperty: true, visibilityProperty: true })) continue;
    const style = getComputedStyle(element);
    const [front, back] = [rgba(element instanceof SVGElement ? style.fill : style.color), ground(element)];
    let opacity = front[3] / 255;
    for (let at = element; at; at = at.parentElement) opacity *= getComputedStyle(at).opacity;
    const mixed = front.map((part, index) => part * opacity + back[index] * (1 - opacity));
    const [high, low] = [luminance(mixed), luminance(back)].sort((a, b) => b - a);
    const ratio = (high + 0.05) / (low + 0.05);
    if (ratio < least) found.push([selector, ratio.toFixed(2), style.color]);
  }
  return found;
}"""

CONTROLS = """() => {
  const all = 'button, a[href], input, textarea, select, summary, [tabindex="0"]';
  window.controls = [...document.querySelectorAll(all)].filter((element) => !element.disabled && element.tabIndex >= 0
    && element.checkVisibility({ visibilityProperty: true, opacityProperty: true })
    && element.getBoundingClientRect().width > 1);
  return window.controls.map((element) => `${element.tagName} ${element.id || element.closest('[id]')?.id} ${
    element.innerText || element.ariaLabel || ''}`.trim());
}"""

# The place of the focused control in `controls`, and whether it or the frame around it wears a ring.
FOCUSED = """() => {
  const focused = document.activeElement;
  let ringed = false;
  for (let [at, up] = [focused, 0]; at && up < 8; [at, up] = [at.parentElement, up + 1]) {
    const { outlineStyle, outlineWidth } = getComputedStyle(at);
    ringed ||= outlineStyle !== 'none' && parseFloat(outlineWidth) >= 1;
  }
  return [window.controls.indexOf(focused), ringed];
}"""


@pytest.fixture(scope="module")
def picture(app: App) -> bytes:
    client = Client(app.address, verbose=False)
    image, _, _ = client.predict("three books", 1, 4, "linear", "3", "champion", api_name="/generate")
    return Path(image).read_bytes()


@pytest.fixture(params=STATES)
def state(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=["light", "dark"])
def scheme(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(params=list(WIDTHS))
def visit(
    browser: Browser, app: App, picture: bytes, request: pytest.FixtureRequest, scheme: str, state: str
) -> Iterator[Visit]:
    width = request.param
    address = f"{app.address}/studio/explorer.html" if state == "static" else app.address
    with Visit(browser, address, width, WIDTHS[width], color_scheme=scheme, reduced_motion="reduce") as visit:
        visit.wait("set.state === 'done'")
        prompt = visit.page.locator("#prompt :is(input, textarea)")
        if state == "decoded":
            prompt.fill("a fox and a bananna on sand")
            prompt.press("Control+Enter")
            visit.page.wait_for_selector(".cg-menu summary")
            visit.page.wait_for_selector("#notice u")
        elif state == "refused":
            prompt.fill("zzzz")
            prompt.press("Control+Enter")
            visit.page.wait_for_selector("#notice .cg-error")
        elif state == "dropped":
            visit.drop(picture, "a picture with a long name that somebody kept.png")
            visit.page.wait_for_selector("#recipe h3")
        if state != "static":
            visit.page.wait_for_selector("#generate")
        if width < 760 and state != "static":
            visit.page.click("#change button")
        yield visit


def test_the_page_holds_in_every_width_theme_and_state(visit: Visit) -> None:
    page = visit.page
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") == width, "nothing sticks out sideways"
    assert page.evaluate(OVERLAPS, FLOW) == []
    assert page.evaluate(OVERLAPS, BAR) == []
    assert page.evaluate(PALE, [TEXTS, LEAST_CONTRAST]) == []

    names = page.evaluate(CONTROLS)
    reached, unmarked = set(), set()
    for _ in range(2 * len(names) + 10):
        if len(reached) == len(names):
            break
        page.keyboard.press("Tab")
        place, ringed = page.evaluate(FOCUSED)
        if place >= 0:
            reached.add(place)
            if not ringed:
                unmarked.add(names[place])
    assert [name for place, name in enumerate(names) if place not in reached] == []
    assert unmarked == set()

    assert visit.errors == []
    assert outside(visit.requests) == []
