"""The gpu engine for tests: on the GPU where there is one, else in Triton's interpreter on CPU tensors."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from rnnsweep.core import types


def moved(value: Any, device: str) -> Any:
    """Tensors of a value, tuple or record of `core.types` on a device."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(moved(item, device) for item in value)
    if type(value).__module__ == types.__name__ and dataclasses.is_dataclass(value):
        return type(value)(**{f.name: moved(getattr(value, f.name), device) for f in dataclasses.fields(value)})
    return value


class OnDevice:
    """An engine as the contract suite wants it: tensors of the CPU come in and go out."""

    def __init__(self, engine: Any, device: str) -> None:
        self.engine, self.device = engine, device

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.engine, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **named: Any) -> Any:
            return moved(member(*moved(arguments, self.device), **named), "cpu")

        return call


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
    if torch.cuda.is_available():
        yield "cuda"
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRITON_INTERPRET", "1")
        from triton.runtime.interpreter import InterpretedFunction

        from rnnsweep.core.recurrence.gpu.forward import forward_kernel

        if not isinstance(forward_kernel, InterpretedFunction):
            missing("triton was imported before the interpreter was chosen: run these tests in a process of their own")
        yield "cpu"


@pytest.fixture(scope="module")
def gpu(triton_interpreter: str) -> OnDevice:
    """The engine under test."""
    from rnnsweep.core.recurrence.gpu.engine import GpuEngine

    return OnDevice(GpuEngine(), triton_interpreter)
