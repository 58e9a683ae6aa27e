"""Every section draws labelled axes with plain numbers; an empty sweep has no figures, and says so by None."""

from __future__ import annotations

import dataclasses

import pytest

from rnnsweep.report.sections import SECTIONS
from tests.report.conftest import as_population, two_objectives

SECTION = pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.slug)


def full(data):
    """The sweep with a second objective and as a population, so that every section has something to show."""
    return as_population(two_objectives(data))


@SECTION
def test_every_axis_that_shows_numbers_is_labelled(section, data):
    figure = section.draw(full(data))
    assert figure is not None
    figure.draw_without_rendering()
    shown = [axes for axes in figure.axes if axes.get_visible() and axes.get_label() != "<colorbar>"]
    assert shown
    for axes in shown:
        for axis in (axes.xaxis, axes.yaxis):
            ticks = any(tick.get_text() for tick in axis.get_ticklabels() if tick.get_visible())
            assert axis.get_label_text() or not ticks, f"{section.slug}: an axis without a name"


@SECTION
def test_no_tick_is_written_as_a_power(section, data):
    """Matplotlib's log formatter writes $\\mathdefault{1.384\\times10^{0}}$ where an axis spans less than a decade."""
    narrow = full(data)
    curves = narrow.curves.copy()
    curves.loc[curves["key"] == "valid/loss", "value"] = 1.3 + 0.1 * curves["value"].abs().clip(upper=1)
    figure = section.draw(dataclasses.replace(narrow, curves=curves))
    figure.draw_without_rendering()
    ticks = [
        tick.get_text()
        for axes in figure.axes
        for axis in (axes.xaxis, axes.yaxis)
        for which in ("major", "minor")
        for tick in axis.get_ticklabels(which=which)
    ]
    assert not [text for text in ticks if "times" in text or "10^" in text]


@SECTION
def test_a_sweep_without_results_has_no_figure(section, empty):
    assert section.draw(empty) is None
    assert section.answer is None or section.answer(empty) == ""
    table = section.table(empty) if section.table else None
    assert table is None or table.empty


def test_slugs_are_file_names_and_unique():
    slugs = [section.slug for section in SECTIONS]
    assert len(set(slugs)) == len(slugs)
    assert all(slug.replace("_", "").isalnum() for slug in slugs)
