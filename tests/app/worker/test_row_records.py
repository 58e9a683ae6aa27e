"""Reports inside checkpoints, and failures with their reasons."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
import torch

from rnnsweep.app.worker.row_records import failures_of, hash_of, no_memory, plain_report, reports_of
from rnnsweep.sweep.rows import RowReport, RowSpec
from rnnsweep.sweep.states import RowState


def failure(kind: str, error: Exception):
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - the function is called where an exception is handled
        return failures_of([RowSpec(3, 1, "t", {}, 20)], kind, caught)[0]


def test_a_bug_carries_its_class_first_line_and_traceback():
    found = failure("bug", ValueError("first\nsecond"))
    assert (found.trial, found.replica, found.token, found.reason) == (3, 1, "t", "ValueError: first")
    assert "test_row_records" in found.traceback


def test_a_refusal_is_a_reason_without_a_traceback():
    found = failure("refused", ValueError("sigma must be > 0"))
    assert (found.reason, found.traceback) == ("sigma must be > 0", "")


def test_an_error_without_words_is_its_class():
    assert failure("bug", KeyboardInterruptLike()).reason.endswith("KeyboardInterruptLike")


class KeyboardInterruptLike(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "memory"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("shapes do not fit"), False),
        (ValueError("can't allocate memory"), False),
    ],
)
def test_memory_that_ran_out_is_known_by_its_error(error, memory):
    assert no_memory(error) is memory


def test_reports_survive_json():
    report = RowReport(1, 0, "t", 2, 20, {"valid/error": 0.5}, RowState.SOLVED, solved_at=17, engine="cpu")
    saved = SimpleNamespace(extra={"reports": [json.loads(json.dumps(plain_report(report)))]})
    assert reports_of(saved) == [report]  # type: ignore[arg-type]


def test_a_points_hash_does_not_depend_on_the_order_of_its_keys():
    assert hash_of({"a": 1, "b": 2.5}) == hash_of({"b": 2.5, "a": 1}) != hash_of({"a": 1, "b": 2.0})
