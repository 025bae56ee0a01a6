"""The player of the Rollouts page in a real browser: it plays, its cursor moves, its charts seek, its keys work."""

from __future__ import annotations

import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from tests.browser.test_journey import CHROMIUM, address, nothing_broken, page, pytestmark, wait_for

__all__ = ["CHROMIUM", "address", "page", "pytestmark"]


def time_of(video: Locator) -> float:
    return float(video.evaluate("v => v.currentTime"))


def test_the_player(address: str, page: Page) -> None:
    page.set_default_timeout(120_000)
    expect.set_options(timeout=120_000)
    page.goto(f"{address}/rollouts?group=showcase")

    video = page.locator(".player video")
    video.wait_for()
    wait_for(lambda: bool(video.evaluate("v => v.readyState >= 2 && v.videoWidth > 0")), 60, "the video does not load")
    assert re.match(r"http://127\.0\.0\.1:\d+/media/", str(video.evaluate("v => v.currentSrc")))

    # It plays, and the cursor of every chart follows.
    chart = page.locator(".player canvas").first
    first = float(chart.get_attribute("aria-valuenow") or "nan")
    wait_for(lambda: float(chart.get_attribute("aria-valuenow") or "nan") != first, 30, "the cursor does not move")
    assert page.locator(".player canvas").count() == 3

    # Space pauses; a click on a chart then seeks there and stays.
    chart.focus()
    page.keyboard.press("Space")
    wait_for(lambda: bool(video.evaluate("v => v.paused")), 10, "space does not pause")
    box = chart.bounding_box()
    assert box is not None
    chart.click(position={"x": 40 + 0.5 * (box["width"] - 48), "y": box["height"] / 2})
    duration = float(video.evaluate("v => v.duration"))
    wait_for(lambda: abs(time_of(video) - duration / 2) < 0.2, 10, "a click on the chart does not seek")
    picture = chart.evaluate("c => c.toDataURL()")
    expect(page.locator(".player .time")).to_contain_text(f"{duration:.1f} s")

    # Arrow keys go frame by frame, and the line of the chart moves with them.
    before = time_of(video)
    page.keyboard.press("ArrowRight")
    wait_for(lambda: 0 < time_of(video) - before < 0.2, 10, "an arrow key does not step")
    wait_for(lambda: chart.evaluate("c => c.toDataURL()") != picture, 10, "the chart does not show the new time")

    # Another quantity, a hidden policy, and the video plays on where it was.
    page.locator(".player .chart select").first.select_option(label="Distance")
    expect(page.locator(".player thead")).to_contain_text("Distance (m)")
    page.locator(".player").get_by_role("button", name="Teacher").click()
    expect(page.locator(".player").get_by_role("button", name="Teacher")).to_have_attribute("aria-pressed", "false")
    here = time_of(video)
    page.locator(".player").get_by_role("button", name="Play", exact=True).click()
    wait_for(lambda: time_of(video) > here, 30, "the video does not play on")
    nothing_broken(page)

    # The race has a video of its own.
    source = video.evaluate("v => v.currentSrc")
    page.get_by_test_id("stButtonGroup").get_by_text("Race", exact=True).click()
    wait_for(lambda: video.evaluate("v => v.currentSrc") != source, 60, "the race does not appear")
    expect(page.get_by_text("is ahead in the end")).to_be_visible()
    with page.expect_download() as download:
        page.get_by_role("button", name="CSV").click()
    assert Path(download.value.path()).read_text().startswith("seconds,policy")
    nothing_broken(page)
