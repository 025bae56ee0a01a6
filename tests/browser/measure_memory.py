"""Whether memory stays bounded while a long race streams: a script for people, not a test (it takes an hour).

    nice -n 15 python tests/browser/measure_memory.py [--minutes 60] [--app FOLDER]

Starts the app and a race of the three objectives with small settings, which makes many short steps.  One window
stays on Distil, another one walks through the pages.  Prints, every minute, the memory of the server's processes,
and of the window on Distil its live JavaScript heap and its DOM nodes; in the end how these grew.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import statistics
import tempfile
import time
from dataclasses import astuple, dataclass
from pathlib import Path

from measure_response import CHROMIUM, PATIENCE, ROOT, served, start_distillation
from playwright.sync_api import CDPSession, Page, sync_playwright

# More steps than an hour allows, with a snapshot every few hundred of them: the race has to go on to the end.
SMALL = {
    "Synthetic pairs": "64",
    "Inner steps": "16",
    "Real states per step": "256",
    "Initialisations": "1",
    "Outer steps": "200000",
    "Snapshots": "500",
}
WALK = ("States", "Rollouts", "Compare", "Learn", "Data", "Home", "Distil")
STAY = 40  # seconds on each page


@dataclass(frozen=True)
class Sample:
    """Megabytes of the server and of the page's live heap, and the page's DOM nodes."""

    server: float
    heap: float
    nodes: float


def family(root: int) -> list[int]:
    """``root`` and all processes below it."""
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found = [root]
    for member in found:  # grows while it is walked through
        found += [child for child, parent in parents.items() if parent == member]
    return found


def resident(root: int) -> float:
    """Megabytes that the server and its children hold in memory."""
    total = 0
    for process in family(root):
        with contextlib.suppress(OSError):
            found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
            total += int(found.group(1)) if found else 0
    return total / 1e3


def sample(session: CDPSession, server: int) -> Sample:
    session.send("HeapProfiler.collectGarbage")
    heap = session.send("Runtime.getHeapUsage")["usedSize"] / 1e6
    return Sample(resident(server), heap, session.send("Memory.getDOMCounters")["nodes"])


def growth(samples: list[Sample]) -> str:
    """How the means of the first and the last third differ, as a sentence."""
    third = max(len(samples) // 3, 1)
    first, last = (
        [statistics.mean(values) for values in zip(*map(astuple, part), strict=True)]
        for part in (samples[:third], samples[-third:])
    )
    names = ("the server's memory (MB)", "the page's heap (MB)", "DOM nodes")
    parts = [f"{name} {a:.0f} -> {b:.0f} ({b / a - 1:+.1%})" for name, a, b in zip(names, first, last, strict=True)]
    return f"From the first third of {len(samples)} minutes to the last: {', '.join(parts)}."


def walk(page: Page, number: int) -> str:
    """The next page; on States and Learn something is set in motion."""
    name = WALK[number % len(WALK)]
    page.get_by_test_id("stTopNav").get_by_role("link", name=name, exact=True).click()
    if name in ("States", "Learn"):
        page.wait_for_timeout(8000)
        play = page.get_by_role("button", name="Play").first
        if play.is_visible():
            play.click()
    return name


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--app", type=Path, default=ROOT, help="folder of the app, to compare two versions")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright, contextlib.ExitStack() as stack:
        os.environ["OBD_RUNS_DIR"] = str(Path(folder) / "runs")
        address, server = stack.enter_context(served(arguments.app.resolve(), Path(folder) / "log"))
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--headless", "--no-sandbox", "--disable-gpu"]
        )
        stack.callback(browser.close)
        context = browser.new_context(viewport={"width": 1280, "height": 720})
        context.set_default_timeout(8 * PATIENCE)
        watched = context.new_page()
        start_distillation(watched, address, SMALL)
        walker = context.new_page()
        walker.goto(watched.url)
        session = context.new_cdp_session(watched)
        print("minute  server MB  heap MB  DOM nodes  walker on  page says", flush=True)
        samples: list[Sample] = []
        begin = time.monotonic()
        steps, name = 0, "Distil"
        while len(samples) < arguments.minutes:
            if time.monotonic() - begin > STAY * steps:
                steps += 1
                try:
                    name = walk(walker, steps)
                except Exception as error:  # a slow page must not end the hour
                    print(f"        {name}: {str(error).splitlines()[0]}", flush=True)
            if time.monotonic() - begin > 60 * (len(samples) + 1):
                samples.append(sample(session, server))
                now = samples[-1]
                metric = watched.get_by_test_id("stMetricValue").first
                says = metric.inner_text() if metric.is_visible() else "no race"
                print(
                    f"{len(samples):6}  {now.server:9.0f}  {now.heap:7.1f}  {now.nodes:9.0f}  {name:9}  {says}",
                    flush=True,
                )
            watched.wait_for_timeout(1000)
        print(growth(samples))
    print(f"load of the machine after: {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()
