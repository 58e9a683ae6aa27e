"""The gpu engine for tests, on the device that `triton_interpreter` says."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
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


@pytest.fixture(scope="module")
def gpu(triton_interpreter: str) -> OnDevice:
    """The engine under test."""
    from rnnsweep.core.recurrence.gpu.engine import GpuEngine

    return OnDevice(GpuEngine(), triton_interpreter)
