"""What Ctrl-C is answered, by what it ended."""

from __future__ import annotations

import pickle

import pytest

from rnnsweep.app.cli.interruption import farewell
from rnnsweep.errors import SweepInterrupted


@pytest.mark.parametrize(
    ("command", "error", "text", "code"),
    [
        ("launch", SweepInterrupted("rnnsweep resume a"), "Interrupted. Go on with: rnnsweep resume a", 3),
        ("launch", KeyboardInterrupt(), "Interrupted. A sweep that has begun goes on with: rnnsweep resume NAME", 130),
        ("table", KeyboardInterrupt(), "Interrupted.", 130),
    ],
)
def test_resumable_is_3_all_else_130(command, error, text, code):
    assert farewell(command, error) == (text, code)


def test_it_survives_pickling_and_stays_a_keyboard_interrupt():
    error = pickle.loads(pickle.dumps(SweepInterrupted("rnnsweep resume a")))
    assert isinstance(error, KeyboardInterrupt)
    assert (error.command, str(error)) == ("rnnsweep resume a", "interrupted; go on with: rnnsweep resume a")
