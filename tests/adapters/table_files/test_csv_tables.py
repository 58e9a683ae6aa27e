"""CSV: what is appended reads back to the bit, and a torn line is no point."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.table_files.csv_tables import HEADER, CsvTables


@pytest.mark.parametrize("lost", [1, 5, 30])
def test_a_torn_line_is_passed_over_and_cut_off(tmp_path, lost):
    form = CsvTables()
    form.add(tmp_path, {0: [("a", 10, 0.1), ("b", 10, 1 / 3)], None: [("sweep/best", 1, 0.5)]})
    points = [(0, "a", 10), (0, "b", 10), (None, "sweep/best", 1)]
    assert list(form.points(tmp_path)) == points
    file = tmp_path / "curves.csv"
    file.write_bytes(file.read_bytes()[:-lost])
    left = points[: 2 if lost < len(",1,sweep/best,0.5\n") else 1]
    assert list(form.points(tmp_path)) == left
    form.mend(tmp_path)
    form.add(tmp_path, {3: [("c", 1, 2.0)]})
    assert list(form.points(tmp_path)) == [*left, (3, "c", 1)]
    assert file.read_bytes().startswith(HEADER) and file.read_bytes().count(HEADER) == 1


def test_a_file_torn_within_its_header_begins_anew(tmp_path):
    form, file = CsvTables(), tmp_path / "curves.csv"
    file.write_bytes(HEADER[:7])
    assert list(form.points(tmp_path)) == []
    form.mend(tmp_path)
    form.add(tmp_path, {0: [("a", 1, 1.5)]})
    assert file.read_bytes() == HEADER + b"0,1,a,1.5\n"


def test_the_table_keeps_what_csv_must_quote(tmp_path):
    form = CsvTables()
    assert form.read_trials(tmp_path) == []
    columns = [("trial", "int"), ("state", "text"), ("step", "int"), ("reason", "text")]
    form.write_trials(tmp_path, columns, [[0, "FAILED", 3, 'a,"b"\nc'], [1, "RUNNING", 0, None]])
    assert form.read_trials(tmp_path) == [(0, "FAILED", 3), (1, "RUNNING", 0)]
