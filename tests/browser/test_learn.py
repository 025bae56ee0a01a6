"""The playground in a real browser: it moves by itself, and a hand on a point changes the student."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser import test_journey as journey

pytestmark = journey.pytestmark
address, page = journey.address, journey.page

# Share of the picture's pixels that differ clearly from the last time this was called.
CHANGED = """canvas => {
    const now = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const before = canvas.seen ?? now;
    canvas.seen = now;
    let changed = 0;
    for (let i = 0; i < now.length; i += 4)
        if (Math.abs(now[i] - before[i]) + Math.abs(now[i + 2] - before[i + 2]) > 12) changed++;
    return before.length === now.length ? 4 * changed / now.length : 1;
}"""


def outer_step(page: Page) -> int:
    found = re.match(r"outer step (\d+)", page.locator(".facts").inner_text())
    return int(found[1]) if found else -1


def point(canvas: Locator, x: float, y: float) -> tuple[float, float]:
    """Position in the window of a place in the picture, 0 to 1 from the top left."""
    box = canvas.bounding_box()
    assert box is not None
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


@pytest.fixture
def patient(page: Page) -> Page:
    page.set_default_timeout(240_000)
    expect.set_options(timeout=240_000)
    return page


def test_points_move_while_playing_and_the_story_goes_on(address: str, patient: Page) -> None:
    page = patient
    page.goto(f"{address}/learn?step=aims")
    canvas = page.locator("canvas.map").first
    canvas.wait_for()
    canvas.evaluate("element => { element.dataset.same = 'yes' }")
    first = outer_step(page)
    canvas.evaluate(CHANGED)
    journey.wait_for(lambda: outer_step(page) > first + 5, 120, "no outer steps are taken")
    assert canvas.evaluate(CHANGED) > 0.01
    assert canvas.get_attribute("data-same") == "yes"  # updated in place, not drawn anew
    for _ in range(6):  # frames that were asked for before the click must not lead back to the step before
        page.get_by_role("button", name="Next").click()
        expect(page.get_by_text("How fast can small mistakes add up?")).to_be_visible()
        page.wait_for_timeout(500)
        expect(page).to_have_url(re.compile("step=bounds"), timeout=5_000)
        page.get_by_role("button", name="Back").click()
        canvas.wait_for()
        page.wait_for_timeout(500)
    journey.nothing_broken(page)


def test_the_back_button_leads_through_the_steps_and_out(address: str, patient: Page) -> None:
    page = patient
    page.goto(address)
    page.get_by_role("button", name="Distil for one minute").wait_for()
    journey.visit(page, "Learn")
    page.wait_for_url("**/learn?step=copy")
    for _ in range(2):
        page.get_by_role("button", name="Next").click()
        page.wait_for_timeout(1500)  # as somebody who looks at it
    expect(page).to_have_url(re.compile("step=loops"))
    for step, title in (("few", "A tiny set can replace a big one"), ("copy", "Behaviour cloning is copying")):
        page.go_back()
        expect(page.get_by_text(title)).to_be_visible()
        expect(page).to_have_url(re.compile(f"step={step}"))
    page.go_back()
    expect(page.get_by_role("button", name="Distil for one minute")).to_be_visible()
    journey.nothing_broken(page)


def test_dragging_a_point_changes_the_student(address: str, patient: Page) -> None:
    page = patient
    page.goto(f"{address}/learn?step=playground&points=12")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Play", exact=False).first).to_be_visible()
    expect(page.locator("[data-do=play]")).to_contain_text("Play")
    canvas = page.locator("canvas.edit")
    expect(canvas).to_have_attribute("aria-label", re.compile("with 12 points"))

    page.mouse.click(*point(canvas, 0.72, 0.2))
    expect(canvas).to_have_attribute("aria-label", re.compile("with 13 points"))
    page.wait_for_timeout(1500)  # the colours glide to their places
    canvas.evaluate(CHANGED)
    page.wait_for_timeout(700)
    assert canvas.evaluate(CHANGED) < 0.06  # only the ring of the pendulum moves

    page.mouse.move(*point(canvas, 0.72, 0.2))
    page.mouse.down()
    page.mouse.move(*point(canvas, 0.4, 0.5), steps=5)
    page.mouse.move(*point(canvas, 0.3, 0.75), steps=5)
    page.mouse.up()
    changed = []
    journey.wait_for(
        lambda: (changed.append(canvas.evaluate(CHANGED)), max(changed) > 0.1)[1], 60, "the field does not change"
    )
    expect(canvas).to_have_attribute("aria-label", re.compile("with 13 points"))

    page.mouse.dblclick(*point(canvas, 0.3, 0.75))
    expect(canvas).to_have_attribute("aria-label", re.compile("with 12 points"))
    journey.nothing_broken(page)


def test_nothing_is_sent_for_a_picture_that_nobody_sees(address: str, patient: Page) -> None:
    page = patient
    page.set_viewport_size({"width": 390, "height": 700})
    page.goto(f"{address}/learn?step=few")
    facts, button = page.locator(".facts"), page.locator("[data-do=play]")
    facts.wait_for()
    expect(button).to_contain_text("Play")  # below the text, out of sight
    paused = outer_step(page)
    frames: list[str] = []
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.webSocketFrameReceived", lambda event: frames.append(event["requestId"]))
    page.wait_for_timeout(2000)
    assert frames == [] and outer_step(page) == paused

    page.locator("canvas.map").first.scroll_into_view_if_needed()
    journey.wait_for(lambda: outer_step(page) > paused, 60, "it does not go on when it comes into sight")
    hide = "yes => { Object.defineProperty(document, 'hidden', { value: yes, configurable: true });"
    hide += " document.dispatchEvent(new Event('visibilitychange')); }"
    page.evaluate(hide, True)
    expect(button).to_contain_text("Play")
    page.evaluate(hide, False)
    expect(button).to_contain_text("Pause")
    journey.nothing_broken(page)


def test_who_wants_no_motion_starts_it_by_hand(address: str, patient: Page) -> None:
    page = patient
    page.emulate_media(reduced_motion="reduce")
    page.goto(f"{address}/learn?step=playground")
    button = page.locator("[data-do=play]")
    expect(button).to_contain_text("Play")
    page.wait_for_timeout(1000)
    paused = outer_step(page)
    button.click()
    journey.wait_for(lambda: outer_step(page) > paused, 60, "it does not start")
    journey.nothing_broken(page)
