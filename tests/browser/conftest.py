"""Headless Chromium, and sweeps of any size written through the real MLflow mirror."""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rnnsweep.adapters.gate import with_token
from tests.browser.journal import SWEEP, journal, plan

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

VARIABLE = "RNNSWEEP_TEST_CHROMIUM"
TOKEN = "token-of-the-browser-tests"
NAMES = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the browser: RNNSWEEP_TEST_CHROMIUM, else PATH. In CI it must be there."""
    found = os.environ.get(VARIABLE) or next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        reason = f"no Chromium on PATH or in {VARIABLE}"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason}: install Debian's chromium and chromium-driver")
        pytest.skip(reason)
    return found


@pytest.fixture(scope="session")
def driver_path(chromium: str) -> str | None:
    """chromedriver beside the browser or on PATH; None lets selenium look for one."""
    beside = Path(chromium).with_name("chromedriver")
    return str(beside) if beside.is_file() else shutil.which("chromedriver")


@pytest.fixture(scope="session")
def window(chromium: str, driver_path: str | None) -> Iterator[Chrome]:
    """A browser that logs its console; to start one takes longer than most tests."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    os.environ["SE_AVOID_STATS"] = "true"
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=2600,1300"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(driver_path))
    driver.set_page_load_timeout(180)
    yield driver
    driver.quit()


@pytest.fixture
def browser(window: Chrome) -> Iterator[Chrome]:
    """A tab of its own, without cookies, storage, console lines or an emulated screen of the tests before."""
    empty = window.current_window_handle
    window.switch_to.new_window("tab")  # emulation and disabled scripts are a tab's
    window.execute_cdp_cmd("Network.clearBrowserCookies", {})
    window.get_log("browser")
    yield window
    origin = window.execute_script("return location.origin")
    if origin.startswith("http"):
        window.execute_cdp_cmd("Storage.clearDataForOrigin", {"origin": origin, "storageTypes": "all"})
    window.close()
    window.switch_to.window(empty)


@dataclass(frozen=True)
class Served:
    """A sweep in a running MLflow UI."""

    base: str
    token: str
    experiment: str
    parent: str
    runs: dict[int, str]
    objectives: dict[int, float]

    def enter(self, link: str) -> str:
        """The link as `rnnsweep ui` prints it."""
        return with_token(link, self.token)

    @property
    def ranked(self) -> list[int]:
        """Trials with an objective, best first."""
        return sorted(self.objectives, key=lambda number: (self.objectives[number], number))


@pytest.fixture(scope="session")
def serve_sweep(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Served]]:
    """Write a sweep of so many children and serve it; one server for all sizes asked for in turn."""
    from rnnsweep.adapters.mlflow.server import prepare, serve
    from rnnsweep.adapters.mlflow.tracker import MlflowMirror
    from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
    from rnnsweep.core.metrics.names import METRIC_KEYS
    from rnnsweep.sweep.ports import SweepView
    from rnnsweep.sweep.states import SweepState

    processes = []

    def build(children: int) -> Served:
        folder = tmp_path_factory.mktemp(f"mlflow-{children}")
        uri = f"sqlite:///{folder / 'mlflow.db'}"
        prepare(uri)
        options = TrackerOptions(
            metrics=lambda: METRIC_KEYS,
            artifact_root=str(folder / "artifacts"),
            environment=lambda: {"torch": "2"},
        )
        view = SweepView(SWEEP, SweepState.RUNNING, {}, created=1.7e9)
        mirror = MlflowMirror(uri, view, plan(children), options)
        entries = journal(children)
        for start in range(0, len(entries), mirror.batch):
            mirror.write(entries[start : start + mirror.batch])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        processes.append(serve(uri, port=port, token=TOKEN))
        done = [entry for entry in entries if entry.kind == "trial" and entry.data["state"] == "COMPLETE"]
        objectives = {entry.trial: entry.data["values"][0] for entry in done}
        base = f"http://127.0.0.1:{port}"
        return Served(base, TOKEN, mirror.experiment_id, mirror.parent_id, mirror.run_ids(), objectives)

    yield build
    for process in processes:
        process.terminate()
        process.wait(timeout=20)
