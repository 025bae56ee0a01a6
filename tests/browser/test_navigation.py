"""Links between pages, also when Streamlit forgets that one was clicked."""

from __future__ import annotations

import re

from playwright.sync_api import Locator, Page, WebSocketRoute, expect

from tests.browser.test_journey import address, nothing_broken, page, pytestmark, visit

__all__ = ["address", "page", "pytestmark"]


def test_a_forgotten_click_on_a_link_is_made_again(address: str, page: Page) -> None:
    lost: list[int] = []
    losing = False

    def between(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def from_page(message: str | bytes) -> None:
            if losing and not lost:
                lost.append(len(message))
            else:
                server.send(message)

        socket.on_message(from_page)

    page.route_web_socket(re.compile("_stcore/stream"), between)
    page.set_default_timeout(60_000)
    page.goto(address)
    expect(page.get_by_role("button", name="Distil for one minute")).to_be_visible()
    losing = True
    visit(page, "Learn")
    page.wait_for_url(re.compile("/learn"))
    expect(page.get_by_role("button", name="Next")).to_be_visible()
    assert lost
    nothing_broken(page)


def test_one_press_of_back_leads_to_the_page_before(address: str, page: Page) -> None:
    home = at_home(page, address)
    complete = {"Compare": r"runs=.*part=", "States": r"group=.*part=.*view="}
    for name in [*complete, *complete]:  # the second time pages are fast: their parameters come before their names
        visit(page, name)
        page.wait_for_url(re.compile(rf"/{name.lower()}\?.*{complete[name]}"))
        page.wait_for_timeout(1500)
        page.go_back()
        expect(home).to_be_visible()
        expect(page).to_have_url(address + "/")
    nothing_broken(page)


def test_back_from_a_page_that_is_still_coming_stays_back(address: str, page: Page) -> None:
    home = at_home(page, address)
    visit(page, "Compare")
    page.wait_for_url(re.compile("/compare"))
    page.go_back()
    page.evaluate("history.pushState({}, '', '/compare?runs=late'); history.pushState({}, '', '/?runs=late')")
    expect(home).to_be_visible()
    expect(page).to_have_url(address + "/")
    page.wait_for_timeout(2500)  # two seconds later names may come again
    visit(page, "Learn")
    page.wait_for_url(re.compile("/learn"))
    page.go_back()
    expect(home).to_be_visible()
    nothing_broken(page)


def at_home(page: Page, address: str) -> Locator:
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page.goto(address)
    home = page.get_by_role("button", name="Distil for one minute")
    expect(home).to_be_visible()
    return home


def test_a_page_shows_something_before_its_code_has_come(address: str, page: Page) -> None:
    page.set_default_timeout(60_000)
    page.emulate_media(color_scheme="dark")
    page.route(re.compile(r"/static/js/"), lambda _: None)  # never answered
    page.goto(f"{address}/learn", wait_until="commit")
    splash = page.get_by_role("status", name="OBD studio is loading")
    expect(splash).to_be_visible()
    expect(splash).to_have_css("background-color", "rgb(21, 24, 30)")  # the dark theme's
    page.unroute(re.compile(r"/static/js/"))
    page.goto(f"{address}/learn")
    expect(page.get_by_role("button", name="Next")).to_be_visible(timeout=60_000)
    expect(splash).to_have_count(0)
    assert page.evaluate("getComputedStyle(document.querySelector('.stMainBlockContainer')).maxWidth") == "1248px"
    nothing_broken(page)


def test_a_lost_connection_is_explained_in_the_apps_own_words(address: str, page: Page) -> None:
    at_home(page, address)
    page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<div role=dialog><p>The server is not responding.</p></div>')"
    )
    expect(page.get_by_role("dialog")).to_contain_text("start it again")
