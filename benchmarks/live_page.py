"""First paint and updates of the live page: ``python benchmarks/live_page.py [--trials 1000] [--updates 30]``.

A sweep is written through the real ledger and served on loopback; headless Chromium opens its page (cold: a fresh
browser, nothing read of the journal yet; and warm), then rungs and ends of trials are committed once a second.
Measured: first paint, from the navigation; the server's answer to the page's question; `update`, from the answer's
arrival until table and numbers have changed; `figure`, the redrawing of a figure that is in view; the whole way from
the commit until the page shows it, of which up to a second is the page's pause between two questions; and the processor
time of the page's thread for all of an update, on which what others do on the machine counts little. It needs Chromium.
"""

from __future__ import annotations

import argparse
import itertools
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.service.front import QueuedSweep, QueueState
from tests.kit.live_page import EVERY, NAME, TWO, UPDATES, NotingFront, WrittenSweep, page_app, served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

PAINT = "return performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
WATCH = """
window.spent = {update: [], figure: []};
window.watcher?.disconnect();
const note = one => window.spent[one.name]?.push(one.duration);
window.watcher = new PerformanceObserver(list => list.getEntries().forEach(note));
window.watcher.observe({type: "measure"});
"""
ANSWERS = """
const answers = performance.getEntriesByType('resource').filter(one => one.name.includes('/live'));
return answers.map(one => one.responseEnd - one.requestStart);
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--updates", type=int, default=30)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        sweep = WrittenSweep(Path(folder), given.trials, overrides=[TWO], budget=2 * given.trials)
        front = NotingFront(sweep.place, [QueuedSweep(NAME, QueueState.RUNNING, "ada", submitted=time.time())])
        print(
            f"{given.trials} trials, {given.trials * UPDATES // EVERY} rungs at most; {os.cpu_count()} cores, ", end=""
        )
        print(f"load average {os.getloadavg()[0]:.1f}")
        rungs = itertools.count(6)  # of a trial that runs
        with served(page_app(front)) as base:
            for words in ("first paint, cold", "first paint, warm"):
                with browser() as chrome:
                    print_line(words, [first_paint(chrome, base)])
                    if words.endswith("warm"):
                        for section in ("trials", "curves", "parallel", "pareto"):
                            updates(chrome, sweep, section, rungs, given.updates)
        sweep.close()


def first_paint(chrome: Chrome, base: str) -> float:
    """Milliseconds from the navigation until there is something to read, the table's first lines among it."""
    chrome.get(f"{base}/sweeps/{NAME}")
    wait(chrome, "return document.body.dataset.seq")
    return chrome.execute_script(PAINT)


def updates(chrome: Chrome, sweep: WrittenSweep, section: str, rungs: Iterator[int], count: int) -> None:
    """Commit news once a second while a section is in view, and print how long the page took."""
    chrome.execute_script("document.getElementById(arguments[0]).scrollIntoView()", section)
    time.sleep(3)
    chrome.execute_script(WATCH + "performance.clearResourceTimings()")
    chrome.execute_cdp_cmd("Performance.enable", {"timeDomain": "threadTicks"})
    shown, before = [], processor_ms(chrome)
    for _ in range(count):
        number = int(chrome.execute_script("return Number(document.getElementById('count').textContent.split(' ')[0])"))
        began = time.monotonic()
        sweep.commit([*sweep.whole_trial(number), *sweep.rung(17, next(rungs), 0.2)])
        wait(chrome, f"return document.getElementById('count').textContent.startsWith('{number + 1} ')")
        shown.append(1000 * (time.monotonic() - began))
        time.sleep(max(0.0, 1.0 - (time.monotonic() - began)))
    print_line(f"{section}: processor per update", [(processor_ms(chrome) - before) / count])
    spent = chrome.execute_script("return window.spent")
    print_line(f"{section}: answer of the server", chrome.execute_script(ANSWERS))
    print_line(f"{section}: update", [one for one in spent["update"] if one > 0])
    print_line(f"{section}: figure", spent["figure"])
    print_line(f"{section}: commit to page", shown)


def processor_ms(chrome: Chrome) -> float:
    """Processor time that the page's own thread has taken, layout and painting included."""
    metrics = chrome.execute_cdp_cmd("Performance.getMetrics", {})["metrics"]
    return 1000 * next(metric["value"] for metric in metrics if metric["name"] == "TaskDuration")


def wait(chrome: Chrome, script: str) -> None:
    """Until a script returns something."""
    end = time.monotonic() + 60
    while not chrome.execute_script(script):
        if time.monotonic() > end:
            raise TimeoutError(script)
        time.sleep(0.01)


@contextmanager
def browser() -> Iterator[Chrome]:
    """A fresh headless Chromium."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    os.environ["SE_AVOID_STATS"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = os.environ.get("RNNSWEEP_TEST_CHROMIUM", "/usr/bin/chromium")
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1400,1000"):
        options.add_argument(flag)
    chrome = webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver"))
    try:
        yield chrome
    finally:
        chrome.quit()


def print_line(what: str, values: Sequence[float]) -> None:
    """Median, 95th percentile and largest, in milliseconds."""
    if not values:
        return
    ordered = sorted(values)
    high = ordered[min(len(ordered) - 1, int(0.95 * len(ordered)))]
    middle = statistics.median(ordered)
    print(f"{what:34} {len(ordered):4} x   median {middle:7.1f}   95 % {high:7.1f}   largest {ordered[-1]:7.1f} ms")


if __name__ == "__main__":
    main()
