"""The MLflow UI in a real browser: what `rnnsweep ui` links to shows the sweep's numbers, without errors."""

from __future__ import annotations

import re
import time

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from rnnsweep.adapters.mlflow.formatting import column_names
from rnnsweep.adapters.mlflow.server import comparison_link, experiment_link, run_link
from tests.browser.journal import SPACE

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE = 90
OTHERS = ("/users/current", "ResizeObserver loop")
"""MLflow's own: its probe for a login that a plain server does not have, and a layout remark of browsers."""


def text_with(browser, *wanted, patience=PATIENCE):
    """The page's text once it holds all that is wanted; WebDriver's own way to text costs seconds on a large page."""
    end = time.monotonic() + patience
    text = ""
    while time.monotonic() < end:
        text = browser.execute_script("return document.body.innerText")
        if all(word in text for word in wanted):
            return text
        time.sleep(0.1)
    raise AssertionError(f"missing {[word for word in wanted if word not in text]} in:\n{text[:3000]}")


def errors(browser):
    """Severe console messages that are not MLflow's own habit."""
    severe = [entry["message"] for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    return [message for message in severe if not any(known in message for known in OTHERS)]


@pytest.fixture(scope="module")
def sweep(serve_sweep, chromium):
    del chromium  # skip before a server is started
    return serve_sweep(100)


def test_table_of_trials_has_their_columns_and_the_best_first(browser, sweep):
    browser.get(sweep.enter(experiment_link(sweep.base, sweep.experiment)))
    text = text_with(browser, "matching runs", "objective", *column_names(SPACE.keys).values(), "solved_at", "reason")
    names = re.findall(r"^\d{5}$", text, re.MULTILINE)
    best = sweep.ranked[0]
    assert names[0] == f"{best:05d}"
    assert str(sweep.objectives[best])[:8] in text
    assert errors(browser) == []


def test_charts_begin_with_the_objective_and_all_searched_keys(browser, sweep):
    """The link to compare is short; nothing is to be chosen first."""
    link = experiment_link(sweep.base, sweep.experiment, charts=True)
    assert len(link) < 160
    browser.get(sweep.enter(link))
    text = text_with(browser, "(objective)", "Searched keys and objective", "Model metrics")
    order = [text.index(name) for name in ("(objective)", "Searched keys and objective", "Model metrics")]
    assert order == sorted(order)
    assert "clip/share" not in text[: order[1]]  # it sorts first by itself
    axes = WebDriverWait(browser, PATIENCE).until(lambda b: b.find_elements(By.CSS_SELECTOR, ".dimension"))
    assert len(axes) == len(SPACE.keys) + 1
    assert errors(browser) == []


def test_comparison_shows_every_searched_key_and_the_objective(browser, sweep):
    runs = [sweep.runs[number] for number in sweep.ranked[:20]]
    browser.get(sweep.enter(comparison_link(sweep.base, sweep.experiment, runs)))
    text = text_with(browser, "Comparing 20 Runs from 1 Experiment", "Parallel Coordinates Plot", "Contour Plot")
    assert re.search(r"Metrics:\s*objective", text)  # what one compares by at first
    for key in SPACE.keys:
        assert key in text
    assert f"{sweep.ranked[0]:05d}" in text
    assert errors(browser) == []


def test_page_of_the_sweep_carries_the_note(browser, sweep):
    browser.get(sweep.enter(run_link(sweep.base, sweep.experiment, sweep.parent)))
    text = text_with(browser, "Sweep temporal-order: COMPLETE", f"Best: trial {sweep.ranked[0]}")
    assert "controllers.omega.weight=" in text
    assert errors(browser) == []


def test_page_of_a_trial_shows_its_params_and_metrics(browser, sweep):
    best = sweep.ranked[0]
    browser.get(sweep.enter(run_link(sweep.base, sweep.experiment, sweep.runs[best])))
    text_with(browser, f"{best:05d}", "Finished", *SPACE.keys, "valid/error")
    assert errors(browser) == []


@pytest.mark.study
def test_a_thousand_children_are_usable_within_three_seconds(browser, serve_sweep):
    """By the first visit of a fresh browser to a fresh server."""
    sweep = serve_sweep(1000)
    browser.execute_cdp_cmd("Network.clearBrowserCache", {})
    began = time.monotonic()
    browser.get(sweep.enter(experiment_link(sweep.base, sweep.experiment)))
    text_with(browser, "matching runs", f"{sweep.ranked[0]:05d}")
    seconds = time.monotonic() - began
    print(f"\nexperiment page with 1000 children: {seconds:.2f} s")
    assert seconds < 3
