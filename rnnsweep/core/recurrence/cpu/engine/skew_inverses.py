"""Inverses of I + A with skew A, and the Cayley maps, on the CPU: see `kernels.inverses` and `kernels.unitary_maps`.

Shapes: see `core.types`.
"""

from __future__ import annotations

import importlib.util
import threading

import torch
from jaxtyping import Bool, Float, Shaped
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.recurrence.cpu import host
from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, TensorAddresses, Workspace, width_of

LIMITS = {torch.float32: 64.0, torch.float64: 4096.0}
"""Growth up to which an elimination without pivoting is taken.

Errors are a rounding of it: 64 leaves 4e-6 in float32, 4096 leaves 5e-13 in float64, within what the maps promise.
"""

_OWN = threading.local()


class SkewInverses:
    """Launches the kernels; row by row, on as many threads as torch has when it is made.

    Numerics:
        A row's numbers depend on that row alone, bit for bit. Of a row that is not finite nothing is promised but that
        it is not among the `steady` ones.
    """

    def __init__(self) -> None:
        self._workspace = Workspace()
        self._threads = RowThreads(None, self._workspace)

    def inverse(self, x: Float[Tensor, "P N N"]) -> tuple[Float[Tensor, "P N N"], Bool[Tensor, " P"]]:
        """x^-1 of x = I + A, and which rows are as good as with pivoting."""
        return self._run(x, None)

    def cayley(
        self, stored: Float[Tensor, "P N N"], diagonal: Float[Tensor, "P N"]
    ) -> tuple[Float[Tensor, "P N N"], Bool[Tensor, " P"]]:
        """W = (2 (I + A)^-1 - I) D of A = U - U^T, U the strict upper triangle of `stored`; and which rows are."""
        return self._run(stored, diagonal)

    def _run(self, stored: Tensor, diagonal: Tensor | None) -> tuple[Tensor, Tensor]:
        from rnnsweep.core.recurrence.cpu.kernels.inverses import InverseJob, inverse_rows, inverse_scratch

        (P, N), dtype = stored.shape[:2], stored.dtype
        at = TensorAddresses(dtype)
        out, growth = self._workspace.take((P, N, N), dtype), self._workspace.take((P,), dtype)
        address, row = at.matrices("stored", stored, (P, N, N))
        job = InverseJob(
            N=N, stored=address, stored_row=row, diagonal=at.read("diagonal", diagonal, (P, N)),
            out=at.view("out", out, (P, N, N)), growth=at.view("growth", growth, (P,)),
        )  # fmt: skip
        self._threads.run(inverse_rows, job, P, dtype, inverse_scratch(0, dtype.itemsize, width_of(N, dtype), job).end)
        return out, growth <= LIMITS[dtype]

    def cayley_pullback(
        self, diagonal: Float[Tensor, "P N"], w: Float[Tensor, "P N N"], gradient: Float[Tensor, "P N N"]
    ) -> Float[Tensor, "P N N"]:
        """Gradient of `stored` from that of W = `cayley(stored, diagonal)`."""
        from rnnsweep.core.recurrence.cpu.kernels.inverses import (
            CayleyBackJob,
            cayley_back_rows,
            cayley_back_scratch,
        )

        (P, N), dtype = w.shape[:2], w.dtype
        at, out = TensorAddresses(dtype), self._workspace.take((P, N, N), dtype)
        job = CayleyBackJob(
            N=N, w=at.read("w", w, (P, N, N)), diagonal=at.read("diagonal", diagonal, (P, N)),
            gradient=at.read("gradient", gradient, (P, N, N)), out=at.view("out", out, (P, N, N)),
        )  # fmt: skip
        scratch = cayley_back_scratch(0, dtype.itemsize, width_of(N, dtype), job).end
        self._threads.run(cayley_back_rows, job, P, dtype, scratch)
        return out

    def unitary(
        self,
        skew: Float[Tensor, "P H H"],
        symmetric: Float[Tensor, "P H H"],
        cos: Float[Tensor, "P H"],
        sin: Float[Tensor, "P H"],
    ) -> tuple[Float[Tensor, "P N N"], Bool[Tensor, " P"]]:
        """The real form of W = (2 (I + A)^-1 - I) D, see `families.unitary_map`; and which rows are as good as that."""
        from rnnsweep.core.recurrence.cpu.kernels.inverses import inverse_scratch
        from rnnsweep.core.recurrence.cpu.kernels.unitary_maps import UnitaryJob, unitary_rows

        (P, H), dtype, take = cos.shape, cos.dtype, self._workspace.take
        N, at = 2 * H, TensorAddresses(dtype)
        out, growth = take((P, N, N), dtype), take((P,), dtype)
        first, first_row = at.matrices("skew", skew, (P, H, H))
        second, second_row = at.matrices("symmetric", symmetric, (P, H, H))
        job = UnitaryJob(
            H=H, N=N, skew=first, skew_row=first_row, symmetric=second, symmetric_row=second_row,
            cos=at.read("cos", cos, (P, H)), sin=at.read("sin", sin, (P, H)), out=at.view("out", out, (P, N, N)),
            growth=at.view("growth", growth, (P,)),
        )  # fmt: skip
        self._threads.run(unitary_rows, job, P, dtype, inverse_scratch(0, dtype.itemsize, width_of(N, dtype), job).end)
        return out, growth <= LIMITS[dtype]

    def unitary_pullback(
        self,
        cos: Float[Tensor, "P H"],
        sin: Float[Tensor, "P H"],
        w: Float[Tensor, "P N N"],
        gradient: Float[Tensor, "P N N"],
    ) -> tuple[Float[Tensor, "P H H"], Float[Tensor, "P H H"], Float[Tensor, "P H"]]:
        """Gradients of skew, symmetric and theta from that of the real form w = `unitary(...)`."""
        from rnnsweep.core.recurrence.cpu.kernels.unitary_maps import (
            UnitaryBackJob,
            unitary_back_rows,
            unitary_back_scratch,
        )

        (P, H), dtype, take = cos.shape, cos.dtype, self._workspace.take
        N, at = 2 * H, TensorAddresses(dtype)
        to_skew, to_symmetric, to_theta = take((P, H, H), dtype), take((P, H, H), dtype), take((P, H), dtype)
        job = UnitaryBackJob(
            H=H, N=N, w=at.read("w", w, (P, N, N)), gradient=at.read("gradient", gradient, (P, N, N)),
            cos=at.read("cos", cos, (P, H)), sin=at.read("sin", sin, (P, H)),
            skew=at.view("to_skew", to_skew, (P, H, H)), symmetric=at.view("to_symmetric", to_symmetric, (P, H, H)),
            theta=at.view("to_theta", to_theta, (P, H)),
        )  # fmt: skip
        scratch = unitary_back_scratch(0, dtype.itemsize, width_of(N, dtype), job).end
        self._threads.run(unitary_back_rows, job, P, dtype, scratch)
        return to_skew, to_symmetric, to_theta


def skew_inverses(*tensors: Shaped[Tensor, " ..."]) -> SkewInverses | None:
    """This thread's, or None where it is not for these tensors: no CPU's, of another type, or part of a graph."""
    recorded = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    if recorded or torch.compiler.is_exporting() or not all(numerics.readable(x) for x in tensors):
        return None
    if not host.VECTOR_BYTES or any(x.dtype not in LIMITS for x in tensors):
        return None
    if not hasattr(_OWN, "maps"):
        _OWN.maps = SkewInverses() if importlib.util.find_spec("numba") else None
    return _OWN.maps
