"""Cells of xLSTM: exponential gates, kept in range by a stabiliser m.

With c, n the sums that the gates weigh, what is carried is c e^-m and n e^-m, and m itself:

    m_t = max(log f_t + m_{t-1}, log i_t)        f' = exp(log f_t + m_{t-1} - m_t)        i' = exp(log i_t - m_t)

so that no exponent is above 0. Outputs depend on c / n only, whatever m is. Gradients go through m as well: they are
exact derivatives of the step, and what goes through m cancels in the end.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import (
    Drive,
    Kept,
    Own,
    PreActivation,
    Pulled,
    State,
    sigmoid,
    softplus,
)
from rnnsweep.core.recurrence.described_cells import FUSED, DescribedCell
from rnnsweep.core.recurrence.gated_formulas import ExponentialForget, ScalarMemory
from rnnsweep.core.recurrence.head_memories import HeadMemories
from rnnsweep.core.recurrence.matrix_memory import MatrixMemoryEngine
from rnnsweep.core.recurrence.memory_records import LARGEST, bound_of, record_width
from rnnsweep.core.recurrence.step_formulas import StepFormulas


class _Weights(NamedTuple):
    """How much of what was is kept and how much of what is new is written; and the next m."""

    keep: Tensor
    write: Tensor
    m: Tensor


def _weights(carried: Tensor, i: Tensor) -> _Weights:
    """Of log f + m and log i."""
    m = torch.where(carried >= i, carried, i)
    return _Weights(torch.exp(carried - m), torch.exp(i - m), m)


def _log_forget(f: Tensor, sigmoid_forget: bool) -> Tensor:
    """log f of its pre-activation."""
    return -softplus(-f) if sigmoid_forget else f


def _pull_weights(
    keep: Tensor, write: Tensor, to_keep: Tensor, to_write: Tensor, to_m: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of log f + m and of log i, from those of the logarithms of keep and write, and of the next m."""
    through = to_m - to_keep - to_write
    # The larger exponent is m itself, and its weight is 1; equal ones count as the carried one's.
    on = (keep >= write).to(keep.dtype)
    return to_keep + on * through, to_write + (1 - on) * through


@dataclass(frozen=True)
class ScalarMemoryCell(DescribedCell):
    """s = [h, c, n, m]; i, f, z, o = a + d; f is a sigmoid.

        c <- f' c + i' tanh(z)        n <- f' n + i'        h = sigmoid(o) c / n

    Numerics:
        n is at least 1 after the first step, as one of f' and i' is 1. At the first one (n = 0) there is nothing to
        keep, and m is log i, as in the published code.

    References:
        Beck et al. (2024), xLSTM, eq. 8-17 (sLSTM).
    """

    additive: ClassVar[bool] = True
    formulas: ClassVar[StepFormulas] = ScalarMemory()
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of tanh(z), of sigmoid(o), and of f."""
        del d, s, own
        _, _, z, o, closed = kept.chunk(5, -1)
        return torch.cat((1 - z * z, o - o * o, closed - closed * closed), -1)


@dataclass(frozen=True)
class ExponentialForgetCell(ScalarMemoryCell):
    """The same with an exponential f."""

    formulas: ClassVar[StepFormulas] = ExponentialForget()
    fused: ClassVar[Mapping[str, str]] = FUSED

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of tanh(z) and of sigmoid(o); an exponential does not saturate."""
        del d, s, own
        _, _, z, o, _ = kept.chunk(5, -1)
        return torch.cat((1 - z * z, o - o * o), -1)


