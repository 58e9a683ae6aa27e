"""The front door on the inline executor; the long runs are in tests/e2e."""

from __future__ import annotations

import subprocess
import sys

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


def test_names_are_there_before_their_first_use():
    """In a fresh interpreter, where nothing has been loaded yet."""
    code = "import rnnsweep; print([n for n in sorted({*dir(rnnsweep)} ^ {*rnnsweep.__all__}) if n[:2] != '__'])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.slow
def test_mlflow_stays_silent_even_where_it_was_imported_before(tmp_path):
    mirrored = [text for text in TINY if text not in ("tracker=none", "store.optuna=none")]
    code = (
        f"import mlflow, rnnsweep\nrnnsweep.launch('quickstart', ['name=m', 'budget.trials=1', *{mirrored!r}],"
        f" store={str(tmp_path)!r}, progress=False)"
    )
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert "INFO" not in done.stdout + done.stderr


def test_an_existing_sweep_is_known_by_the_name_that_a_launch_would_give(store):
    from rnnsweep.app.api import existing

    name, known = existing("search", ["name=quickstart"], store=store)
    assert (name, known is not None and known.root) == ("quickstart", store)
    assert existing("search", store=store) == ("search", None)
