"""MLflow is imported by one thread at a time."""

from __future__ import annotations

import subprocess
import sys

import pytest

CODE = """
import importlib, sys, threading

sys.setswitchinterval(1e-5)  # the two take turns within every import
both, errors = threading.Barrier(2), []

def load(name):
    both.wait()
    try:
        importlib.import_module(name)
    except Exception as error:
        errors.append(f"{name}: {error!r}")

names = ("rnnsweep.adapters.mlflow.server", "rnnsweep.adapters.mlflow.store")
threads = [threading.Thread(target=load, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
sys.exit("; ".join(errors) or 0)
"""


@pytest.mark.slow
def test_two_threads_that_need_mlflow_at_once_both_get_it() -> None:
    """A short sweep with an MLflow server: the mirror begins to import MLflow, the result looks for its runs there."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
