"""The front door on the inline executor; the long runs are in tests/e2e."""

from __future__ import annotations

import pytest

import rnnsweep
from rnnsweep.errors import ConfigError
from tests.kit.tiny import TINY


def test_launch_ends_complete(tiny):
    _, sweep = tiny
    status = sweep.status()
    assert status["state"] == "COMPLETE"
    assert status["trials"]["complete"] == 3
    assert status["updates"] == 3 * 20


def test_launch_refuses_a_name_that_is_taken(tiny):
    root, _ = tiny
    with pytest.raises(ConfigError, match="resume tiny"):
        rnnsweep.launch("quickstart", ["name=tiny", *TINY], store=root, progress=False)
