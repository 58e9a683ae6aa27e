"""Where kernels of a GPU run in tests: on one where there is one, else on tensors of the CPU.

Triton's in its interpreter, CUDA C++ compiled for the CPU (`tests.kit.cuda_on_cpu`).
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

from rnnsweep.core.recurrence.gpu import layout
from tests.kit import cuda_on_cpu


def missing(reason: str) -> None:
    """Where everything is installed on purpose (CI), an absent piece is a failure."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="module")
def triton_interpreter() -> Iterator[str]:
    """The device that kernels run on; the variable must be set before triton is imported, and while kernels run."""
    if importlib.util.find_spec("triton") is None:
        missing("triton is not installed: the extra rnnsweep[gpu] has it")
    torch.set_num_threads(1)
    with full_device():
        if torch.cuda.is_available():
            yield "cuda"
        else:
            with interpreted():
                yield "cpu"


@contextmanager
def full_device() -> Iterator[None]:
    """Loops are cut as those of a pack that fills a device, though the tests' packs have a few rows only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "MULTIPROCESSORS", 1)
        yield


@contextmanager
def interpreted() -> Iterator[None]:
    """Kernels run without a device."""
    if shutil.which("g++") is None:
        missing("g++ is not on the PATH: it compiles CUDA C++ for the CPU")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        from triton.language import philox_impl
        from triton.runtime.interpreter import InterpretedFunction

        from rnnsweep.core.gpu.random_numbers import philox_kernel
        from rnnsweep.core.recurrence.gpu import compiling

        # Triton's own functions too: kernels of ours that are imported later would call compiled ones
        if not all(isinstance(function, InterpretedFunction) for function in (philox_kernel, philox_impl)):
            missing("triton was imported before the interpreter was chosen: run these tests in a process of their own")
        # CUDA C++ is compiled for the CPU
        patch.setattr(compiling, "kernel", cuda_on_cpu.kernel)
        yield
