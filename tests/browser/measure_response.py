"""How fast the app answers while it distils: a script for people, not a test (a shared machine is a noisy clock).

    python tests/browser/measure_response.py [--rounds 3] [--idle] [--only-learn] [--app FOLDER]

Starts the app, starts a distillation of all three objectives (``--idle`` does not), then clicks through the pages in a
real browser.  A click's time runs inside the page from the click to the first animation frame in which its effect
can be seen.  Prints one line per click, the median and the 95th percentile over all of them, the times to the first
paint of Home and to its button (first session of a fresh process, and later ones), the bytes each page transfers,
videos aside, and those of a minute on each step of Learn (``--only-learn``: nothing but these).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from playwright.sync_api import Browser, Locator, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
CHROMIUM = "/usr/bin/chromium"
LEARN = ("Copying", "Few pairs", "Two loops", "Three aims", "Bounds", "Figures", "Limits", "Playground")  # its steps
PATIENCE = 15_000  # milliseconds until an effect counts as missing

# Runs in the page: click, then look once per animation frame until the effect shows.
CLICK = """
(element, effect) => new Promise(resolve => {
  const seen = new Function("return " + effect);
  const begin = performance.now();
  element.click();
  const look = () => {
    const spent = performance.now() - begin;
    if (seen()) resolve(spent); else if (spent > PATIENCE) resolve(null); else requestAnimationFrame(look);
  };
  requestAnimationFrame(look);
})
""".replace("PATIENCE", str(PATIENCE))


@dataclass
class Traffic:
    """Bytes that came over the wire, counted by the browser."""

    total: int = 0
    media: int = 0
    videos: set[str] = field(default_factory=set)

    def watch(self, page: Page) -> None:
        session = page.context.new_cdp_session(page)
        session.send("Network.enable")
        session.on("Network.responseReceived", self._response)
        session.on("Network.loadingFinished", self._finished)
        session.on("Network.webSocketFrameReceived", self._frame)

    def _response(self, event: dict) -> None:
        if event["response"]["mimeType"].startswith("video/"):
            self.videos.add(event["requestId"])

    def _finished(self, event: dict) -> None:
        size = int(event["encodedDataLength"])
        if event["requestId"] in self.videos:
            self.media += size
        else:
            self.total += size

    def _frame(self, event: dict) -> None:
        data = event["response"]["payloadData"]
        binary = event["response"]["opcode"] == 2  # then base64
        self.total += len(data) * 3 // 4 if binary else len(data)


class Clicks:
    """Clicks and their times in milliseconds."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.times: dict[str, list[float]] = {}

    def __call__(self, name: str, target: Locator, effect: str) -> None:
        """Click ``target``; ``effect`` is a JavaScript expression that is true once the answer can be seen."""
        try:
            target.first.wait_for(timeout=PATIENCE)
            spent = target.first.evaluate(CLICK, effect)
        except Exception as error:  # a missing widget must not hide the other figures
            print(f"  {name}: not measured ({str(error).splitlines()[0]})")
            return
        if spent is None:
            print(f"  {name}: no effect within {PATIENCE / 1000:.0f} s")
            return
        self.times.setdefault(name, []).append(float(spent))


def text_seen(text: str) -> str:
    return f"document.querySelector('[data-testid=stMain]').textContent.includes({text!r})"


def text_gone(text: str) -> str:
    return "!" + text_seen(text)


def aria_seen(start: str, inner: str = "canvas") -> str:
    return f"""document.querySelector('[aria-label^="{start}"] {inner}') !== null"""


def deep(selector: str, text: str) -> str:
    """An element, perhaps inside a component's shadow root, with this text."""
    return f"""(() => {{
        const find = root => {{
            const found = root.querySelector("{selector}");
            if (found) return found;
            for (const element of root.querySelectorAll("*"))
                if (element.shadowRoot) {{ const inner = find(element.shadowRoot); if (inner) return inner; }}
            return null;
        }};
        const found = find(document);
        return found !== null && found.textContent.includes("{text}");
    }})()"""


