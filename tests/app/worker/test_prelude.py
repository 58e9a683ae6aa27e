"""What a worker loads before it knows what it trains."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
import threading

import pytest
import torch

from rnnsweep.app.worker import prelude
from rnnsweep.core import rng

FRESH = """
import sys
from rnnsweep.app.worker import prelude
assert "torch" not in sys.modules
prelude.load("cpu")
import gc
assert gc.get_freeze_count() > 100_000 > len(gc.get_objects())
print(all(name in sys.modules for name in (*prelude.ALWAYS, *prelude.ON_CPU)), "triton" in sys.modules)
"""


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """What is done with a GPU, which this machine need not have, and in which thread."""
    calls: list[tuple[str, str]] = []

    def note(what: str) -> None:
        calls.append((what, threading.current_thread().name))

    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(prelude, "_open_gpu", lambda: note("context"))
    monkeypatch.setattr(rng, "kernels_on", lambda device: note(str(device)))
    return calls


def test_all_is_there_that_a_trainer_is_built_of():
    done = subprocess.run([sys.executable, "-c", FRESH], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["True", "False"], done.stderr


def test_the_lists_name_modules_that_exist():
    found = [importlib.util.find_spec(name) for name in (*prelude.ALWAYS, *prelude.ON_CPU, *prelude.ON_GPU[1:])]
    assert None not in found


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_a_gpu_is_opened_in_a_thread_that_has_ended_when_the_trainer_is_built(opened, device):
    before = threading.active_count()
    prelude.load(device)
    assert opened == [("context", "device"), ("cuda", threading.current_thread().name)]
    assert threading.active_count() == before


def test_a_gpu_that_the_config_does_not_want_is_left_alone(opened):
    prelude.load("cpu")
    assert [what for what, _ in opened] == ["cpu"]


def test_what_fails_is_left_to_who_needs_it(opened, monkeypatch):
    def refuse(*given):
        raise RuntimeError("out of memory")

    monkeypatch.undo()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "zeros", refuse)
    monkeypatch.setattr(importlib, "import_module", refuse)
    prelude.load("auto")


def test_no_number_changes():
    keys = torch.tensor([3, 4])
    before = rng.normals(keys, 5, 1)
    prelude.load("cpu")
    assert torch.equal(rng.normals(keys, 5, 1), before)