@dataclass(frozen=True)
class MatrixMemoryCell(HeadMemories):
    """s = [h, C, n, m]; d = [q, k, v, o, i, f]; each of N heads of D units has a matrix C [D, D], n [D] and one m.

        C <- f' C + i' v k^T / sqrt(D)        n <- f' n + i' k / sqrt(D)        h = sigmoid(o) C q / max(|n q|, e^-m)

    Attributes:
        heads, sigmoid_forget: see `HeadMemories`.

    Numerics:
        Sums over D are torch's over one axis. m begins as in `ScalarMemoryCell`; e^-m stays between e^-80 and e^80.

    References:
        Beck et al. (2024), xLSTM, eq. 19-27 (mLSTM); stabilised as in their appendix. Ours differs from the code: no
        1e-6 is added to the divisor.
    """

    @property
    def state(self) -> int:
        """h, C, n and m."""
        return self.hidden * (self.size + 2) + self.heads

    @property
    def recurrent(self) -> int:
        """Nothing reads the state but the gates."""
        return 0

    @property
    def product(self) -> int:
        """There is none."""
        return 0

    @property
    def drive(self) -> int:
        """Query, key, value, output gate; input and forget gate of each head."""
        return 4 * self.hidden + 2 * self.heads

    @property
    def kept(self) -> int:
        """Nothing besides drive and state."""
        return 0

    @property
    def record_width(self) -> int:
        """See `memory_records.record_width`: of whole states there is one per chunk of steps."""
        return record_width(self)

    @property
    def error_width(self) -> int:
        """Errors are used as they are given."""
        return 0

    def engine(self) -> Engine:
        """Chunks of steps."""
        return MatrixMemoryEngine(self)

    def step(self, a: PreActivation, d: Drive, s: State, own: Own) -> State:
        """[h, C, n, m]."""
        del a, own
        q, k, v, o, i, f = self._drives(d)
        memory, n, m = self.memory(s)
        first = self.empty(s)
        weights = _weights(torch.where(first, i, self.log_forget(f) + m), i)
        memory, n = _written(weights, memory, n, k, v)
        h = sigmoid(o) * _read(memory, n, weights.m, q)[0]
        return torch.cat([part.flatten(2) for part in (h, memory, n, weights.m)], -1)

    def slopes(self, kept: Kept, d: Drive, s: State, own: Own) -> Float[Tensor, "P B gates"]:
        """Of the output gate, and of f where it is a sigmoid."""
        del kept, s, own
        H, N = self.hidden, self.heads
        o, f = sigmoid(d[..., 3 * H : 4 * H]), sigmoid(d[..., 4 * H + N :])
        return torch.cat((o - o * o, f - f * f), -1) if self.sigmoid_forget else o - o * o

    def pull(
        self,
        kept: Kept,
        d: Drive,
        s: State,
        own: Own,
        g: State,
    ) -> Pulled:
        """Closed form; what was written is formed again from drive and state."""
        del own
        q, k, v, o, i, f = self._drives(d)
        memory, n, m = self.memory(s)
        first = self.empty(s)
        weights = _weights(torch.where(first, i, self.log_forget(f) + m), i)
        now, now_n = _written(weights, memory, n, k, v)
        o = sigmoid(o)
        y, divisor, inside = _read(now, now_n, weights.m, q)
        gh, (g_memory, g_n, g_m) = g[..., : self.hidden].unflatten(-1, (self.heads, self.size)), self.memory(g)
        to_y = gh * o / divisor
        to_divisor = -(to_y * y).sum(-1, keepdim=True)
        # |n q| is the divisor where it is the larger one, else e^-m, which is constant beyond its bounds.
        bound = bound_of(weights.m)
        by_n = inside.abs() >= bound
        to_inside = torch.where(by_n, to_divisor * torch.sign(inside), torch.zeros_like(inside))
        by_m = ~by_n & (weights.m.abs() <= LARGEST)
        g_m = g_m - torch.where(by_m, to_divisor * bound, torch.zeros_like(inside))
        g_memory = (to_y[..., :, None] * q[..., None, :]).add_(g_memory)
        g_n = g_n + to_inside * q
        to_q = (now * to_y[..., :, None]).sum(-2) + to_inside * now_n
        of_k = (g_memory * k[..., None, :]).sum(-1)  # P B N D
        to_k = weights.write * ((g_memory * v[..., :, None]).sum(-2) + g_n)
        to_v = weights.write * of_k
        to_write = (to_v * v).sum(-1, keepdim=True) + weights.write * (g_n * k).sum(-1, keepdim=True)
        kept_part = (g_memory * memory).sum(-1).sum(-1, keepdim=True) + (g_n * n).sum(-1, keepdim=True)
        carried, to_i = _pull_weights(weights.keep, weights.write, weights.keep * kept_part, to_write, g_m)
        to_i, carried = torch.where(first, to_i + carried, to_i), torch.where(first, torch.zeros_like(to_i), carried)
        to_f = carried * sigmoid(-f) if self.sigmoid_forget else carried
        drives = (to_q, to_k / math.sqrt(self.size), to_v, gh * y * o * (1 - o), to_i, to_f)
        back = (torch.zeros_like(gh), weights.keep[..., None] * g_memory, weights.keep * g_n, carried)
        return Pulled(kept, torch.cat([x.flatten(2) for x in drives], -1), torch.cat([x.flatten(2) for x in back], -1))

    def _drives(self, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """q, k / sqrt(D), v, o, each [P, B, N, D]; i, f, [P, B, N, 1]."""
        H, N = self.hidden, self.heads
        q, k, v, o = d[..., : 4 * H].unflatten(-1, (4, N, self.size)).unbind(2)
        i, f = d[..., 4 * H : 4 * H + N, None], d[..., 4 * H + N :, None]
        return q, k / math.sqrt(self.size), v, o, i, f


def _written(weights: _Weights, memory: Tensor, n: Tensor, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    """The next C and n."""
    # In place: memories are what takes the time, new memory for each of them too.
    now = (weights.keep[..., None] * memory).add_((weights.write * v)[..., :, None] * k[..., None, :])
    return now, weights.keep * n + weights.write * k


def _read(memory: Tensor, n: Tensor, m: Tensor, q: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(C q / divisor, divisor, n q)."""
    inside = (n * q).sum(-1, keepdim=True)
    size, bound = inside.abs(), bound_of(m)
    divisor = torch.where(size >= bound, size, bound)
    return (memory * q[..., None, :]).sum(-1) / divisor, divisor, inside
