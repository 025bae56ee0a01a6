"""Links between pages, also when Streamlit forgets that one was clicked."""

from __future__ import annotations

import re

from playwright.sync_api import Page, WebSocketRoute, expect

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
    page.set_default_timeout(60_000)
    expect.set_options(timeout=60_000)
    page.goto(address)
    home = page.get_by_role("button", name="Distil for one minute")
    expect(home).to_be_visible()
    for name, address_complete in (("Compare", r"runs=.*part="), ("States", r"group=.*part=.*view=")):
        visit(page, name)
        page.wait_for_url(re.compile(address_complete))
        page.wait_for_timeout(1500)
        page.go_back()
        expect(home).to_be_visible()
        expect(page).to_have_url(re.compile(r"/(\?.*)?$"))
    nothing_broken(page)
