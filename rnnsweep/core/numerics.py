"""Numerical tricks, each with its reason. Nothing here mixes rows."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor
from torch.nn.functional import pad

from rnnsweep.core.host_graph import asked, may_ask
from rnnsweep.core.kernels import kernels_for

LANES = 16
"""Products are padded to multiples of this: 64 bytes of float32."""


def matmul(left: Float[Tensor, "P M K"], right: Float[Tensor, "P K N"]) -> Float[Tensor, "P M N"]:
    """Row-wise product, [P, M, K] x [P, K, N] -> [P, M, N], each row as if it were alone; differentiable, twice too.

    Numerics:
        On the CPU the inner and last sizes are padded with zeros to multiples of 16: batched products of odd sizes go
        through kernels that round differently for a batch of one (measured in float64). Needs torch on one thread.
        A zero-padded inner size adds exact zeros; NaN and inf are never multiplied by padding of the other operand
        other than 0 * 0. For a left operand of one line see `line_by_line`. Derivatives of every order are such
        products too.
    """
    if torch.is_grad_enabled() and (left.requires_grad or right.requires_grad):
        return _RowwiseMatmul.apply(left, right)  # type: ignore[return-value]
    return _padded_product(left, right)


class _RowwiseMatmul(torch.autograd.Function):
    """`matmul` in a graph: torch's own derivative would be a product neither padded nor ordered."""

    @staticmethod
    def forward(ctx, left: Tensor, right: Tensor) -> Tensor:
        ctx.save_for_backward(left, right)
        return _padded_product(left, right)

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor | None, Tensor | None]:
        (gradient,) = gradients
        left, right = ctx.saved_tensors
        # `matmul` again: gradients of gradients stay row by row as well.
        to_left = matmul(gradient, right.transpose(1, 2)) if ctx.needs_input_grad[0] else None
        to_right = matmul(left.transpose(1, 2), gradient) if ctx.needs_input_grad[1] else None
        return to_left, to_right


def _padded_product(left: Tensor, right: Tensor) -> Tensor:
    # An exported graph serves any sizes, and has no neighbours whose rounding it must keep.
    if left.device.type != "cpu" or torch.compiler.is_exporting():
        return torch.bmm(left, right)
    K, N = right.shape[1:]
    inner, last = -K % LANES, -N % LANES
    if inner or last:
        right = pad(right, (0, last, 0, inner))
    if inner:
        left = pad(left, (0, inner))
    product = torch.bmm(line_by_line(left), right.contiguous())
    return product[..., :N] if last else product


def inverse(
    x: Float[Tensor, "P N N"], work: Callable[[Float[Tensor, "P N N"]], Float[Tensor, "P N N"]] | None = None
) -> Float[Tensor, "P N N"]:
    """The inverse of each matrix, row by row, [P, N, N]; differentiable, twice too; `work` finds it in LAPACK's place.

    Numerics:
        LU with partial pivoting, one matrix after the other. On the CPU padded with the identity to multiples of 16, as
        in `matmul`: LAPACK's kernels round by alignment, and so every matrix begins on a cache line. A matrix that is
        singular or not finite gives something that is not finite, and no error, which would stop the rows beside it.
    """
    if torch.is_grad_enabled() and x.requires_grad:
        return _RowwiseInverse.apply(x, work)  # type: ignore[return-value]
    return _padded_inverse(x) if work is None else work(x)


class _RowwiseInverse(torch.autograd.Function):
    """`inverse` in a graph: torch's own derivative would be products neither padded nor ordered."""

    @staticmethod
    def forward(ctx, x: Tensor, work: Callable[[Tensor], Tensor] | None) -> Tensor:
        result = _padded_inverse(x) if work is None else work(x)
        ctx.save_for_backward(result)
        return result

    @staticmethod
    def backward(ctx, *gradients: Tensor) -> tuple[Tensor, None]:
        (result,) = ctx.saved_tensors
        turned = result.transpose(1, 2)
        return -matmul(matmul(turned, gradients[0]), turned), None


def padded_square(x: Float[Tensor, "P N N"]) -> Float[Tensor, "P M M"]:
    """With zeros to a size that `matmul` need not pad: for who multiplies a matrix more than once."""
    more = -x.shape[1] % LANES if x.device.type == "cpu" else 0
    return pad(x, (0, more, 0, more)) if more else x


def _padded_inverse(x: Tensor) -> Tensor:
    N = x.shape[1]
    x = padded_square(x)
    if x.shape[1] > N:
        x.diagonal(dim1=1, dim2=2)[:, N:].fill_(1)
    result, info = torch.linalg.inv_ex(x)
    # LAPACK stops at a zero pivot and leaves finite numbers.
    if not known_all(info == 0):
        result = torch.where((info == 0)[:, None, None], result, torch.full_like(result, torch.nan))
    return result[:, :N, :N].contiguous() if result.shape[1] > N else result


