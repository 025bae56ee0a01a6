"""A newcomer's first minutes in a real browser: start a distillation, watch it, open the map, play the video."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, expect, sync_playwright

from obd.config import DEFAULT_DATASET
from obd.data.catalog import collect
from obd.runs.store import list_runs

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = Path("/usr/bin/chromium")
# Streamlit looks for its own services below the page's path first; these two answers are expected.
EXPECTED = re.compile(r"/_stcore/(health|host-config)$")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason="needs Debian's chromium"),
]


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The app as a process of its own on a free port, with a small version of the built-in dataset; its address."""
    collect(DEFAULT_DATASET, transitions=8_000, workers=1)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    # Compiling every module anew at each of its imports would make the first pages take a minute.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    with log.open("wb") as stream:
        server = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=stream, stderr=stream)
    try:
        wait_for(lambda: answers(f"http://127.0.0.1:{port}/_stcore/health"), 60, "the server does not answer")
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(60)
    text = log.read_text(errors="replace")
    tracebacks = text.split("Traceback")[1:]  # Streamlit logs one of its own when a window closes while it sends
    assert [part for part in tracebacks if "WebSocketDisconnected" not in part] == [], text
    assert {run.status()["state"] for run in list_runs()} <= {"finished", "stopped", "interrupted"}


@pytest.fixture
def address(storage: Path, tmp_path: Path) -> Iterator[str]:
    with serving(tmp_path) as url:
        yield url


@contextmanager
def browsing() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=str(CHROMIUM), args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        yield browser
        browser.close()


@contextmanager
def window(browser: Browser, **settings: Any) -> Iterator[Page]:
    """A window of its own that complains in the end about errors of ours and about requests to other machines."""
    problems: list[str] = []

    def on_console(message: ConsoleMessage) -> None:
        if message.type == "error" and not EXPECTED.search(message.location.get("url", "")):
            problems.append(f"console: {message.text} {message.location.get('url', '')}")

    def on_request(request: Request) -> None:
        if not re.match(r"(http|ws)://127\.0\.0\.1|data:|blob:", request.url):
            problems.append(f"external request: {request.url}")

    context = browser.new_context(**({"viewport": {"width": 1280, "height": 720}} | settings))
    opened = context.new_page()
    opened.on("console", on_console)
    opened.on("request", on_request)
    opened.on("pageerror", lambda error: problems.append(f"page error: {error}"))
    yield opened
    context.close()
    assert problems == []


@pytest.fixture
def page() -> Iterator[Page]:
    with browsing() as browser, window(browser) as opened:
        yield opened


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def wait_for(condition: Callable[[], bool], seconds: float, complaint: str) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, complaint
        time.sleep(0.2)


def nothing_broken(page: Page) -> None:
    expect(page.get_by_test_id("stException")).to_have_count(0)
    expect(page.get_by_test_id("stAlertContentError")).to_have_count(0)
    assert "Traceback" not in page.locator("body").inner_text()


def visit(page: Page, name: str) -> None:
    page.get_by_test_id("stTopNav").get_by_role("link", name=name).click()


def moves_in_place(page: Page, label: str) -> None:
    """The chart whose description starts with ``label`` changes, and is not drawn anew for it."""
    chart = page.locator(f"[aria-label^='{label}']")
    chart.wait_for(timeout=240_000)  # the first point comes after the calibration, slowly on a busy machine
    canvas = chart.locator("canvas").first
    said, seen = chart.get_attribute("aria-label"), canvas.screenshot()
    canvas.evaluate("element => { element.dataset.same = 'yes' }")
    wait_for(lambda: chart.get_attribute("aria-label") != said, 120, f"{label}: it does not move")
    wait_for(lambda: canvas.screenshot() != seen, 60, f"{label}: the picture does not change")
    assert canvas.get_attribute("data-same") == "yes"


def test_journey(address: str, page: Page) -> None:
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)

    page.goto(address)
    expect(page.get_by_role("button", name="Distil for one minute")).to_be_visible()
    nothing_broken(page)

    # Start a distillation of a minute with short students and see curve and map move, in place.
    visit(page, "Distil")
    page.get_by_text("Advanced", exact=True).click()
    for label, value in (("Inner steps", "16"), ("Seconds", "60")):
        field = page.get_by_label(label, exact=True)
        field.fill(value)
        field.press("Enter")
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url(re.compile(r"group=\d{8}-"))  # before that the page shows the shipped showcase
    expect(page.get_by_text("reach a normalised return of")).to_have_count(0)
    page.get_by_role("button", name="Stop", exact=True).wait_for()
    moves_in_place(page, "Loss over outer steps: DBC from")
    moves_in_place(page, "Map: Moved after")
    expect(page.get_by_alt_text("Poses of the robot: DBC states now")).to_be_visible()

    # Pause: the cores are free and nothing moves.  Another window sees the same; continue there.
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_role("button", name="Continue", exact=True).wait_for()
    assert {run.status()["state"] for run in list_runs()} == {"paused"}
    second = page.context.new_page()
    second.goto(page.url)
    second.get_by_role("button", name="Continue", exact=True).click()
    second.get_by_role("button", name="Pause", exact=True).wait_for()
    nothing_broken(second)
    second.close()
    page.reload()
    expect(page.get_by_text("reach a normalised return of")).to_be_visible(timeout=180_000)
    nothing_broken(page)

    # Open the map and move its slider.
    page.get_by_role("link", name="See where the states went").click()
    canvas = page.locator("canvas.map")
    canvas.wait_for()
    slider = page.get_by_role("slider", name="Snapshot")
    slider.focus()
    slider.press("Home")
    wait_for(lambda: canvas.get_attribute("data-time") == "0.00", 30, "the slider does not move the map")
    nothing_broken(page)

    # Watch the students.
    visit(page, "Rollouts")
    video = page.locator("video")
    video.wait_for(timeout=240_000)
    wait_for(lambda: bool(video.evaluate("v => v.readyState >= 2 && v.videoWidth > 0")), 60, "the video does not load")
    first = float(video.evaluate("v => v.currentTime"))
    wait_for(lambda: float(video.evaluate("v => v.currentTime")) != first, 30, "the video does not play")
    expect(page.get_by_role("button", name="MP4")).to_be_visible()
    nothing_broken(page)

    # A link to the run opens the same run in another window.
    visit(page, "Distil")
    expect(page.get_by_text("reach a normalised return of")).to_be_visible()
    other = page.context.new_page()
    other.goto(page.url)
    expect(other.get_by_text("reach a normalised return of")).to_be_visible()
    nothing_broken(other)

    # Stop a run and resume it.
    page.get_by_role("button", name="Start", exact=True).click()
    stop = page.get_by_role("button", name="Stop", exact=True)
    stop.click()
    resume = page.get_by_role("button", name="Resume", exact=True)
    resume.wait_for()
    assert "stopped" in {run.status()["state"] for run in list_runs()}
    resume.click()
    stop.wait_for()
    wait_for(lambda: "running" in {run.status()["state"] for run in list_runs()}, 60, "the run does not go on")
    nothing_broken(page)

    # Close the app while it is going on; the fixture looks at what is left of it.
