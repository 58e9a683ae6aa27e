"""What the maps of recurrent weights have done on a GPU: inverses and repeated squaring, a program per row.

Shapes: P rows · N size of a matrix · S most squarings.

Numerics:
    A row's bits depend on that row alone: tiles are a function of N and the type. Nothing is read by the host, so that
    updates can be replayed.
"""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.recurrence.gpu import inverses, squarings


def inverse(x: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
    """x^-1 of x whose symmetric part is positive definite.

    Numerics:
        Pivots are looked for within the diagonal block of 16 columns. Where the diagonal grows beyond `inverses.LIMITS`
        on its way, or is not finite, the row is done again with a pivot from the whole column, by a second kernel that
        returns at once for all others: the host is not asked. Errors are then some roundings, as on the CPU. Singular
        or non-finite: something not finite.
    """
    (P, N), cut = x.shape[:2], inverses.Cut.of(x.shape[1], x.dtype)
    x = x.contiguous()
    out, spare = torch.empty_like(x), x.new_empty(2, P, N, N)
    grown, places = (torch.empty(*size, dtype=torch.int32, device=x.device) for size in ((P,), (P, N)))
    tile = {"ROWS": cut.rows, "COLUMNS": cut.columns}
    limit = inverses.LIMITS[x.dtype]
    _launch(inverses.inverse_kernel, cut.warps, (x, out, spare, grown), **tile, SIDE=inverses.SIDE, LIMIT=limit)
    _launch(inverses.pivoted_kernel, cut.warps, (x, out, spare, places, grown), **tile, UNITS=cut.units)
    return out


class Squared(NamedTuple):
    """x^(2^count) with what its pull-back reads.

    Attributes:
        x: what was squared. counts: how often, of each row. powers: x^2, x^4, ... as far as a row went.
        value: the result.
    """

    x: Float[Tensor, "P N N"]
    counts: Int64[Tensor, " P"]
    powers: Float[Tensor, "S P N N"]
    value: Float[Tensor, "P N N"]

    def pullback(self, gradient: Float[Tensor, "P N N"]) -> Float[Tensor, "P N N"]:
        """dC/dx of dC/d value."""
        out, spare = torch.empty_like(self.x), self.x.new_empty(2, *self.x.shape)
        given = (self.x, self.counts, self.powers, gradient.contiguous(), spare, out)
        _launch_products(squarings.squaring_pullback_kernel, given)
        return out


def squared(x: Float[Tensor, "P N N"], counts: Int64[Tensor, " P"], most: int) -> Squared:
    """x^(2^count), count each row's own, 0..most."""
    x = x.contiguous()
    out, powers = torch.empty_like(x), x.new_empty(most, *x.shape)
    _launch_products(squarings.squaring_kernel, (x, counts, powers, out))
    return Squared(x, counts, powers, out)


def raised(
    x: Float[Tensor, "P N N"], log: Float[Tensor, " P"], done: int, until: int
) -> tuple[Float[Tensor, "P N N"], Float[Tensor, " P"]]:
    """x^(2^(until - done)) up to a power of two; `log` with those powers, each over 2 to the squarings until then.

    Numerics:
        x = T^(2^done) up to 2^(log * 2^done): what is returned stands in the same relation to T. Entries near 1 stay
        within the type's range unless all eigenvalues are next to nothing beside them.
    """
    x, spare = x.contiguous(), x.new_empty(2, *x.shape)
    out, out_log = torch.empty_like(x), torch.empty_like(log)
    given = (x, log.contiguous(), spare, out, out_log)
    _launch_products(squarings.power_kernel, given, DONE=done, UNTIL=until)
    return out, out_log


def _launch_products(kernel: Any, given: tuple[Tensor, ...], **sizes: int) -> None:
    cut = squarings.Cut.of(given[0].shape[1], given[0].dtype)
    _launch(kernel, cut.warps, given, ROWS=cut.rows, COLUMNS=cut.columns, INNER=cut.inner, **sizes)


def _launch(kernel: Any, warps: int, given: tuple[Tensor, ...], **sizes: Any) -> None:
    """One program per row of the first tensor."""
    x = given[0]
    if not x.numel():
        return
    # Triton launches on the current device, whatever device the tensors are on.
    where: Any = torch.cuda.device(x.device) if x.device.type == "cuda" else nullcontext()
    with where:
        kernel[(len(x),)](*given, N=x.shape[1], **sizes, num_warps=warps, num_stages=1, enable_fp_fusion=True)
