"""The page stands alone, escapes what comes from the sweep, and its files are the same numbers."""

from __future__ import annotations

import base64
import dataclasses
import io
import os
import re

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image

from rnnsweep.report import lead, page_tables
from rnnsweep.report.overview import _headline, _small_print
from rnnsweep.report.page import FORMATS, drawn, embed, facts, render, write_overview, write_report
from rnnsweep.report.scores import with_scores
from rnnsweep.report.search_history import history
from rnnsweep.report.sections import SECTIONS
from rnnsweep.sweep.plan import Objective
from tests.report.conftest import as_population, two_objectives


@pytest.fixture
def unpainted(monkeypatch):
    """For what a page says: every picture is one and the same, as painting takes longer than all else together."""
    figure = Figure(figsize=(0.1, 0.1))
    pictures = {kind: drawn(figure, kind) for kind in ("png", *FORMATS)}
    monkeypatch.setattr("rnnsweep.report.page.drawn", lambda figure, kind="png": pictures[kind])


def test_report_writes_page_pictures_and_tables(data, tmp_path):
    page = write_report(as_population(two_objectives(data)), tmp_path)
    text = page.read_text()
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"{section.slug}.png" for section in SECTIONS} | {"overview.png", "index.html", "trials.csv"} <= names
    assert not [name for name in names if name.startswith(".")]  # no drafts left behind
    assert len(re.findall(r'src="data:image/png;base64,', text)) == len(SECTIONS)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)  # nothing is loaded from elsewhere
    assert pd.read_csv(tmp_path / "trials.csv")["trial"].tolist() == data.trials["trial"].tolist()


def bare(data):
    """The page with all sections but no pictures, which take seconds to draw."""
    rest = {"caption": "", "src": "", "answer": lead.verdict(data), "caution": "", "table": None, "interactive": ""}
    return render(data, [{"slug": section.slug, "title": section.title, **rest} for section in SECTIONS], {})


def test_every_section_is_in_the_navigation(data):
    text = bare(dataclasses.replace(data, changes=("0: x",), edits=("version 1 from trial 3 on: <x>",)))
    sections = re.findall(r'<section id="([^"]+)"', text)
    assert sections == re.findall(r'<a href="#([^"]+)"', text)
    assert "best" in sections
    assert "version 1 from trial 3 on: &lt;x&gt;" in text


def test_things_are_counted_in_words_that_fit_their_number(data):
    one = dataclasses.replace(data, replicas_per_trial=1, trials=data.trials.head(1))
    shown = [bare(data), _small_print(data), bare(one), _small_print(one)]
    assert not [word for text in shown for word in re.findall(r"\w+\(s\)", text.split("<script>")[0])]
    assert "over 1 replica</small>" in shown[2]
    assert shown[3].startswith("1 trial × 1 replica, up")


def test_a_time_to_solve_that_has_not_come_is_no_time(data):
    never = data.trials.assign(objective=6000.0, solved_at=float("nan"))
    late = dataclasses.replace(data, objective=Objective("solved_at"), trials=never)
    text = bare(late)
    assert dict(facts(late))["best solved_at"] == "> 6 000"
    assert "trials tie at &gt; 6 000" in text
    assert "<td>&gt; 6 000</td>" in text
    assert _headline(late).startswith("best updates to solve > 6 000 (trial ")
    timely = dataclasses.replace(late, trials=never.assign(objective=800.0, solved_at=800.0))
    assert dict(facts(timely))["best solved_at"] == "800"
    assert "<td>&gt; " not in bare(timely)


def test_text_from_the_sweep_is_escaped(data, tmp_path, unpainted):
    text = write_report(data, tmp_path).read_text()
    assert "ValueError &lt;x&gt;" in text
    assert "ValueError <x>" not in text


def test_report_of_a_sweep_that_has_just_begun(data, empty, tmp_path, unpainted):
    write_report(data, tmp_path)
    text = write_report(empty, tmp_path).read_text()
    assert "No trial is complete yet" in text
    assert not (tmp_path / "history.png").exists()  # an earlier report's picture would be a lie
    assert write_overview(empty, tmp_path) is None


