"""Pictures of the service's live page: `python docs/site/page_pictures.py [--out docs/img]`.

A sweep of a few dozen small trials is trained on this machine while its page is looked at. It needs Chromium and
chromedriver, as the browser tests do, and their kit: run it at the top of the repository.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).parents[2]))

from docs.site.screenshots import IMAGES, RNNSWEEP, browser
from rnnsweep.app.stores import place
from rnnsweep.service.front import QueuedSweep, QueueState
from tests.kit.live_page import NotingFront, page_app, served

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

NAME, OTHER = "omega-or-not", "wide-or-deep"
SMALL = ("task.length=20", "family.hidden=30", "training.report_every=100", "training.eval_size=200", "replicas=1")
SEARCHED = ("init.sigma=tag(log,interval(0.02,0.4))", "family.activation=choice(tanh,sigmoid)")
LAUNCH = ("cluster=inline", "tracker=none", "store.optuna=none", "sampler=tpe", "pruner=none", *SMALL, *SEARCHED)
TWO = "objective=[{metric: valid/error}, {metric: weights/rho}]"
SHOTS = {
    "service-list": ("/", 1200, 420, "light", ""),
    "service-sweep": (f"/sweeps/{NAME}", 1200, 1100, "light", ""),
    "service-figures": (f"/sweeps/{NAME}", 1200, 1150, "dark", "#curves"),
    "service-phone": (f"/sweeps/{NAME}", 390, 844, "light", ""),
}
"""Name -> path, size of the window, colours, what is scrolled to."""


def main() -> None:
    """Train, look, and write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        words = [f"name={NAME}", "budget.trials=60", "budget.updates=1200", TWO, *LAUNCH]
        command = [*RNNSWEEP, "launch", "quickstart", *words, "--store", scratch]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as training:
            store = place(scratch)
            while not store.exists and training.poll() is None:
                time.sleep(0.5)
            running = QueuedSweep(NAME, QueueState.RUNNING, "ada", submitted=time.time() - 300)
            waiting = QueuedSweep(OTHER, QueueState.QUEUED, "bob", 2.0, 0, time.time() - 60, "waits for slots")
            with served(page_app(NotingFront(store, [running, waiting]))) as base, browser() as driver:
                wait_for_results(driver, base)
                for name, (path, width, height, scheme, part) in SHOTS.items():
                    shoot(driver, base + path, (width, height), scheme, part)
                    (given.out / f"{name}.png").write_bytes(driver.get_screenshot_as_png())
                    print(f"{name}.png")
            training.terminate()


def wait_for_results(driver: Chrome, base: str, complete: int = 36) -> None:
    """Until some trials are complete, while others still run."""
    driver.get(f"{base}/sweeps/{NAME}")
    script = "return Number(document.querySelector('#facts [data-of=complete]')?.textContent ?? 0)"
    end = time.monotonic() + 400
    while driver.execute_script(script) < complete and time.monotonic() < end:
        time.sleep(2)
        if driver.execute_script("return !document.getElementById('facts')"):  # its sweep has only just begun
            driver.get(f"{base}/sweeps/{NAME}")


def wait(driver: Chrome, script: str, seconds: float = 60.0) -> None:
    """Until a script returns something, or the time is over."""
    end = time.monotonic() + seconds
    while not driver.execute_script(script) and time.monotonic() < end:
        time.sleep(0.2)


def shoot(driver: Chrome, address: str, size: tuple[int, int], scheme: str, part: str) -> None:
    """Bring a page to where the picture is taken."""
    screen = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    driver.get(address)
    if part:
        driver.execute_script("document.querySelector(arguments[0]).scrollIntoView({behavior: 'instant'})", part)
        wait(driver, f"return document.querySelector('{part} .plot').dataset.drawn")  # they are, when they are in view
    time.sleep(3.0)


if __name__ == "__main__":
    main()
