"""The pictures of the documentation, taken anew: `python docs/site/screenshots.py [--store DIR] [--out docs/img]`.

Without a store, the quickstart is run first. It needs Chromium and chromedriver, as the browser tests do.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

IMAGES = Path(__file__).parents[1] / "img"
RNNSWEEP = [sys.executable, "-m", "rnnsweep.app.cli.main"]
COLUMNS = 80
TERMINAL = """<body style="margin:0"><pre style="margin:0;padding:14px;width:{columns}ch;background:#1e1e1e;
color:#e6e6e6;font:14px/1.3 monospace">{code}</pre></body>"""
VIEWS = {"trials": (1600, 930), "compare": (1600, 1300)}
"""Links that `rnnsweep ui` prints -> size of the page."""
CLOSE_ASSISTANT = """
const asks = box => box.offsetWidth && /ask a question/i.test(box.placeholder);
if ([...document.querySelectorAll("textarea, input")].some(asks)) {
  const places = [...document.querySelectorAll("button")].map(b => [b, b.getBoundingClientRect()]);
  const above = places.filter(([b, place]) => place.width && place.top < 60);
  above.sort((one, other) => other[1].right - one[1].right)[0][0].click();  // the cross in its corner
}
"""
"""It covers a quarter of the page when a browser comes for the first time."""
SETTLE_S = 6.0
"""MLflow's pages draw after they have loaded, and say nothing when they are done."""


def main() -> None:
    """Take all pictures of one sweep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="a store that has the sweep; without it the sweep is run")
    parser.add_argument("--sweep", default="quickstart")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        store = given.store or Path(scratch) / "store"
        if given.store is None:
            command("launch", given.sweep, store=store)
        given.out.mkdir(parents=True, exist_ok=True)
        with browser() as driver:
            terminal(driver, given.sweep, store, given.out)
            report(driver, given.sweep, store, given.out)
            mlflow(driver, given.sweep, store, given.out)
    for name in sorted(path.name for path in given.out.glob("*.png")):
        print(name)
    print(f"{time.monotonic() - began:.0f} s")


def command(*words: str, store: Path) -> str:
    """What a command prints on a terminal of 80 columns, colours included."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "FORCE_COLOR": "1"}
    done = subprocess.run(
        [*RNNSWEEP, *words, "--store", str(store)], env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout


@contextmanager
def browser() -> Iterator[Chrome]:
    """Headless Chromium from the system; nothing is downloaded."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    os.environ["SE_AVOID_STATS"] = "true"
    names = ("chromium", "chromium-browser", "google-chrome")
    found = os.environ.get("RNNSWEEP_TEST_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found is None:
        sys.exit("no Chromium on PATH: install Debian's chromium and chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = found
    for flag in ("--headless=new", "--no-sandbox", "--hide-scrollbars", "--force-device-scale-factor=1"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def shoot(driver: Chrome, file: Path, size: tuple[int, int]) -> None:
    """What a window shows that leaves the page this size."""
    # A window is larger than its page by the browser's own edge.
    edge = driver.execute_script("return [outerWidth - innerWidth, outerHeight - innerHeight]")
    driver.set_window_size(size[0] + edge[0], size[1] + edge[1])
    time.sleep(1.5)  # the page lays itself out anew
    file.write_bytes(driver.get_screenshot_as_png())


def terminal(driver: Chrome, sweep: str, store: Path, out: Path) -> None:
    """`status` and `table` in 80 columns."""
    from rich.console import Console
    from rich.text import Text

    console = Console(record=True, width=COLUMNS, file=io.StringIO())
    for index, words in enumerate((("status", sweep), ("table", sweep))):
        console.print("\n" * bool(index) + f"$ rnnsweep {' '.join(words)}", style="bold")
        console.print(Text.from_ansi(command(*words, store=store).rstrip()))
    code = console.export_html(inline_styles=True, code_format="{code}")
    with tempfile.NamedTemporaryFile("w", suffix=".html", delete=False) as page:
        page.write(TERMINAL.format(columns=COLUMNS, code=code))
    driver.get(f"file://{page.name}")
    driver.set_window_size(1000, 800)
    box = driver.execute_script(
        "const b = document.querySelector('pre').getBoundingClientRect(); return [b.width, b.height]"
    )
    shoot(driver, out / "terminal.png", (int(box[0]) + 1, int(box[1]) + 1))
    Path(page.name).unlink()


def report(driver: Chrome, sweep: str, store: Path, out: Path) -> None:
    """The overview that `launch` draws, and the top of the report's page."""
    command("report", sweep, store=store)
    folder = store / "reports" / sweep
    shutil.copyfile(folder / "overview.png", out / "quickstart.png")
    driver.get((folder / "index.html").resolve().as_uri())
    shoot(driver, out / "report.png", (1200, 1500))


def mlflow(driver: Chrome, sweep: str, store: Path, out: Path) -> None:
    """The pages behind the links that `rnnsweep ui` prints."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [*RNNSWEEP, "ui", sweep, "--port", str(port), "--store", str(store)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                link = re.match(r"(\w+)\s+(http\S+)", line)
                if link and link[1] in VIEWS:
                    driver.set_window_size(*VIEWS[link[1]])
                    driver.get(link[2])
                    time.sleep(SETTLE_S)
                    driver.execute_script(CLOSE_ASSISTANT)
                    shoot(driver, out / f"mlflow-{link[1]}.png", VIEWS[link[1]])
                if link and link[1] == list(VIEWS)[-1]:
                    break
        finally:
            process.terminate()


if __name__ == "__main__":
    main()
