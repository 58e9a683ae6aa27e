"""What `bench` measures."""

from __future__ import annotations

import pytest

from rnnsweep.app.studies.bench import _split, bench_config


@pytest.mark.parametrize(("rows", "processes", "shares"), [(8, 1, [8]), (8, 3, [3, 3, 2]), (2, 4, [1, 1])])
def test_rows_are_shared_evenly_and_nobody_is_idle(rows, processes, shares):
    assert sorted((share for share in _split(rows, processes) if share), reverse=True) == shares


def test_the_measured_point_is_the_standard_one_and_can_be_changed():
    assert (bench_config([])["task"]["length"], bench_config([])["family"]["hidden"]) == (100, 100)
    assert bench_config(["family.hidden=12"])["family"]["hidden"] == 12
