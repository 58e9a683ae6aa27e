"""The report's page in a real browser: it loads alone, shows the numbers, sorts its tables, and says nothing."""

from __future__ import annotations

import pytest

from rnnsweep.report.page import write_report
from rnnsweep.report.sections import SECTIONS
from tests.report.conftest import build, two_objectives

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("report")
    write_report(two_objectives(build()), path)
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
    # all but that of a population's lineages
    assert len(pictures) == len([section for section in SECTIONS if section.slug != "lineages"])
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


def test_figures_to_play_with_are_in_the_page(browser, folder):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    browser.get((folder / "index.html").as_uri())
    assert browser.execute_script("return typeof Plotly") == "undefined"  # unpacked when asked for, not before
    for box in browser.find_elements(By.CSS_SELECTOR, ".play button"):
        browser.execute_script("arguments[0].click()", box)
    WebDriverWait(browser, 60).until(lambda page: len(page.find_elements(By.CSS_SELECTOR, ".plot .main-svg")) >= 2)
    labels = [label.text for label in browser.find_elements(By.CSS_SELECTOR, "#parallel .axis-title")]
    assert any("omega.weight" in text for text in labels)
    assert len(browser.find_elements(By.CSS_SELECTOR, "#history .scatterlayer .point")) == len(build().scored)
    assert not browser.find_element(By.CSS_SELECTOR, "#history img").is_displayed()  # one or the other
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


@pytest.mark.parametrize("width", [1200, 390])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_fits_the_screen_in_both_schemes(browser, folder, width, scheme):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get((folder / "index.html").as_uri())
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width  # nothing sticks out
    ground = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    brightness = sum(map(int, ground.removeprefix("rgb(").removesuffix(")").split(",")))
    assert (brightness > 600) == (scheme == "light")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_best_lines_stand_out_from_the_ground(browser, folder, scheme):
    """Cividis begins dark: the least error is dark on a light ground, and bright on a dark one."""
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    browser.get((folder / "index.html").as_uri())
    browser.execute_script("document.querySelector('#parallel .play button').click()")
    WebDriverWait(browser, 60).until(lambda page: page.find_elements(By.CSS_SELECTOR, "#parallel .axis-title"))
    line = browser.execute_script("return document.querySelector('#parallel .plot').data[0].line")
    assert line["reversescale"] == (scheme == "dark")
    halo = browser.execute_script("return getComputedStyle(document.querySelector('.parcoords text')).textShadow")
    assert ("rgb(255, 255, 255)" in halo) == (scheme == "light")


def test_the_page_stays_small(folder):
    assert (folder / "index.html").stat().st_size < 3_500_000  # 2 of them plotly's script
