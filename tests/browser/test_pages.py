"""Every page in a real browser: light and dark, on a projector and on a phone; nothing broken, empty or too wide."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.browser.test_journey import browsing, nothing_broken, pytestmark, serving, wait_for, window

__all__ = ["pytestmark"]

# Path of a page -> what is there when it has come to rest, as selectors.
PAGES = {
    "": ["video", "[data-testid=stEChartsChart] canvas", "text=Of the teacher's return"],
    "data": ["[data-testid=stEChartsChart] canvas", "img", "[data-testid=stDataFrame]"],
    "distill": [
        "[aria-label^='Map: '] canvas",
        "[aria-label^='Returns: '] canvas",
        "img[alt^='Poses']",
        "text=Command line that makes this run again",
    ],
    "states": ["canvas.map", "img[alt*='state 0']"],
    "rollouts": [".player video", ".player canvas >> nth=2"],
    "compare": ["[data-testid=stDataFrame] canvas", "canvas >> nth=2"],
    "learn": ["canvas.map >> nth=1"],
}
PHONE = {"width": 390, "height": 844}

# Pictures on canvas of which every layer is one colour all over.
BLANK = """() => {
    const blank = canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const pixels = new Uint32Array(data.buffer);
        return pixels.every(pixel => pixel === pixels[0]);
    };
    const layers = new Map();
    for (const canvas of document.querySelectorAll("canvas"))
        if (canvas.checkVisibility() && canvas.width && canvas.height) {
            const picture = canvas.closest("[data-testid=stEChartsChart], [data-testid=stDataFrame]") ?? canvas;
            layers.set(picture, [...(layers.get(picture) ?? []), canvas]);
        }
    const charts = [...document.querySelectorAll("[data-testid=stEChartsChart]")];
    return [...charts.filter(chart => !layers.has(chart)), ...[...layers].filter(([, all]) => all.every(blank)).map(
        ([picture]) => picture)].map(picture => picture.closest("[aria-label]")?.ariaLabel ?? picture.outerHTML);
}"""

# Pictures without words for those who cannot see them.
SILENT = """() => [...document.querySelectorAll("img, canvas, video")].filter(element => {
    if (!element.checkVisibility() || element.closest("[aria-hidden=true]")) return false;
    if (element.closest("[data-testid=stDataFrame]")) return false;  // a table that is read as one
    return !(element.alt || element.closest("[aria-label]"));
}).map(element => element.outerHTML.slice(0, 200))"""

BROKEN = """() => [...document.querySelectorAll("img")].filter(image => image.complete && !image.naturalWidth)
    .map(image => image.alt || image.src.slice(0, 100))"""

# What sticks out of the page sideways; a box that scrolls by itself may hold something wide.
TOO_WIDE = """() => {
    const main = document.querySelector("[data-testid=stMain]");
    const beyond = document.documentElement.scrollWidth - innerWidth;
    if (Math.max(main.scrollWidth - main.clientWidth, beyond) <= 1) return [];
    return [...main.querySelectorAll("*")].filter(element => element.getBoundingClientRect().right > innerWidth + 1)
        .slice(0, 3).map(element => element.outerHTML.slice(0, 200));
}"""


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One app for all tests here; they only look."""
    root: Path = tmp_path_factory.mktemp("pages")
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MINARI_DATASETS_PATH", "OBD_RUNS_DIR", "OBD_CACHE_DIR"):
            patch.setenv(variable, str(root / variable))
        with serving(root) as url:
            yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with browsing() as opened:
        yield opened


def settled(page: Page, name: str) -> None:
    """Wait until the page shows what it should; then nothing may be broken, empty, silent or too wide."""
    for selector in PAGES[name]:
        page.locator(selector).first.wait_for()
    wait_for(lambda: page.evaluate(BLANK) == [], 120, f"nothing is drawn: {page.evaluate(BLANK)}")
    nothing_broken(page)
    expect(page.get_by_test_id("stToast")).to_have_count(0)
    assert page.evaluate(BROKEN) == []
    assert page.evaluate(SILENT) == []
    wait_for(lambda: page.evaluate(TOO_WIDE) == [], 60, f"too wide: {page.evaluate(TOO_WIDE)}")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page(name: str, theme: str, address: str, browser: Browser) -> None:
    with window(browser, color_scheme=theme) as page:
        page.set_default_timeout(120_000)
        page.goto(f"{address}/{name}")
        settled(page, name)
        background = page.get_by_test_id("stApp").evaluate("e => getComputedStyle(e).backgroundColor")
        brightness = max(int(part) for part in background.removeprefix("rgb(").rstrip(")").split(","))
        assert brightness > 200 if theme == "light" else brightness < 60
        page.set_viewport_size(PHONE)
        settled(page, name)
