"""The measurement counts rows and operations right; what a process fails at is no silent hang."""

from __future__ import annotations

import os

import pytest
import torch

from rnnsweep.app.studies import bench


def test_rows_are_split_over_processes_without_a_rest():
    for rows in range(1, 20):
        parts = bench._split(rows, 4)
        assert sum(parts) == rows
        assert max(parts) - min(parts) <= 1 or rows < 4


def test_operations_are_those_of_the_recurrent_matrix():
    config = bench.bench_config(["task.length=20", "family.hidden=7", "training.batch=3", "engine=reference"])
    pack = bench.pack_for(config, 3, torch.device("cpu"), distinct=2)
    assert len(pack) == 3
    assert bench.operations_of(pack.program) == 6 * 20 * 3 * 7 * 7
    assert torch.equal(pack.params[0], pack.params[2]) and not torch.equal(pack.params[0], pack.params[1])


@pytest.mark.slow
def test_results_come_one_by_one():
    config = bench.bench_config(["task.length=10", "family.hidden=4", "training.batch=2"])
    found = bench.measure(config, ["reference"], [1, 2], 1, 1)
    first = next(found)
    assert (first["rows"], first["engine"], first["device"]) == (1, "reference", "cpu")
    assert first["ms_per_row_update"] > 0
    assert [result["rows"] for result in found] == [2]


def test_share_of_gemm_by_hand():
    first = {"engine": "cpu", "device": "cpu", "T": 100, "B": 10, "H": 100, "operations": 60_000_000, "note": ""}
    # 6 * 100 * 10 * 10 000 = 60 MFLOP in 1 ms: 60 GFLOP/s, half of 120
    assert bench._result(first, 8, 1e-3, 120.0)["share_of_gemm"] == pytest.approx(0.5)
    assert bench._result(first, 8, 1e-3, 120.0)["ms_per_row_update"] == pytest.approx(1.0)


def fails(barrier):
    raise ValueError("no")


def test_a_process_that_fails_ends_all(capfd):
    with pytest.raises(RuntimeError, match="traceback is above"):
        bench.together(fails, [(), ()])
    assert "ValueError: no" in capfd.readouterr().err


def its_threads(barrier):
    return os.environ["NUMBA_NUM_THREADS"]


def test_only_its_processes_are_held_to_one_thread(monkeypatch):
    monkeypatch.delenv("NUMBA_NUM_THREADS", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert bench.together(its_threads, [(), ()]) == ["1", "1"]
    assert "NUMBA_NUM_THREADS" not in os.environ and os.environ["OMP_NUM_THREADS"] == "3"
