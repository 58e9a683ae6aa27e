"""Each cell of a preset's grid has one place in its published table, and medium budgets can decide."""

from __future__ import annotations

from functools import cache

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.studies.papers import PAPERS, TABLES
from rnnsweep.report.questions import Effect


def places(name):
    paper = PAPERS[name]
    config = loaded(paper.preset, ())
    cells = config.plan.enqueue or list(config.plan.space.grid())
    return [paper.place(resolve_point(config.variants, cell)) for cell in cells]


def updates_of(preset, overrides):
    return loaded(preset, tuple(one for one in overrides if one.startswith("budget."))).plan.budget.updates


@cache
def loaded(preset, overrides):
    return load(preset, overrides, check_units=False)


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_every_trial_has_a_place_in_the_published_table(name):
    table = TABLES[name]
    columns = {column.removesuffix(" best").removesuffix(" mean") for column in table.columns}
    for row, column in places(name):
        assert row in table.rows
        assert column in columns


def test_figure_7_is_filled_cell_by_cell():
    found = places("pascanu_fig7")
    assert len(found) == len(set(found)) == 45  # 3 networks, 3 methods, 5 lengths


def test_table_1_keeps_one_learning_rate_per_cell():
    found = places("chernodub_table1")
    assert len(found) == 48
    assert len(set(found)) == 16  # 2 lengths, off and on, 4 tasks; three rates each


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_scales_grow(name):
    parts = PAPERS[name].scales
    assert list(parts) == ["smoke", "small", "medium", "full"]
    updates = [max(updates_of(part.preset or PAPERS[name].preset, part.overrides) for part in parts[s]) for s in parts]
    assert updates == sorted(updates)


@pytest.mark.parametrize("name", sorted(PAPERS))
def test_questions_ask_about_rows_of_their_table(name):
    asked = PAPERS[name].questions
    assert asked
    rows = {row for question in asked if isinstance(question, Effect) for pair in question.rows for row in pair}
    assert rows <= set(TABLES[name].rows)


def test_a_deviation_is_what_differs_and_what_counts(tmp_path):
    from rnnsweep.app.studies import reproduce

    same = reproduce.prepare("orthogonal_memory", "small", store=tmp_path)
    assert not any(text.startswith("replicas") for text in reproduce.deviations(same))  # 3 in the presets, too
    more = reproduce.prepare("orthogonal_memory", "small", ["replicas=6"], store=tmp_path)
    found = [text for text in reproduce.deviations(more) if text.startswith("replicas")]
    assert found == ["replicas = 6; the preset has 3."]
