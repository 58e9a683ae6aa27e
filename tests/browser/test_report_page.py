"""The report's page in a real browser: it loads alone, shows the numbers, sorts its tables, and says nothing."""

from __future__ import annotations

import pytest

from rnnsweep.report.page import SECTIONS, write_report
from tests.report.conftest import build

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    write_report(build(), path)
    return path


def test_page_shows_pictures_and_numbers_without_a_word_in_the_console(browser, folder):
    from selenium.webdriver.common.by import By

    browser.get((folder / "index.html").as_uri())
    data = build()
    text = browser.find_element(By.TAG_NAME, "body").text
    best = data.ranked.iloc[0]
    assert f"#{best['trial']}" in text
    assert f"{best['objective']:.4g}" in text
    pictures = browser.find_elements(By.TAG_NAME, "img")
    assert len(pictures) == len(SECTIONS)
    widths = [browser.execute_script("return arguments[0].naturalWidth", picture) for picture in pictures]
    assert min(widths) > 300
    assert browser.get_log("browser") == []


def test_a_click_sorts_a_table_by_number(browser, folder):
    from selenium.webdriver.common.by import By

    browser.get((folder / "index.html").as_uri())
    head = browser.find_element(By.CSS_SELECTOR, "#best th:nth-child(2)")
    cells = "#best td:nth-child(2)"
    for ascending in (True, False):
        browser.execute_script("arguments[0].click()", head)
        values = [float(cell.text) for cell in browser.find_elements(By.CSS_SELECTOR, cells)]
        assert values == sorted(values, reverse=not ascending)


def test_interactive_page_draws_its_axes(browser, folder):
    from selenium.webdriver.common.by import By

    browser.get((folder / "interactive.html").as_uri())
    labels = [found.text for found in browser.find_elements(By.CSS_SELECTOR, "#parallel .axis-title")]
    assert any("omega.weight" in text for text in labels)
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


def test_pages_stay_small(folder):
    assert (folder / "index.html").stat().st_size < 5_000_000
    assert (folder / "interactive.html").stat().st_size < 5_000_000
