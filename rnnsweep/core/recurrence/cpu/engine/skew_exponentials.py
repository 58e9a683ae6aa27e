"""The exponential of skew matrices on the CPU: see `kernels.exponentials`. Shapes: see `core.types`."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, TensorAddresses, Workspace, width_of
from rnnsweep.core.recurrence.cpu.engine.skew_inverses import LIMITS

_OWN = threading.local()


@dataclass(frozen=True)
class Approximant:
    """Coefficients of a Pade approximant of degree 7, and when it is good enough.

    Attributes:
        even, odd: of V and of U / A: four each, of A's even powers.
        largest: |A^2|_1 that A is halved to be below. most: halvings at most.
    """

    even: tuple[float, ...]
    odd: tuple[float, ...]
    largest: float
    most: int


@dataclass(frozen=True)
class SkewExponential:
    """exp(A), and its way back.

    Attributes:
        value: exp(A). steady: rows whose inverse is as good as with pivoting; of the others nothing is promised.
        kept, halvings: see `kernels.exponentials.ExponentialJob`.
    """

    value: Float[Tensor, "P N N"]
    steady: Bool[Tensor, " P"]
    kept: Float[Tensor, "P K N W"]
    halvings: Int64[Tensor, " P"]
    formula: Approximant
    launch: SkewExponentials

    def pullback(self, gradient: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
        """dC/dA of dC/d exp(A), up to a symmetric part."""
        return self.launch.pullback(self, gradient)


class SkewExponentials:
    """Launches the kernels; row by row.

    Numerics:
        A row's numbers depend on that row alone, bit for bit.
    """

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._threads = RowThreads(None, self._workspace)

    def forward(self, a: Float[Tensor, "P N N"], formula: Approximant) -> SkewExponential:
        """exp(A)."""
        from rnnsweep.core.recurrence.cpu.kernels.exponentials import KEPT, exponential_rows

        (P, N), dtype, take = a.shape[:2], a.dtype, self._workspace.take
        kept = take((P, KEPT + formula.most, N, width_of(N, dtype)), dtype)
        halvings, growth, out = torch.zeros(P, dtype=torch.int64), take((P,), dtype), take((P, N, N), dtype)
        places = {"kept": kept, "halvings": halvings, "growth": growth, "out": out}
        self._run(exponential_rows, formula, a, places)
        return SkewExponential(out, growth <= LIMITS[dtype], kept, halvings, formula, self)

    def pullback(self, done: SkewExponential, gradient: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
        """See `SkewExponential.pullback`."""
        from rnnsweep.core.recurrence.cpu.kernels.exponentials import exponential_back_rows

        out = self._workspace.take(done.value.shape, done.value.dtype)
        places = {"kept": done.kept, "halvings": done.halvings, "growth": None, "out": out}
        self._run(exponential_back_rows, done.formula, gradient, places)
        return out

    def _run(
        self, kernel: Callable[..., None], formula: Approximant, given: Tensor, places: Mapping[str, Tensor | None]
    ) -> None:
        from rnnsweep.core.recurrence.cpu.kernels.exponentials import ExponentialJob, exponential_scratch

        P, N, dtype, at = *given.shape[:2], given.dtype, TensorAddresses(given.dtype)
        most, kept, halvings = formula.most, places["kept"], places["halvings"]
        assert kept is not None
        assert halvings is not None
        job = ExponentialJob(
            N=N, most=most, given=at.read("given", given, (P, N, N)),
            largest=at.read("largest", given.new_tensor([formula.largest]), (1,)),
            even=at.read("even", given.new_tensor(formula.even), (4,)),
            odd=at.read("odd", given.new_tensor(formula.odd), (4,)), kept=at.view("kept", kept, tuple(kept.shape)),
            halvings=at.numbers("halvings", halvings, P, 0, most), growth=at.view("growth", places["growth"], (P,)),
            out=at.view("out", places["out"], (P, N, N)),
        )  # fmt: skip
        self._threads.run(kernel, job, P, dtype, exponential_scratch(0, dtype.itemsize, width_of(N, dtype), job).end)


def skew_exponentials() -> SkewExponentials:
    """This thread's."""
    if not hasattr(_OWN, "maps"):
        _OWN.maps = SkewExponentials()
    return _OWN.maps
