"""What a device's graph would do, on the CPU: record the operations of an update, and repeat them on the same memory.

A CUDA graph repeats kernels with the addresses that they had when it was recorded. So an update can be replayed if it
never asks the host (no number read, no shape that depends on data), if everything that lasts is written in place, and
if nothing that Python remembers changes from one update to the next. Each of the three fails here as it would there.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes
from torch.utils._pytree import tree_flatten

from rnnsweep.core import gpu, kernels, numerics, rng
from rnnsweep.core.families.exponential_map import ProductSquares
from rnnsweep.core.families.leading_powers import raised
from rnnsweep.core.recurrence.gpu import available

_HOST = (
    "_local_scalar_dense",
    "nonzero",
    "masked_select",
    "is_nonzero",
    "unique",
    "lift_fresh",
    "_linalg_check_errors",
    "linalg_eig",
    "linalg_inv_ex",
    "linalg_lstsq",
    "linalg_lu",
    "linalg_solve_ex",
    "linalg_svd",
    "linalg_matrix_exp",
    "geqrf",
)
_READS = ("item", "tolist", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__")
_PLAIN_READS = {name: getattr(torch.Tensor, name) for name in _READS}


@torch.library.custom_op("rnnsweep_tests::inverse", mutates_args=())
def inverse(x: torch.Tensor) -> torch.Tensor:
    """One operation, as a launch of `gpu.maps` is one."""
    return torch.linalg.inv_ex(x).inverse


def squared(x: torch.Tensor, counts: torch.Tensor, most: int) -> ProductSquares:
    """As `gpu.maps`, by operations that can be recorded one by one."""
    results = [x]
    for done in range(most):
        results.append(torch.where((counts > done)[:, None, None], results[-1] @ results[-1], results[-1]))
    return ProductSquares(counts, tuple(results))


KERNELS = SimpleNamespace(inverse=inverse, squared=squared, raised=raised)
"""In the place of Triton's, which lie below the dispatcher: nobody could record them here."""


class HostRead(AssertionError):
    """An update waited for a number, or moved one, between host and device."""


@contextmanager
def as_on_a_device() -> Iterator[None]:
    """Take the branches that tensors of a device take: no shortcut that must read a number, no compiled loop."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(numerics, "readable", lambda x: False)
        patch.setattr(available, "map_kernels", lambda *tensors: KERNELS)
        patch.setattr(rng, "words_compiled", rng.words_torch)
        patch.setattr(rng.Draws, "fast", False)
        patch.setattr(kernels, "_compiled", lambda what: None)
        yield


class Recorded(TorchDispatchMode):
    """Records every operation, and refuses those that need the host."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, tuple[Any, ...], dict[str, Any], list[torch.Tensor]]] = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = str(func)
        by_mask = name.startswith(("aten.index.", "aten.index_put")) and any(
            index is not None and index.dtype == torch.bool for index in args[1]
        )
        if by_mask or any(part in name for part in _HOST):
            raise HostRead(name)
        out = func(*args, **(kwargs or {}))
        made = [leaf for leaf in tree_flatten(out)[0] if isinstance(leaf, torch.Tensor)]
        self.calls.append((func, args, kwargs or {}, made))
        return out

    @torch.no_grad()
    def replay(self) -> None:
        """Repeat all of it on the tensors of the recording."""
        for func, args, kwargs, made in self.calls:
            # Views show the memory that they showed; what was written in place is written again.
            if func.is_view:
                continue
            again = [leaf for leaf in tree_flatten(func(*args, **kwargs))[0] if isinstance(leaf, torch.Tensor)]
            for old, new in zip(made, again, strict=True):
                if old.data_ptr() != new.data_ptr() or old is not new:
                    old.copy_(new)


@contextmanager
def without_host() -> Iterator[Recorded]:
    """Refuse every read of a number in the block, also those that bypass the dispatcher."""

    def refuse(name: str) -> Callable[..., Any]:
        def read(self: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
            raise HostRead(f"Tensor.{name}")

        return read

    with pytest.MonkeyPatch.context() as patch, Recorded() as recorded:
        for name in _READS:
            patch.setattr(torch.Tensor, name, refuse(name))
        yield recorded


@contextmanager
def recorded_launches(recorded: Recorded) -> Iterator[list[str]]:
    """Kernels of `core.gpu` are recorded beside torch's operations; gives their names in turn.

    Triton's interpreter reads numbers, which a device's launch does not: reads are allowed while one runs.
    """
    names: list[str] = []

    def recording(launch: Callable[..., None]) -> Callable[..., None]:
        def once(kernel: Any, *arguments: Any, **sizes: Any) -> None:
            def again() -> None:
                with _disable_current_modes(), pytest.MonkeyPatch.context() as patch:
                    for name, read in _PLAIN_READS.items():
                        patch.setattr(torch.Tensor, name, read)
                    launch(kernel, *arguments, **sizes)

            names.append(kernel.__name__)
            again()
            again.is_view = False  # pyright: ignore[reportFunctionMemberAccess] - replayed as operations are
            recorded.calls.append((again, (), {}, []))

        return once

    with pytest.MonkeyPatch.context() as patch:
        for found in pkgutil.iter_modules(gpu.__path__, f"{gpu.__name__}."):
            module = importlib.import_module(found.name)
            if hasattr(module, "launch"):
                patch.setattr(module, "launch", recording(module.launch))
        yield names