def test_facts_count_states(data):
    found = dict(facts(data))
    counts = data.trials["state"].value_counts()
    assert found["complete"] == f"{counts['COMPLETE']} of {len(data.trials)}"
    assert found["failed"] == "1"


def test_missing_values_show_as_a_dash(data, tmp_path, unpainted):
    trials = data.trials.assign(objective=float("nan"))
    text = write_report(dataclasses.replace(data, trials=trials), tmp_path).read_text()
    assert ">nan<" not in text


def test_vector_figures_for_papers_come_on_demand_and_go_when_not_asked_for(data, tmp_path, unpainted):
    write_report(data, tmp_path, ["svg", "pdf"])
    assert (tmp_path / "history.svg").read_bytes().startswith(b"<?xml")
    assert (tmp_path / "history.pdf").read_bytes().startswith(b"%PDF")
    write_report(data, tmp_path)
    assert not [path for kind in FORMATS for path in tmp_path.glob(f"*.{kind}")]


def test_equal_data_give_equal_files(data):
    for kind in ("png", *FORMATS):
        assert drawn(history(data), kind) == drawn(history(data), kind)
    assert b"/FontType 3" not in drawn(history(data), "pdf")  # journals refuse them


def test_ties_are_said_beside_the_winner(data):
    tied = data.trials.assign(objective=data.trials["objective"].where(data.trials["trial"] > 2, 0.0))
    found = dict(facts(dataclasses.replace(data, trials=tied)))
    assert found["first of 3 that tie"].startswith("#")


def test_facts_say_when_trials_diverged_and_how_many_asks_were_informed(data):
    assert dict(facts(data))["diverged"] == "1, first at 420"
    assert "asks that knew results" not in dict(facts(data))
    informed = dataclasses.replace(data, trials=data.trials.assign(informed=[0] * 20 + [20] * 4))
    assert dict(facts(informed))["asks that knew results"] == "4 of 24"


def test_the_page_answers_and_cautions(data, tmp_path, unpainted):
    text = write_report(dataclasses.replace(data, noise=0.3), tmp_path).read_text()
    assert "luck of the seed" in text
    assert "Caution: only" in text
    assert "Not told from luck" in text
    assert "1 × bug: ValueError &lt;x&gt; (#7)" in text


def test_leftovers_of_killed_and_earlier_reports_are_removed(data, tmp_path, unpainted):
    for name in ("interactive.html", ".index.html.elsewhere-1.draft"):
        (tmp_path / name).write_text("old")
        os.utime(tmp_path / name, (0, 0))
    write_report(data, tmp_path)
    assert not (tmp_path / "interactive.html").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_picture_in_the_page_keeps_its_colours(data):
    """In 256 of them: white to the bit, as the page is white; all others within 1/10 of what they were."""
    image = drawn(history(data))
    content = base64.b64decode(embed(Image.open(io.BytesIO(image))).partition(",")[2])
    before, after = (np.asarray(Image.open(io.BytesIO(one)).convert("RGB"), int) for one in (image, content))
    white = (before == 255).all(axis=-1)
    assert white.mean() > 0.5 and (after[white] == 255).all()
    assert abs(after - before).max() < 26
    assert len(content) < len(image)


def test_a_mean_with_times_that_have_not_come_is_a_bound_on_the_page(data):
    """Of the best trial's replicas one has not solved: its mean and its largest value are only what they are above."""
    trials = data.trials.assign(objective=1250.0, solved_at=500.0, unsolved=1)
    mean = dataclasses.replace(data, objective=Objective("solved_at", reduce="mean"), trials=trials)
    assert dict(facts(mean))["best solved_at"] == "> 1 250"
    first = with_scores(mean, page_tables.best(mean)).iloc[0]
    assert first["objective"] == "> 1 250"
    assert not str(first["replicas from"]).startswith("> ") and first["to"].startswith("> ")
    whole = dataclasses.replace(mean, trials=trials.assign(unsolved=0))
    assert dict(facts(whole))["best solved_at"] == "1 250"
    median = dataclasses.replace(mean, objective=Objective("solved_at", reduce="median"))
    assert dict(facts(median))["best solved_at"] == "1 250"  # half of its replicas are enough for it
