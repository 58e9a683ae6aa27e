"""The gpu engine for tests, on the device that `triton_interpreter` says."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pytest
from torch import Tensor


def moved(value: Any, device: str) -> Any:
    """Tensors on a device: those of a tuple, a mapping or a dataclass too, however deep."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple):
        return tuple(moved(item, device) for item in value)
    if isinstance(value, Mapping):
        return {key: moved(item, device) for key, item in value.items()}
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    fields = {f.name: getattr(value, f.name) for f in dataclasses.fields(value) if f.init}
    there = {name: moved(item, device) for name, item in fields.items()}
    # an activation or a rule stays the very one that it is
    return dataclasses.replace(value, **there) if any(there[name] is not fields[name] for name in fields) else value


class OnDevice:
    """An engine as the contract suite wants it: tensors of the CPU come in and go out."""

    def __init__(self, engine: Any, device: str) -> None:
        self.engine, self.device = engine, device

    def __getattr__(self, name: str) -> Any:
        member = getattr(self.engine, name)
        if not callable(member):
            return member

        def call(*arguments: Any, **named: Any) -> Any:
            return moved(member(*moved(arguments, self.device), **moved(named, self.device)), "cpu")

        return call


@pytest.fixture(scope="module")
def gpu(triton_interpreter: str) -> OnDevice:
    """The engine under test."""
    from rnnsweep.core.recurrence.gpu.engine import GpuEngine

    return OnDevice(GpuEngine(), triton_interpreter)