def line_by_line(x: Float[Tensor, "P M K"]) -> Float[Tensor, "P M K"]:
    """The same matrices in row-major order, also where one line (M = 1) leaves the stride of M open.

    Numerics:
        `contiguous` keeps any stride of an axis of size one. One that says "transposed" chooses kernels that round
        differently for a batch of one (measured on a processor with AMX, in float32).
    """
    x = x.contiguous()
    return x.as_strided(x.shape, (x.shape[1] * x.shape[2], x.shape[2], 1)) if x.shape[1] == 1 else x


def finite(x: Float[Tensor, " ..."]) -> Bool[Tensor, " ..."]:
    """Which entries are neither NaN nor infinite: x - x is 0 then, else NaN. Half as many kernels as torch's own."""
    return (x - x) == 0


def readable(x: Shaped[Tensor, ...]) -> bool:
    """Whether a number of x can be read without waiting for a device.

    For shortcuts that change no bit: on a device, waiting costs more than the way round saves, and an update that waits
    cannot be replayed.
    """
    return x.device.type == "cpu"


def known_all(flags: Bool[Tensor, ...]) -> bool:
    """Whether all flags are known to be true; where it cannot be known without waiting, no."""
    return readable(flags) and may_ask() and asked(lambda: bool(flags.all()))


def row_sum(x: Float[Tensor, "P M N"]) -> Float[Tensor, "P N"]:
    """Sum over the middle axis, [P, M, N] -> [P, N], by a product with ones: one fixed order per row."""
    return matmul(x.new_ones(x.shape[0], 1, x.shape[1]), x)[:, 0]


def compiled_numbers(x: Shaped[Tensor, " ..."]) -> ModuleType | None:
    """`core.cpu.numbers`, whose functions compiled steps take too; None where they don't take x: no derivatives."""
    if x.dtype not in (torch.float32, torch.float64) or (x.requires_grad and torch.is_grad_enabled()):
        return None
    return kernels_for("numbers", x.device)


def square_sum(x: Float[Tensor, "P N"]) -> Float[Tensor, " P"]:
    """Sum of squares of each row, [P, N] -> [P]; the caller scales against overflow.

    Numerics:
        On the CPU in lanes whose order depends on N alone (`core.cpu.numbers`), where there is numba.
    """
    kernels = compiled_numbers(x)
    return (x * x).sum(1) if kernels is None else kernels.square_sums(x)


def rows_finite(x: Float[Tensor, "P N"]) -> Bool[Tensor, " P"]:
    """Whether all entries of a row are finite, [P, N] -> [P]; a sum that leaves the numbers may say no too."""
    kernels = compiled_numbers(x)
    return finite(x.sum(1)) if kernels is None else kernels.rows_finite(x)


def row_norm(x: Float[Tensor, "P N"]) -> Float[Tensor, " P"]:
    """2-norm of each row, [P, N] -> [P], free of overflow and underflow.

    Numerics:
        Plain sum of squares where that is safe; rows where it is not (sum below 1e-25 or above 1e35) are scaled by an
        exact power of two before squaring, so that norms of 1e30 and 1e-30 are right in float32. The choice is each
        row's own. All zero, or no entries: 0. Any NaN or inf: non-finite. Sums run as in `square_sum`.
    """
    if x.shape[1] == 0:  # the input weights of a network without inputs
        return x.new_zeros(len(x))
    kernels = compiled_numbers(x)
    if kernels is not None:
        return kernels.row_norms(x)
    total = square_sum(x)
    # In float32 squares below 1e-38 have lost digits and sums overflow at 3e38: bounds with some decades to spare.
    safe = (total > 1e-25) & (total < 1e35)
    # nearly always: the second pass over x is saved
    if known_all(safe):
        return total.sqrt()
    power = exponent_of(x.abs().amax(1))
    scaled = scale_by_power(square_sum(scale_by_power(x, -power[:, None])).sqrt(), power)
    return torch.where(safe, total.sqrt(), scaled)


def exponent_of(size: Float[Tensor, " ..."]) -> Int64[Tensor, " ..."]:
    """e with size = m * 2**e, 1/2 <= m < 1, int64; 0 for 0 and for non-finite values."""
    _, e = torch.frexp(torch.where(torch.isfinite(size), size, torch.zeros_like(size)))
    return e.to(torch.int64)


def scale_by_power(x: Float[Tensor, " ..."], power: Int64[Tensor, " ..."]) -> Float[Tensor, " ..."]:
    """x * 2**power, exact unless the result leaves the range; in two factors: 2**power itself could overflow."""
    half = torch.div(power, 2, rounding_mode="floor")
    return x * _power_of_two(half, x.dtype) * _power_of_two(power - half, x.dtype)


def _power_of_two(power: Tensor, dtype: torch.dtype) -> Tensor:
    """2**power by its bits: `pow` and `ldexp` are not exact on every device."""
    # the exponent's field: bias 1023 above 52 bits of fraction, in float32 127 above 23
    if dtype == torch.float64:
        return ((power.clamp(-1022, 1023) + 1023) << 52).view(torch.float64)
    return ((power.clamp(-126, 127) + 127) << 23).to(torch.int32).view(torch.float32)
