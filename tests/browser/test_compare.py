"""Runs are named, archived, deleted and brought back by hand, and everything leaves the page as files that work."""

from __future__ import annotations

import shutil
from pathlib import Path
from xml.etree import ElementTree

from PIL import Image
from playwright.sync_api import Page, expect

from obd.paths import runs_dir
from obd.runs.manage import Label, read_label
from obd.runs.showcase import showcase_dir
from obd.runs.store import Run, list_runs
from tests.browser.test_journey import address, nothing_broken, page, pytestmark, wait_for

__all__ = ["address", "page", "pytestmark"]

PATIENCE = 120_000
OWN = ("20260101-000000-dbc-0001", "20260101-000000-pbc-0002")


def own_runs() -> list[str]:
    return sorted(run.id for run in list_runs())


def choose_row(page: Page, number: int) -> None:
    """Click the box of a row, which is painted on a canvas."""
    box = page.get_by_test_id("stDataFrame").bounding_box()
    assert box is not None
    page.mouse.click(box["x"] + 18, box["y"] + 36 + 35 * number + 17)


def settled(page: Page) -> None:
    page.wait_for_timeout(700)
    page.wait_for_function("!document.querySelector('[data-testid=stStatusWidget]')")
    page.wait_for_timeout(300)


def test_runs_are_managed_and_files_leave(address: str, page: Page, tmp_path: Path) -> None:
    for name in OWN:
        shutil.copytree(showcase_dir() / name.split("-")[2], runs_dir() / name)
    page.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    page.goto(f"{address}/compare?runs=")
    expect(page.get_by_text("Choose runs with the boxes")).to_be_visible()

    # Name and note: the popover closes behind them.
    choose_row(page, 0)
    page.wait_for_url(f"**runs={OWN[1]}*")
    page.get_by_role("button", name="Name and note").click()
    page.get_by_label("Name", exact=True).fill("for class")
    page.get_by_label("Note", exact=True).fill("first try")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_label("Name", exact=True)).to_be_hidden()
    # The popover can be seen to close a moment before the label is written.
    wait_for(lambda: read_label(Run(runs_dir() / OWN[1])) == Label("for class", "first try"), 30, "it is not kept")
    expect(page.get_by_text("The best set here is PBC")).to_be_visible()

    # Archive, look at the archive, take it out again.
    page.get_by_role("button", name="Archive", exact=True).click()
    page.wait_for_url("**runs=&*")
    page.get_by_text("Archived", exact=True).click()
    settled(page)
    expect(page.get_by_text("Choose runs with the boxes")).to_be_visible()  # shown again is not chosen again
    choose_row(page, 0)
    page.get_by_role("button", name="Take out of archive").click()
    page.get_by_role("button", name="Archive", exact=True).wait_for()
    settled(page)

    # Delete and undo.
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text("1 run moved to the trash")).to_be_visible()
    assert own_runs() == [OWN[0]]
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("moved to the trash")).to_have_count(0)
    assert own_runs() == list(OWN)
    page.wait_for_url(f"**runs={OWN[1]}*")
    nothing_broken(page)

    # Files: each opens as what it says it is.
    def saved(name: str) -> Path:
        with page.expect_download() as download:
            page.get_by_role("button", name=name, exact=True).first.click()
        path = tmp_path / download.value.suggested_filename
        download.value.save_as(path)
        return path

    assert saved("CSV").read_text().startswith("run,return")
    assert ElementTree.parse(saved("SVG")).getroot().tag.endswith("svg")
    chart = page.locator("[data-testid=stEChartsChart] canvas").first.bounding_box()
    assert chart is not None
    with page.expect_download() as download:  # the chart's own button is painted on its canvas
        page.mouse.click(chart["x"] + chart["width"] - 28, chart["y"] + 19)
    with Image.open(download.value.path()) as picture:
        assert picture.format == "PNG" and len(picture.convert("RGB").getcolors(1 << 24) or []) > 5

    # The report, opened from the disk without a network.
    page.get_by_test_id("stButtonGroup").get_by_text("Files", exact=True).click()
    page.get_by_role("button", name="Report (.html)").wait_for()
    settled(page)
    report = saved("Report (.html)")
    page.context.set_offline(True)
    alone = page.context.new_page()
    asked: list[str] = []
    alone.on("request", lambda request: asked.append(request.url))
    alone.goto(report.as_uri())
    assert alone.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert "The best set here is PBC" in alone.inner_text("body")
    film = alone.locator("video")
    if film.count():
        wait_for(lambda: bool(film.first.evaluate("v => v.readyState >= 2")), 60, "the clip does not play")
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    alone.close()
    page.context.set_offline(False)
