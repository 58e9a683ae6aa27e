"""The page stands alone, escapes what comes from the sweep, and its files are the same numbers."""

from __future__ import annotations

import dataclasses
import re

import pandas as pd

from rnnsweep.report.page import SECTIONS, facts, write_overview, write_report


def test_report_writes_page_pictures_and_tables(data, tmp_path):
    page = write_report(data, tmp_path)
    text = page.read_text()
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"{section.slug}.png" for section in SECTIONS} | {"overview.png", "index.html", "trials.csv"} <= names
    assert not [name for name in names if name.startswith(".")]  # no drafts left behind
    assert len(re.findall(r'src="data:image/png;base64,', text)) == len(SECTIONS)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)  # nothing is loaded from elsewhere
    assert pd.read_csv(tmp_path / "trials.csv")["trial"].tolist() == data.trials["trial"].tolist()


def test_text_from_the_sweep_is_escaped(data, tmp_path):
    text = write_report(data, tmp_path).read_text()
    assert "ValueError &lt;x&gt;" in text
    assert "ValueError <x>" not in text


def test_report_of_a_sweep_that_has_just_begun(data, empty, tmp_path):
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


def test_missing_values_show_as_a_dash(data, tmp_path):
    trials = data.trials.assign(objective=float("nan"))
    text = write_report(dataclasses.replace(data, trials=trials), tmp_path).read_text()
    assert ">nan<" not in text