@contextlib.contextmanager
def served(folder: Path, log: Path) -> Iterator[tuple[str, int]]:
    """The app as a process of its own; yields its address and the number of its process."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port)]
    with log.open("wb") as stream:
        environment = os.environ | {"PYTHONPATH": str(folder)}
        server = subprocess.Popen(command, cwd=folder, env=environment, stdout=stream, stderr=stream)
    try:
        begin = time.perf_counter()
        while not answers(f"http://127.0.0.1:{port}/_stcore/health"):
            if time.perf_counter() - begin > 60:
                raise SystemExit(f"the server does not answer: {log.read_text()}")
            time.sleep(0.05)
        yield f"http://127.0.0.1:{port}", server.pid
    finally:
        server.terminate()
        server.wait(60)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


def first_paint(browser: Browser, address: str) -> str:
    """Seconds from opening Home in a fresh window (empty browser cache) to its first content and to its button."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    window = context.new_page()
    begin = time.perf_counter()
    window.goto(address, wait_until="commit")
    window.get_by_role("button", name="Distil for one minute").wait_for(timeout=PATIENCE)
    spent = time.perf_counter() - begin
    content = window.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") / 1000
    context.close()
    return f"{content:.2f} s, its button {spent:.2f} s"


def visit(page: Page, clicks: Clicks, name: str, effect: str) -> None:
    clicks(f"open {name}", page.get_by_test_id("stTopNav").get_by_role("link", name=name), effect)


def choose(page: Page, clicks: Clicks, name: str, label: str, number: int, effect: str) -> None:
    """Open a select box and click one of its options."""
    try:
        page.get_by_test_id("stSidebar").get_by_role("combobox", name=label).first.click(timeout=PATIENCE)
        target = page.get_by_role("option").nth(number)
        target.wait_for(timeout=PATIENCE)
    except Exception as error:
        print(f"  {name}: not measured ({str(error).splitlines()[0]})")
        page.keyboard.press("Escape")  # an open list would cover what is clicked next
        return
    clicks(name, target, effect)


def start_distillation(page: Page, address: str, settings: dict[str, str]) -> None:
    """Start the three objectives with ``settings``, given as labels of the form's fields and what to enter."""
    page.goto(f"{address}/distill")
    page.get_by_label("Seconds", exact=True).wait_for(timeout=PATIENCE)
    page.wait_for_timeout(6000)  # as somebody who reads the page first
    for label, value in settings.items():
        entry = page.get_by_label(label, exact=True)
        if not entry.is_visible():
            page.get_by_test_id("stSidebar").get_by_text("Advanced", exact=True).click()
        entry.fill(value)
        entry.press("Enter")
        page.wait_for_timeout(1000)
    begin = time.perf_counter()
    page.get_by_role("button", name="Start", exact=True).click()
    page.wait_for_url("**group=2*", timeout=PATIENCE)
    page.wait_for_function(
        """document.querySelector('[aria-label="Loss over outer steps: no step is done yet"]') !== null""",
        timeout=PATIENCE,
    )
    page.wait_for_function(
        """[...document.querySelectorAll('[aria-label^="Loss over outer steps"]')]
            .some(e => e.offsetParent && / from /.test(e.ariaLabel))""",
        timeout=4 * PATIENCE,
    )
    print(f"first point of a loss curve: {time.perf_counter() - begin:.1f} s after Start")


def one_round(page: Page, clicks: Clicks, live: bool) -> None:
    """A dozen typical clicks; ``live``: there is a second run beside the shipped one."""
    sidebar = page.get_by_test_id("stSidebar")
    visit(page, clicks, "Distil", aria_seen("Loss over outer steps"))
    advanced = sidebar.get_by_text("Advanced", exact=True)
    clicks("open a form", advanced, "document.querySelector('[data-testid=stExpander] details[open]') !== null")
    if live:
        choose(page, clicks, "another run", "Run", 1, text_seen("reach a normalised return of"))
        choose(page, clicks, "the live run again", "Run", 0, text_gone("reach a normalised return of"))
        choose(page, clicks, "the shipped run", "Run", 1, text_seen("reach a normalised return of"))
    visit(page, clicks, "States", deep("canvas.map", ""))
    option = "document.querySelector('[data-testid=stMain]').textContent"
    for label in ("DBC", "PBC"):
        pill = (
            sidebar.get_by_role("radio")
            .filter(has_text=label)
            .or_(sidebar.get_by_test_id("stButtonGroup").get_by_role("button", name=label))
        )
        clicks(f"map of {label}", pill, f"{option}.includes(' {label} state')")
    clicks("play", page.get_by_role("button", name="Play"), deep("button.play", "Pause"))
    clicks("pause", page.get_by_role("button", name="Pause"), deep("button.play", "Play"))
    visit(page, clicks, "Home", text_seen("Distil for one minute"))
    for name in ("Data", "Compare", "Learn", "Rollouts"):
        if page.get_by_test_id("stTopNav").get_by_role("link", name=name).count():
            painted = "document.querySelectorAll('[data-testid=stMain] [data-testid=stElementContainer]').length > 0"
            visit(page, clicks, name, f"{painted} && {text_gone('Distil for one minute')}")
            visit(page, clicks, "Home", text_seen("Distil for one minute"))


