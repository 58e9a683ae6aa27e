"""The way into the service with a real browser, which says by itself where a form comes from."""

from __future__ import annotations

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from rnnsweep.app.accounts import first_token
from rnnsweep.service.http import serve_http
from tests.kit.small_front import SmallFront

pytestmark = [pytest.mark.browser, pytest.mark.slow]
PATIENCE = 60


@pytest.mark.parametrize("first", ["/", "/sweeps/none"])
def test_a_token_typed_into_the_page_leads_in(browser, tmp_path, first):
    front = SmallFront(tmp_path)
    token = first_token(front.place)
    with serve_http(front, port=0).start() as server:
        browser.get(server.url + first)
        assert browser.title == "rnnsweep: log in"
        browser.find_element(By.ID, "token").send_keys(token)
        browser.find_element(By.TAG_NAME, "button").click()
        WebDriverWait(browser, PATIENCE).until(lambda one: "/login" not in one.current_url)
        assert browser.current_url == server.url + first
        assert browser.get_cookies()[0]["httpOnly"]
        if first != "/":
            browser.find_element(By.CSS_SELECTOR, ".leave button").click()  # the page of an error has it too
            WebDriverWait(browser, PATIENCE).until(lambda one: one.title == "rnnsweep: log in")
            browser.get(server.url)
            assert browser.title == "rnnsweep: log in"
        else:  # the page's own script and style came
            assert browser.execute_script("return document.styleSheets[0].cssRules.length > 10")
            assert not [entry for entry in browser.get_log("browser") if "assets" in entry["message"]]
