"""The service's live page in a real browser: it shows, updates, filters and steers, without a word in the console."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from rnnsweep.service.front import QueuedSweep, QueueState
from rnnsweep.sweep.ports import PutTrial
from rnnsweep.sweep.states import SweepState
from tests.kit.live_page import HOSTILE, NAME, TWO, NotingFront, WrittenSweep, page_app, served

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TRIALS = 1000
PATIENCE = 60


class Page:
    """A browser on the page."""

    def __init__(self, browser, base: str) -> None:
        self.browser, self.base = browser, base

    def open(self, path: str = f"/sweeps/{NAME}") -> None:
        self.browser.get(self.base + path)
        self.until("return document.body.dataset.seq || location.pathname.includes('/trials/')")

    def js(self, script: str, *values: Any) -> Any:
        return self.browser.execute_script(script, *values)

    def until(self, script: str, *values: Any) -> Any:
        return WebDriverWait(self.browser, PATIENCE).until(lambda browser: browser.execute_script(script, *values))

    def column(self, index: int) -> list[str]:
        return self.js(
            "return [...document.querySelectorAll('#table tbody tr')].map(row => row.cells[arguments[0]].textContent)",
            index,
        )

    def console(self) -> list[str]:
        return [entry["message"] for entry in self.browser.get_log("browser")]

    def see(self, width: int, scheme: str = "light", height: int = 900) -> None:
        screen = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
        media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        self.browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory, chromium):
    del chromium  # skip before a sweep is written
    written = WrittenSweep(tmp_path_factory.mktemp("page"), TRIALS, overrides=[TWO], budget=TRIALS + 100)
    yield written
    written.close()


@pytest.fixture(scope="module")
def front(sweep):
    return NotingFront(sweep.place, [QueuedSweep(NAME, QueueState.RUNNING, "ada", submitted=time.time())])


@pytest.fixture(scope="module")
def base(front):
    with served(page_app(front)) as address:
        yield address


@pytest.fixture
def page(browser, base):
    return Page(browser, base)


def test_the_list_leads_to_a_sweep_with_its_numbers(page):
    page.open("/")
    row = page.browser.find_element(By.CSS_SELECTOR, f"tr[data-name='{NAME}']").text
    assert "RUNNING" in row and f"of {TRIALS + 100}" in row and "ada" in row
    assert "93 %" in page.browser.find_element(By.ID, "workers").text
    page.browser.find_element(By.LINK_TEXT, NAME).click()
    page.until("return document.body.dataset.seq")
    assert len(page.column(0)) == 50
    assert page.until("return document.getElementById('count').textContent") == f"{TRIALS} trials."
    assert page.console() == []


def test_the_first_lines_are_in_the_page_before_its_script_runs(page):
    page.browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    page.browser.get(f"{page.base}/sweeps/{NAME}")
    rows = page.browser.find_elements(By.CSS_SELECTOR, "#table tbody tr")
    assert len(rows) == 50
    best = page.browser.find_element(By.CSS_SELECTOR, "#facts [data-of=winner]").text
    assert rows[0].text.startswith(f"{best} ")


def test_a_rung_and_an_end_appear_by_themselves(page, sweep):
    page.open()
    number = TRIALS
    first, *rest = sweep.whole_trial(number)
    sweep.commit([first])
    page.until("return document.getElementById('count').textContent === arguments[0]", f"{TRIALS + 1} trials.")
    field = page.browser.find_element(By.ID, "filter")
    field.send_keys(f"#{number}")
    assert page.column(1) == ["waiting"]
    sweep.commit(rest)
    assert isinstance(rest[-1], PutTrial)
    page.until("return document.querySelector('#table tbody td.fate').textContent !== 'waiting'")
    assert page.column(2) == ["6 000"]
    state = page.column(1)[0]
    assert state in ("solved", "complete")
    page.js("document.getElementById('curves').scrollIntoView()")
    traces = "return (document.querySelector('#curves .plot').data ?? []).map(one => one.name).join()"
    page.until(f"{traces.replace('return ', 'return (')}).includes(arguments[0])", f"trial {number}")
    assert page.console() == []


def test_heads_sort_by_number_and_back_to_the_best_first(page):
    page.open()
    ranked = page.column(0)
    head = page.browser.find_element(By.XPATH, "//th/button[text()='init.sigma']")
    for direction in ("ascending", "descending"):
        page.js("arguments[0].click()", head)
        values = [float(text) for text in page.column(8)]
        assert values == sorted(values, reverse=direction == "descending")
        assert head.find_element(By.XPATH, "..").get_attribute("aria-sort") == direction
    page.js("arguments[0].click()", head)
    assert page.column(0) == ranked


@pytest.mark.parametrize(
    ("words", "column", "holds"),
    [
        ("omega.weight=4|2", 6, lambda text: text in ("2", "4")),
        ("sampling.q_max=off failed", 7, lambda text: text == "off"),
        ("objective<0.1 complete", 3, lambda text: float(text) < 0.1),
        ("clip.threshold>=5", 5, lambda text: float(text) >= 5),
        ("worker w3", 11, lambda text: "lost: worker w3" in text),
    ],
)
def test_the_filter_keeps_what_it_says(page, words, column, holds):
    page.open()
    page.browser.find_element(By.ID, "filter").send_keys(words)
    found = page.column(column)
    assert found
    assert all(map(holds, found))


def test_a_filter_that_is_not_understood_says_so(page):
    page.open()
    page.browser.find_element(By.ID, "filter").send_keys("sigma>much nothing=3")
    assert page.js("return document.getElementById('count').textContent") == "Not understood: sigma>much nothing=3"
    assert page.js("return document.getElementById('filter').getAttribute('aria-invalid')") == "true"


def test_pages_of_the_table_show_every_trial_once(page):
    page.open()
    page.js("const size = document.getElementById('size'); size.value = '500'; size.dispatchEvent(new Event('input'))")
    seen: list[str] = []
    while True:
        seen += page.column(0)
        if page.js("return document.getElementById('forth').disabled"):
            break
        page.js("document.getElementById('forth').click()")
    assert len(seen) == len(set(seen)) >= TRIALS


def test_figures_follow_the_table_and_a_box_filters(page):
    page.open()
    page.js("document.getElementById('parallel').scrollIntoView()")
    lines = "(document.querySelector('#parallel .plot').data ?? []).map(one => one.x.filter(x => x === 0).length)"
    drawn = f"return {lines}.reduce((sum, some) => sum + some, 0)"
    page.until(f"{drawn} > 0")
    every = page.js(drawn)
    boxed = "document.querySelector('#parallel .plot').emit('plotly_selected', {range: {x: [0.8, 1.2], y: [0.6, 1.1]}})"
    page.until("return typeof document.querySelector('#parallel .plot').emit === 'function'")
    page.until(f"{boxed}; return document.getElementById('filter').value")
    assert page.js("return document.getElementById('filter').value").split() == ["omega.weight=2|4"]
    assert set(page.column(6)) <= {"2", "4"}
    page.until(f"{drawn.replace('return', 'const now =', 1)}; return now > 0 && now < arguments[0]", every)
    assert page.console() == []


def test_the_pareto_front_is_the_command_lines(page, sweep):
    from rnnsweep.app.results.sweep import Sweep

    page.open()
    page.js("document.getElementById('pareto').scrollIntoView()")
    page.until("return (document.querySelector('#pareto .plot').data ?? []).length === 3")
    front = page.js("return document.querySelector('#pareto .plot').data[2].text")
    assert sorted(front) == Sweep(NAME, sweep.place).front()


def test_failed_and_diverged_trials_are_there_with_their_reasons(page):
    page.open()
    text = page.until("return document.querySelector('#lost .reasons')?.textContent")
    assert "bug: ValueError: sigma is not positive" in text
    assert "lost: worker w3 died three times" in text
    assert "diverged" in text and "#30 at 1 300" in text


def test_another_metric_may_be_looked_at(page):
    page.open()
    page.until("return document.querySelector('#metric option[value=\"grad/norm\"]')")
    page.js("document.getElementById('metric').value = 'grad/norm'")
    page.js("document.getElementById('metric').dispatchEvent(new Event('change'))")
    page.js("document.getElementById('curves').scrollIntoView()")
    page.until("return document.querySelector('#curves .plot').layout?.yaxis.title.text === 'grad/norm'")
    page.until("return document.querySelector('#curves .plot').data.at(-1)?.y[1] === 0.5")
    assert page.console() == []


def test_the_buttons_are_those_of_where_the_sweep_is_now(page, front):
    shown = (
        "return [...document.querySelector('.steer .buttons').querySelectorAll('button')].map(one => one.value).join()"
    )
    page.open()
    assert page.js(shown) == "pause,stop"
    line = front.lines[0]
    front.lines[0] = replace(line, state=QueueState.PAUSED)
    try:
        # as it is in the ledger: nobody drives it, or another driver than the service's
        wanted = "" if page.js("return document.getElementById('state').textContent") == "RUNNING" else "resume"
        page.until(f"return ({shown[7:]}) === arguments[0]", wanted)
        front.lines[0] = replace(line, state=QueueState.QUEUED)
        page.until(f"return ({shown[7:]}) === 'stop'")
    finally:
        front.lines[0] = line
    page.until(f"return ({shown[7:]}) === 'pause,stop'")
    assert page.console() == []


def test_buttons_work_by_keyboard_alone(page, front):
    front.calls.clear()
    page.open()
    page.browser.switch_to.active_element.send_keys(Keys.TAB)
    assert page.browser.switch_to.active_element.text == "Skip to the content"
    for _ in range(40):
        active = page.browser.switch_to.active_element
        if active.text == "Pause":
            break
        active.send_keys(Keys.TAB)
    assert page.js("return getComputedStyle(document.activeElement).outlineStyle") == "solid"  # the focus is seen
    page.browser.switch_to.active_element.send_keys(Keys.ENTER)
    page.until("return document.querySelector('.said')")
    assert front.calls == [("pause", NAME, "paused by ada")]
    assert "pauses after the rung" in page.browser.find_element(By.CSS_SELECTOR, ".said").text


def test_a_point_is_made_of_the_space_and_a_wrong_one_keeps_what_was_typed(page, front):
    front.calls.clear()
    page.open()
    page.browser.find_element(By.XPATH, "//summary[text()='Enqueue a point']").click()
    sigma = page.browser.find_element(By.NAME, "point.init.sigma")
    sigma.send_keys("7")
    page.browser.find_element(By.XPATH, "//button[text()='Enqueue']").click()
    alert = page.browser.find_element(By.ID, "error").text
    assert alert == "points.0.init.sigma=7: is no value of what is searched; allowed: a number from 0.05 to 0.3"
    assert front.calls == []
    sigma = page.browser.find_element(By.NAME, "point.init.sigma")
    assert sigma.is_displayed() and sigma.get_attribute("value") == "7"
    sigma.clear()
    sigma.send_keys("0.1")
    page.browser.find_element(
        By.XPATH, "//select[@name='point.controllers.sampling.q_max']/option[text()='off']"
    ).click()
    page.browser.find_element(By.XPATH, "//button[text()='Enqueue']").click()
    page.until("return document.querySelector('.said')")
    point = {"controllers.sampling.q_max": float("inf"), "init.sigma": 0.1}
    assert front.calls == [("request", NAME, "enqueue", {"points": [point]})]


def test_a_trial_shows_its_curves_and_is_ended_from_its_page(page, front):
    front.calls.clear()
    page.open(f"/sweeps/{NAME}/trials/17")
    page.until("return document.querySelectorAll('#curves .main-svg').length > 0")
    assert "3 000 of 6 000" in page.browser.find_element(By.ID, "facts").text
    page.browser.find_element(By.XPATH, "//button[text()='End trial']").click()
    page.until("return document.querySelector('.said')")
    assert page.browser.current_url.endswith(f"/sweeps/{NAME}/trials/17?notice=end_trial")
    assert front.calls == [("request", NAME, "end_trial", {"trial": 17, "reason": "asked by ada"})]
    assert page.console() == []


@pytest.mark.parametrize("path", ["/", f"/sweeps/{NAME}", f"/sweeps/{NAME}/trials/3"])
@pytest.mark.parametrize("width", [1200, 360])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_fit_the_screen_in_both_schemes(page, path, width, scheme):
    page.see(width, scheme)
    page.open(path)
    for name in ("steer", "trials", "curves", "parallel", "pareto", "lost", "history"):
        page.js("document.querySelector(`#${arguments[0]}, .${arguments[0]}`)?.scrollIntoView()", name)
    page.js("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.js("return document.documentElement.scrollWidth") <= width
    assert page.console() == []


LUMINANCE = """
const parse = text => text.match(/[\\d.]+/g).map(Number);
const linear = part => (part /= 255) <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
const bright = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
const ground = one => {
  for (let at = one; at; at = at.parentElement) {
    const colour = parse(getComputedStyle(at).backgroundColor);
    if (colour.length < 4 || colour[3] > 0) return colour;
  }
  return [255, 255, 255];
};
const poor = [];
for (const one of document.querySelectorAll('main *, header *')) {
  const own = [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim());
  if (!own || one.closest('svg, .plot, script, .skip, :disabled') || !one.getClientRects().length) continue;
  const [a, b] = [bright(parse(getComputedStyle(one).color)), bright(ground(one))];
  const ratio = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
  if (ratio < 4.5) poor.push([one.tagName, one.className, one.textContent.trim().slice(0, 30), ratio]);
}
return poor;
"""


@pytest.mark.parametrize("path", ["/", f"/sweeps/{NAME}", f"/sweeps/{NAME}/trials/17"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(page, path, scheme):
    """By WCAG's formula of contrast, 4.5 : 1 is what level AA asks of text."""
    page.see(1200, scheme)
    page.open(path)
    page.js("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.js(LUMINANCE) == []


UNNAMED = """
const all = words => [...document.querySelectorAll(words)];
const label = one => one.getAttribute('aria-label');
const named = one => one.labels?.length || label(one) || one.textContent.trim() || one.type === 'hidden';
const own = all('main input, main select, main button, main a, summary').filter(one => !one.closest('.plot'));
const regions = all('[role=region], [role=img], [role=progressbar], nav').filter(one => !label(one));
const ids = all('[id]').filter(one => !one.closest('.plot')).map(one => one.id);
const by = name => all(`[${name}]`).map(one => one.getAttribute(name));
const named_by = [...by('aria-labelledby'), ...by('aria-describedby')];
return [
  own.filter(one => !named(one)).map(one => one.outerHTML), regions.map(one => one.outerHTML.slice(0, 80)),
  ids.filter((id, index) => ids.indexOf(id) !== index), named_by.filter(id => !document.getElementById(id)),
];
"""


@pytest.mark.parametrize("path", ["/", f"/sweeps/{NAME}", f"/sweeps/{NAME}/trials/17"])
def test_every_control_has_a_name(page, path):
    page.open(path)
    page.js("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.js(UNNAMED) == [[], [], [], []]


class HostileSweep(WrittenSweep):
    """A sweep in which every text is markup."""

    def space(self):
        choices = {"kind": "categorical", "choices": [HOSTILE, "</script><script>document.title='broken'</script>"]}
        return {"init.sigma": {"kind": "float", "low": 0.05, "high": 0.3}, f"family.{HOSTILE}": choices}

    def reason(self, number, state):
        return f"{state} {HOSTILE}"


def test_markup_in_names_choices_and_reasons_is_text(browser, tmp_path):
    written = HostileSweep(tmp_path, 60, name=HOSTILE)
    written.end(SweepState.STOPPED, f"stopped {HOSTILE}")
    lines = [QueuedSweep(HOSTILE, QueueState.ENDED, HOSTILE, reason=HOSTILE)]
    with served(page_app(NotingFront(written.place, lines), user=HOSTILE)) as base:
        page = Page(browser, base)
        page.open("/")
        page.browser.find_element(By.CSS_SELECTOR, "#sweeps tbody a").click()
        page.until("return document.body.dataset.seq")
        for name in ("curves", "parallel", "lost"):
            page.js("document.getElementById(arguments[0]).scrollIntoView()", name)
            time.sleep(0.5)
        page.until(
            "return document.querySelector('#parallel .main-svg') && document.querySelector('#curves .main-svg')"
        )
        assert HOSTILE in page.js("return document.querySelector('h1').textContent")
        assert HOSTILE in page.js("return document.querySelector('#lost').textContent")
        page.open(page.js("return document.querySelector('#table tbody a').getAttribute('href')"))
        assert HOSTILE in page.js("return document.querySelector('#params').textContent")
        assert page.js("return document.querySelectorAll('img').length") == 0
        page.browser.get(f"{base}/sweeps/%3Cimg%20src=x%20onerror=alert(1)%3E")  # what an error repeats
        assert "<img src=x" in page.browser.find_element(By.CSS_SELECTOR, "[role=alert]").text
        assert page.js("return document.querySelectorAll('img').length") == 0
        assert [line for line in page.console() if "404" not in line] == []
    written.close()


def test_a_service_that_goes_away_is_said_and_one_that_comes_back_too(browser, front):
    with served(page_app(front)) as base:
        page = Page(browser, base)
        page.open()
        page.until("return document.getElementById('link').dataset.state === 'live'")
    page.until("return document.getElementById('link').dataset.state === 'away'")
    assert page.js("return document.getElementById('link').textContent") == "the service does not answer"
    assert len(page.column(0)) == 50  # the table stays as it was