def walk_through_learn(page: Page, address: str, traffic: Traffic) -> None:
    """A minute on every step of Learn, on the paused ones after a click on Play: what comes over the wire."""
    page.goto(f"{address}/learn?step=bounds")  # a step at which nothing moves
    page.get_by_text("How fast can small mistakes add up?").wait_for(timeout=4 * PATIENCE)
    page.wait_for_timeout(4000)
    loaded = traffic.total
    print(f"first load of Learn: {loaded / 1e6:.2f} MB")
    for name in LEARN:
        before = traffic.total
        page.get_by_test_id("stButtonGroup").get_by_role("radio", name=name).or_(
            page.get_by_test_id("stButtonGroup").get_by_role("button", name=name)
        ).first.click()
        page.wait_for_timeout(4000)
        early = traffic.total - before
        play = page.locator("[data-do=play]")
        if play.is_visible() and "Play" in play.inner_text():
            play.click()
        page.wait_for_timeout(56_000)
        moves = page.locator(".facts").inner_text() if play.is_visible() else "no outer loop"
        print(
            f"bytes of Learn, {name}: {early / 1e6:.2f} MB in 4 s, {(traffic.total - before) / 1e6:.2f} MB in a minute"
            f" ({moves})",
            flush=True,
        )
    print(f"bytes of Learn, all its steps, after its first load: {(traffic.total - loaded) / 1e6:.2f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--idle", action="store_true", help="no distillation beside the clicks")
    parser.add_argument("--only-learn", action="store_true", help="the bytes of Learn only")
    parser.add_argument("--app", type=Path, default=ROOT, help="folder of the app, to compare two versions")
    arguments = parser.parse_args()
    print(f"load of the machine before: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    with (
        tempfile.TemporaryDirectory() as folder,
        sync_playwright() as playwright,
        contextlib.ExitStack() as stack,
    ):
        os.environ["OBD_RUNS_DIR"] = str(Path(folder) / "runs")
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        address, _ = stack.enter_context(served(arguments.app.resolve(), Path(folder) / "log"))
        if arguments.only_learn:
            page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
            traffic = Traffic()
            traffic.watch(page)
            walk_through_learn(page, address, traffic)
            return browser.close()
        print(f"first paint, first session of the process: {first_paint(browser, address)}")
        for _ in range(3):
            print(f"first paint, later session: {first_paint(browser, address)}")
        page = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
        traffic = Traffic()
        traffic.watch(page)
        if not arguments.idle:
            start_distillation(page, address, {"Seconds": "1800"})
        else:
            page.goto(address)
        print(f"first load: {traffic.total / 1e6:.2f} MB, videos {traffic.media / 1e6:.2f} MB")
        clicks = Clicks(page)
        for _ in range(arguments.rounds):
            one_round(page, clicks, live=not arguments.idle)
        for name, times in clicks.times.items():
            print(f"{name:28} {' '.join(f'{t:7.0f}' for t in times)} ms")
        every = sorted(t for times in clicks.times.values() for t in times)
        rank = min(len(every) - 1, round(0.95 * (len(every) - 1)))
        print(f"{len(every)} clicks: median {statistics.median(every):.0f} ms, 95th percentile {every[rank]:.0f} ms")
        for name in page.get_by_test_id("stTopNav").get_by_role("link").all_inner_texts():
            before = traffic.total
            page.get_by_test_id("stTopNav").get_by_role("link", name=name).click()
            page.wait_for_timeout(4000)
            print(f"bytes of {name}, 4 s: {(traffic.total - before) / 1e6:.2f} MB")
        walk_through_learn(page, address, traffic)
        browser.close()
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
