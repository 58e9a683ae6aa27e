"""Parquet: parts fill up one after the other, and drafts of a killed writer are no part."""

from __future__ import annotations

import pandas

from rnnsweep.adapters.table_files.parquet_tables import ParquetTables


def test_parts_fill_up_and_keep_the_order(tmp_path):
    form = ParquetTables(part_rows=4)
    for step in range(1, 8):
        form.add(tmp_path, {0: [("a", step, step / 3), ("b", step, 0.5)]})
    assert [file.name for file in sorted((tmp_path / "curves").iterdir())] == [
        f"part-{n:06d}.parquet" for n in range(4)
    ]
    assert list(form.points(tmp_path)) == [(0, key, step) for step in range(1, 8) for key in "ab"]
    (tmp_path / "curves" / ".part-000009.parquet.draft").write_bytes(b"torn")
    frame = pandas.read_parquet(tmp_path / "curves")
    assert frame[frame.metric == "a"].value.tolist() == [step / 3 for step in range(1, 8)]


def test_the_table_has_its_types(tmp_path):
    form = ParquetTables()
    assert form.read_trials(tmp_path) == []
    columns = [("trial", "int"), ("state", "text"), ("step", "int"), ("objective", "float")]
    form.write_trials(tmp_path, columns, [[0, "COMPLETE", 3, 0.1], [1, "RUNNING", 0, None]])
    assert form.read_trials(tmp_path) == [(0, "COMPLETE", 3), (1, "RUNNING", 0)]
    frame = pandas.read_parquet(tmp_path / "trials.parquet")
    assert frame.objective.dtype == "float64" and frame.trial.dtype == "int64"
