"""What holds for every test: one thread, float64, and fixtures that any of them may ask for."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator

import pytest

# Libraries read these when they are imported, which no conftest or test has done yet. One thread: sums of several
# threads round differently from run to run, and test processes run side by side already.
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
os.environ.update(dict.fromkeys(THREADS, "1"))

# Ray's workers have niceness 15 by themselves: beside tests that compute, one gets a thirtieth of a core, and does not
# start within a deadline of seconds.
os.environ.update(RAY_worker_niceness="0")

# Tests start hundreds of processes: each would compile our modules anew, for 4 s, where the shell forbids to keep them.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# Processes of the tests inherit what is ignored here: Ctrl-C in a shell's background, a closed terminal under nohup.
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

from tests.kit.shapes import check_shapes, forget_calls  # noqa: E402

check_shapes()  # before the first import of a module with shapes

from tests.kit.postgres import postgres_server, postgres_url  # noqa: E402

__all__ = ["postgres_server", "postgres_url"]


def pytest_collection_finish() -> None:
    """Numbers that tests make without naming a type are float64; torch is not imported for those that need none."""
    if "torch" in sys.modules:
        import torch

        torch.set_default_dtype(torch.float64)


def pytest_runtest_setup() -> None:
    """Shapes of a function's first calls are checked in every test."""
    forget_calls()


@pytest.fixture(autouse=True)
def modules_of_a_test_are_its_own(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a test wrote and imported is imported by nobody else: a process has one module of a name."""
    mine = str(request.getfixturevalue("tmp_path")) if "tmp_path" in request.fixturenames else ""
    before = len(sys.modules)
    yield
    if len(sys.modules) == before or not mine:
        return
    for name, module in list(sys.modules.items())[before:]:
        if (getattr(module, "__file__", None) or "").startswith(mine):
            del sys.modules[name]
