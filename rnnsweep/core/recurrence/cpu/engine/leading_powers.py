"""Leading eigenvalues by squaring on the CPU: see `kernels.leading_powers`. Shapes: see `core.types`."""

from __future__ import annotations

import threading

import torch
from jaxtyping import Bool, Float64
from torch import Tensor

from rnnsweep.core.recurrence.cpu.engine.dispatch import RowThreads, TensorAddresses, Workspace, width_of

_OWN = threading.local()


class LeadingPowers:
    """Launches the kernel; row by row, on as many threads as torch has when it is made.

    Numerics:
        A row's numbers depend on that row alone, bit for bit.
    """

    def __init__(self) -> None:
        self._threads = RowThreads(None, Workspace())

    def leaders(
        self,
        matrices: Float64[Tensor, "P N N"],
        squarings: tuple[int, int],
        *,
        real: float,
        turned: float,
        left: float,
    ) -> tuple[Float64[Tensor, " P"], Float64[Tensor, "P N N"], Bool[Tensor, " P"]]:
        """rho, d rho / d matrix, and of which rows: those whose leader is simple. Of the others nothing is promised.

        Args:
            matrices: any; those that are not finite are not simple.
            squarings: up to where ties are judged, and all.
            real, turned, left: the limits of `LeadersJob`, in its order.
        """
        from rnnsweep.core.recurrence.cpu.kernels.leading_powers import LeadersJob, leaders_rows, leaders_scratch

        P, N, dtype = *matrices.shape[:2], matrices.dtype
        at, limits = TensorAddresses(dtype), matrices.new_tensor((real, turned, left))
        rho, simple, slope = matrices.new_empty(P), matrices.new_empty(P), torch.empty_like(matrices)
        job = LeadersJob(
            N=N, squarings=squarings[0], most=squarings[1], given=at.read("matrices", matrices, (P, N, N)),
            limits=at.view("limits", limits, (3,)), rho=at.view("rho", rho, (P,)),
            simple=at.view("simple", simple, (P,)), slope=at.view("slope", slope, (P, N, N)),
        )  # fmt: skip
        self._threads.run(leaders_rows, job, P, dtype, leaders_scratch(0, dtype.itemsize, width_of(N, dtype), job).end)
        return rho, slope, simple > 0


def leading_powers() -> LeadingPowers:
    """This thread's."""
    if not hasattr(_OWN, "powers"):
        _OWN.powers = LeadingPowers()
    return _OWN.powers
