"""The States page in a real browser: play moves the points in place, a lasso and a click show a pose."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from obd.runs.showcase import showcase_dir
from obd.runs.store import Run
from tests.browser.test_journey import address, nothing_broken, page, pytestmark, wait_for

__all__ = ["address", "page", "pytestmark"]  # fixtures and marks that pytest looks for here


def test_play_moves_the_points_and_a_selection_shows_a_pose(address: str, page: Page) -> None:
    page.set_default_timeout(120_000)
    expect.set_options(timeout=120_000)
    page.goto(f"{address}/states?group=showcase&objective=pbc")
    canvas = page.locator("canvas.map")
    canvas.wait_for()
    expect(page.get_by_text("after its action")).to_be_visible()  # a state is chosen from the start
    number = page.get_by_label("State", exact=True)
    expect(number).to_have_value("0")
    canvas.evaluate("element => { element.dataset.same = 'yes' }")

    # The slider, by keyboard: back to the start.
    slider = page.get_by_role("slider", name="Snapshot")
    slider.focus()
    slider.press("Home")
    wait_for(lambda: canvas.get_attribute("data-time") == "0.00", 30, "the slider does not move the map")
    expect(page.get_by_text("At outer step 0;")).to_be_visible()  # the pose follows
    begun = canvas.screenshot()

    # Play: time runs through fractions of snapshots, on the same canvas.
    page.get_by_role("button", name="Play").click()
    wait_for(lambda: canvas.get_attribute("data-time") not in ("0.00", None), 30, "the map does not play")
    wait_for(lambda: canvas.screenshot() != begun, 30, "the points do not move")
    newest = Run(showcase_dir() / "pbc").status()["step"]
    expect(page.get_by_text(f"At outer step {newest};")).to_be_visible()  # it ends at the newest snapshot
    expect(page.get_by_role("button", name="Play")).to_be_visible()
    assert canvas.get_attribute("data-same") == "yes"

    # Pointing at a state names it and draws it from the side, at once and in the browser.
    around = canvas.bounding_box()
    assert around is not None
    note = page.locator(".note")
    for part in range(2, 18):
        page.mouse.move(around["x"] + around["width"] * part / 20, around["y"] + around["height"] / 2)
        if note.is_visible():
            break
    expect(note).to_contain_text("BC ")
    drawn = page.locator("canvas.figure").evaluate(
        "e => new Set(new Uint32Array(e.getContext('2d').getImageData(0, 0, e.width, e.height).data.buffer)).size"
    )
    assert drawn > 5

    # A lasso around the middle picks several states; the first one is shown.
    box = canvas.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 60, y - 60)
    page.mouse.down()
    for across, down in ((60, -60), (60, 60), (-60, 60)):
        page.mouse.move(x + across, y + down)
    page.mouse.up()
    among = page.get_by_text("selected", exact=False).first
    expect(among).to_be_visible()
    expect(page.locator("img[alt^='Robot, ▲ state']")).to_be_visible()

    # By its number, without a mouse: the pose and the address follow, the map stays.
    number.fill("12")
    number.press("Enter")
    expect(page.locator("img[alt^='Robot, ▲ state 12']")).to_be_visible()
    page.wait_for_url("**state=12**")
    assert canvas.get_attribute("data-same") == "yes"
    nothing_broken(page)

    # By arrow keys: from state to state across the map, Enter chooses one.
    canvas.focus()
    page.keyboard.press("ArrowRight")  # a key that was pressed makes the focus one of the keyboard
    said = page.locator("canvas.map ~ [aria-live]")
    expect(said).to_contain_text(" of 256")
    first = said.inner_text()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    wait_for(lambda: said.inner_text() != first, 30, "the arrow keys do not move the cursor")
    expect(note).to_contain_text("Enter")
    assert canvas.evaluate("e => getComputedStyle(e).outlineStyle") == "solid"
    index = said.inner_text().split()[1]
    page.keyboard.press("Enter")
    expect(said).to_have_text(f"PBC {index} chosen")
    expect(page.locator(f"img[alt^='Robot, ▲ state {index}']")).to_be_visible()
    expect(number).to_have_value(index)
    assert canvas.get_attribute("data-same") == "yes" and canvas.evaluate("e => e.matches(':focus')")
    page.keyboard.press("Escape")
    expect(note).to_be_hidden()

    # The gallery: a tile shows its pose.
    page.get_by_text("All poses").click()
    tile = page.locator("[data-index='31']")
    tile.wait_for(timeout=300_000)  # 256 poses, drawn once
    tile.click()
    expect(page.locator("img[alt^='Robot, ▲ state 31']")).to_be_visible()
    nothing_broken(page)
