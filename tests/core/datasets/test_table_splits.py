"""Parts: as many as asked for, the same whatever the order in the file, groups together, times in order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.datasets.table_columns import Table as Columns
from rnnsweep.core.datasets.table_columns import objects, typed
from rnnsweep.core.datasets.table_sequences import arrange
from rnnsweep.core.datasets.table_splits import segments

SHARES = (0.7, 0.15, 0.15)


def table(frame: pd.DataFrame, tmp_path) -> Columns:
    columns = {
        name: frame[name].to_numpy(np.float64) if frame[name].dtype.kind in "fi" else objects(frame[name])
        for name in frame
    }
    return Columns(
        tmp_path, (tmp_path,), columns, np.zeros(len(frame), np.int32), np.arange(2, len(frame) + 2), None, ()
    )


def frame(count: int, steps: int = 3) -> pd.DataFrame:
    index = np.repeat(np.arange(count), steps)
    return pd.DataFrame(
        {
            "id": [f"s{i}" for i in index],
            "t": np.tile(np.arange(steps), count) + 100.0 * index,
            "who": [f"p{i // 4}" for i in index],
            "part": [SPLITS[0 if i < count - 4 else 1 if i < count - 2 else 2] for i in index],
            "a": np.random.default_rng(1).normal(size=len(index)),
        }
    )


def named(sequences, found):
    parts = {split: set() for split in SPLITS}
    for segment in found:
        parts[segment.part].add(sequences.names[segment.sequence])
    return parts


@settings(deadline=None, max_examples=30)
@given(count=st.integers(3, 60), split=st.sampled_from(["random", "time"]))
def test_shares_are_as_asked_for(count, split, tmp_path_factory):
    sequences = arrange(table(frame(count), tmp_path_factory.getbasetemp()), "id", None)
    found = named(sequences, segments(sequences, split, None, SHARES, None, cut=False))
    sizes = [len(found[part]) for part in SPLITS]
    assert sum(sizes) == count and min(sizes) >= 1
    for size, share in zip(sizes[1:], SHARES[1:], strict=True):
        assert abs(size - count * share) <= 0.5 or size == 1


@pytest.mark.parametrize("group", ["id", None])
def test_random_parts_do_not_depend_on_the_order_in_the_file(group, tmp_path):
    """Neither where names tell sequences apart nor where their content does."""
    whole, rng = frame(20), np.random.default_rng(3)
    shuffled = pd.concat([part for _, part in sorted(whole.groupby("id"), key=lambda _: rng.random())])
    contents = []
    for each in (whole, shuffled):
        made = table(each.reset_index(drop=True), tmp_path)
        if group is None:  # as a file that says what a sequence is, by numbers
            numbers = pd.factorize(each["id"])[0].astype(np.int64)
            made = Columns(
                made.path, made.files, made.columns, made.file, made.row, numbers, tuple(map(str, range(20)))
            )
        sequences = arrange(made, group, None)
        found = segments(sequences, "random", None, SHARES, None, cut=False)
        rows = [made.columns["a"][sequences.order[one.start : one.end]].tobytes() for one in found]
        contents.append(list(zip(rows, [one.part for one in found], strict=True)))
    assert contents[0] == contents[1], "the same sequences in the same order"


def test_one_more_sequence_moves_hardly_any(tmp_path):
    before, after = (
        named(sequences, segments(sequences, "random", None, SHARES, None, cut=False))
        for sequences in (arrange(table(frame(count), tmp_path), "id", None) for count in (100, 101))
    )
    assert sum(len(before[part] - after[part]) for part in SPLITS) <= 2


def test_groups_stay_together(tmp_path):
    sequences = arrange(table(frame(80), tmp_path), "id", None)
    found = named(sequences, segments(sequences, "group", "who", SHARES, None, cut=False))
    whose = {name: {f"p{int(each[1:]) // 4}" for each in found[name]} for name in SPLITS}
    assert not (whose["train"] & whose["valid"] or whose["train"] & whose["test"] or whose["valid"] & whose["test"])
    assert [len(found[part]) for part in SPLITS] == pytest.approx([56, 12, 12], abs=4)
    for count in (9, 10, 12):  # three groups: one each
        sequences = arrange(table(frame(count), tmp_path), "id", None)
        found = segments(sequences, "group", "who", SHARES, None, cut=False)
        assert {segment.part for segment in found} == set(SPLITS)


def test_parts_as_given_and_what_is_not_given_is_taken_from_training(tmp_path):
    whole = frame(20)
    sequences = arrange(table(whole, tmp_path), "id", None)
    found = named(sequences, segments(sequences, "given", "part", SHARES, None, cut=False))
    assert found["valid"] == {"s16", "s17"} and found["test"] == {"s18", "s19"}
    whole["part"] = ["train" if part == "train" else "test" for part in whole["part"]]
    sequences = arrange(table(whole, tmp_path), "id", None)
    found = named(sequences, segments(sequences, "given", "part", SHARES, None, cut=False))
    assert found["test"] == {"s16", "s17", "s18", "s19"}
    assert len(found["valid"]) == round(16 * 0.15)


def test_time_puts_sequences_in_a_row_or_cuts_each(tmp_path):
    whole = frame(20).iloc[::-1].reset_index(drop=True)
    sequences = arrange(table(whole, tmp_path), "id", "t")
    found = named(sequences, segments(sequences, "time", None, SHARES, "t", cut=False))
    assert found["train"] == {f"s{i}" for i in range(14)} and found["test"] == {"s17", "s18", "s19"}
    sequences = arrange(table(frame(2, steps=20), tmp_path), "id", "t")
    cut = segments(sequences, "time", None, SHARES, "t", cut=True)
    assert [(one.start, one.end, one.part) for one in cut[:3]] == [
        (0, 14, "train"),
        (14, 17, "valid"),
        (17, 20, "test"),
    ]


def test_dates_are_times(tmp_path):
    whole = frame(1, steps=4)
    whole["t"] = ["2024-03-01", "2024-02-01T10:00:00", "2024-02-01", "2023-12-31T00:00:00Z"]
    assert arrange(table(whole, tmp_path), "id", "t").order.tolist() == [3, 2, 1, 0]


def test_cells_as_they_are_written():
    assert typed(["1", "x"]).dtype == object
    assert typed(["01", "1e3", ""]).dtype == np.float64
