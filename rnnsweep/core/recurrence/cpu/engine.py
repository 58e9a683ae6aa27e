"""The fused CPU engine: see `rnnsweep.core.recurrence.base` for the contract."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.recurrence.cpu import host, jobs
from rnnsweep.core.recurrence.cpu.layout import Held, padded, rows_of, width_of
from rnnsweep.core.recurrence.cpu.threads import RowThreads
from rnnsweep.core.recurrence.cpu.workspace import ALIGN, Workspace
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, OmegaForm, OmegaTerm, Record, Tangent, Trace

_PACKAGE = "rnnsweep.core.recurrence.cpu"


class CpuEngine:
    """Fused loops: one row after another stays in one core's L2 cache, rows run in parallel over threads.

    `h`, `slope`, `delta` and `x` are views [..., :H] of buffers whose last axis is padded to whole vectors. Buffers are
    recycled once no tensor refers to them: a record stays valid for as long as it is held; drop records and traces at
    the end of an update, so that the next one finds them warm in the cache.

    Attributes:
        name: ``cpu``.
        tile: rows whose records stay in the L3 cache together.
        threads: threads that rows are spread over; one row is always one thread's.

    Numerics:
        A row's numbers depend on that row alone, bit for bit, for any P, neighbours, order and number of threads: every
        entry of a product is summed in the order of its inner index with fused multiply-adds, and elementwise work
        does the same in every vector lane. Fast-math is off; FMA is used only where written. NaN and inf stay in their
        row. Results on CPUs with other vector widths are equal for products and activations, but not promised.
    """

    name = "cpu"
    tile: int | None = 8

    def __init__(self, threads: int | None = None) -> None:
        self._workspace = Workspace()
        self._threads = RowThreads(threads, self._workspace)
        self.threads = self._threads.count

    def refuses(self, activation: Activation, dtype: torch.dtype) -> str | None:
        """No numba, no FMA vectors, an unknown activation, or another type than float32 and float64."""
        if host.VECTOR_BYTES == 0:
            return "this CPU has no AVX2 or NEON with fused multiply-add"
        try:
            formulas = importlib.import_module(f"{_PACKAGE}.formulas")
        except ImportError as error:
            return f"numba cannot be imported ({error})"
        if activation.name not in formulas.CODES:
            return f"activation {activation.name} has no fused loop"
        if dtype not in (torch.float32, torch.float64):
            return f"{dtype} has no fused loop"
        return None

    def forward(self, inputs: Tensor, weights: LoopWeights, activation: Activation, lengths: Tensor) -> Record:
        """See `Engine.forward`."""
        P, T, B, inner = inputs.shape
        H = weights.w_rec.shape[-1]
        held = Held(inputs.dtype)
        h = self._matrix(P, T + 1, B, H, inputs.dtype)
        store = not activation.from_output or weights.leak is not None
        slope = self._matrix(P, T, B, H, inputs.dtype) if store else None
        inputs = inputs.contiguous()
        job = jobs.ForwardJob(
            T=T, B=B, H=H, I=inner, code=_code(activation), inputs=held(inputs), **held.matrix(weights.w_rec),
            w_in=held(weights.w_in), bias=held(weights.bias), act_bias=held(weights.act_bias), h0=held(weights.h0),
            leak=held(weights.leak), lengths=held(lengths), h=held.view(h), slope=held.view(slope),
        )  # fmt: skip
        width = h.stride(2)
        self._run("forward", job, P, inputs.dtype, (H + inner + B + 2) * width)
        return Record(inputs, h, slope, weights, lengths)

    def backward(
        self, record: Record, direct: Direct, activation: Activation, *, keep: bool = True
    ) -> tuple[LoopGradients, Trace | None]:
        """See `Engine.backward`."""
        return self._backward(record, direct, activation, keep, {})

    def backward_omega(
        self, record: Record, direct: Direct, activation: Activation, form: OmegaForm, rows: Tensor, *, keep: bool
    ) -> tuple[LoopGradients, Trace | None, OmegaTerm]:
        """See `OmegaEngine.backward_omega`."""
        P, H = record.weights.w_rec.shape[:2]
        new = record.h.new_zeros
        term, held = OmegaTerm(new(P), new(P), new(P, H, H)), Held(record.h.dtype)
        omega = {
            "omega": 2 if form.squared else 1, "omega_mean": int(form.mean),
            "omega_bound": held(new(1) + form.bound), "omega_rows": held(rows.to(torch.int64)),
            "omega_value": held.view(term.value), "omega_share": held.view(term.share),
            "omega_w_rec": held.view(term.w_rec),
        }  # fmt: skip
        return *self._backward(record, direct, activation, keep, omega), term

    def _backward(
        self, record: Record, direct: Direct, activation: Activation, keep: bool, omega: dict[str, int]
    ) -> tuple[LoopGradients, Trace | None]:
        w, dtype = record.weights, record.h.dtype
        P, T, B, H = record.h.shape[0], record.h.shape[1] - 1, *record.h.shape[2:]
        inner = record.inputs.shape[-1]
        held, new = Held(dtype), self._workspace.take
        whole = keep or w.w_in is None
        h, slope = padded(record.h), None if record.slope is None else padded(record.slope)
        chunk = min(T, -(-96 // B))  # about 100 rows per block: they and the sums stay in L2
        delta = self._matrix(P, T, B, H, dtype) if whole else self._matrix(self.threads, chunk, B, H, dtype)
        slots = chunk if omega and chunk > 1 else 2
        x = self._matrix(P, T, B, H, dtype) if whole else self._matrix(self.threads, slots, B, H, dtype)
        grads = LoopGradients(
            w_rec=new((P, H, H), dtype),
            w_in=None if w.w_in is None else new((P, inner, H), dtype),
            bias=None if w.bias is None else new((P, H), dtype),
            act_bias=None if w.act_bias is None else new((P, H), dtype),
            h0=None if w.h0 is None else new((P, H), dtype),
            inputs=delta if w.w_in is None else None,
        )
        job = jobs.BackwardJob(
            T=T, B=B, H=H, I=inner, code=_code(activation), inputs=held(record.inputs), **held.matrix(w.w_rec),
            leak=held(w.leak), lengths=held(record.lengths), h=held.view(h), slope=held.view(slope),
            last=held(direct.last), steps=held(direct.steps), delta=held.view(delta), x=held.view(x), chunk=chunk,
            ring=int(not whole), slots=slots, dw_rec=held.view(grads.w_rec), dw_in=held.view(grads.w_in),
            dbias=held.view(grads.bias), dact=held.view(grads.act_bias), dh0=held.view(grads.h0),
            **(omega or _NO_OMEGA),
        )  # fmt: skip
        room = (2 * H + inner + 3 * B + 4) * h.stride(2) + ALIGN
        if omega:
            room += (H + chunk * B) * h.stride(2) + (chunk + 2) * B
        self._run("backward", job, P, dtype, room)
        return grads, Trace(record, direct, delta, x) if keep else None

    def tangent(self, trace: Trace, step: Tensor, horizon: Tensor, activation: Activation) -> Tangent:
        """See `Engine.tangent`; the pair is scaled so that max|delta| is of order one or as the last step left it."""
        record, w, dtype = trace.record, trace.record.weights, step.dtype
        P, T, B, H = trace.delta.shape
        held, new = Held(dtype), self._workspace.take
        h, slope = padded(record.h), None if record.slope is None else padded(record.slope)
        delta = padded(trace.delta)
        last = trace.direct.last if trace.direct.steps is None else trace.direct.steps[:, -1]
        exponent = torch.empty(P, dtype=torch.int64)
        result = Tangent(new((P, B, H), dtype), new((P, B, H), dtype), exponent)
        job = jobs.TangentJob(
            T=T, B=B, H=H, code=_code(activation), **held.matrix(w.w_rec), step=held(step), leak=held(w.leak),
            horizon=held(horizon), h=held.view(h), slope=held.view(slope), delta=held.view(delta), last=held(last),
            stored=int(trace.direct.steps is None and w.leak is None), out_delta=result.delta.data_ptr(),
            out_ddelta=result.ddelta.data_ptr(), exponent=exponent.data_ptr(),
        )  # fmt: skip
        self._run("tangent", job, P, dtype, (3 * H + 5 * B) * h.stride(2) + 2 * ALIGN)
        return result

    def outer(self, left: Tensor, right: Tensor, weight: Tensor | None = None) -> Tensor:
        """See `Engine.outer`."""
        P, T, B, K = left.shape
        M = right.shape[-1]
        held = Held(left.dtype)
        left, right = rows_of(left, 0), rows_of(right, width_of(M, left.dtype))
        out = self._workspace.take((P, K, M), left.dtype)
        job = jobs.OuterJob(
            n=T * B, K=K, M=M, left=held.view(left), left_row=left.stride(0), ldl=left.stride(2),
            right=held.view(right), right_row=right.stride(0), ldr=right.stride(2), weight=held(weight),
            out=out.data_ptr(),
        )  # fmt: skip
        self._run("outer", job, P, left.dtype, (K + 96) * width_of(M, left.dtype))
        return out

    def square_norms(self, x: Tensor) -> Tensor:
        """See `Engine.square_norms`."""
        P, T, B, H = x.shape
        x, out = rows_of(x, 0), self._workspace.take((P, T, B), x.dtype)
        job = jobs.NormsJob(n=T * B, width=H, x=x.data_ptr(), x_row=x.stride(0), ldx=x.stride(2), out=out.data_ptr())
        self._run("norms", job, P, x.dtype, ALIGN)
        return out

    def matmul(self, left: Tensor, right: Tensor) -> Tensor:
        """See `Engine.matmul`."""
        P, M, K = left.shape
        N = right.shape[-1]
        held, out = Held(left.dtype), self._workspace.take((P, M, N), left.dtype)
        job = jobs.MatmulJob(M=M, K=K, N=N, left=held(left), right=held(right), out=out.data_ptr())
        self._run("matmul", job, P, left.dtype, (K + 97) * width_of(N, left.dtype))
        return out

    def _matrix(self, P: int, T: int, B: int, H: int, dtype: torch.dtype) -> Tensor:
        return self._workspace.take((P, T, B, width_of(H, dtype)), dtype)[..., :H]

    def _run(self, kernel: str, job: Any, P: int, dtype: torch.dtype, scratch: int) -> None:
        """Run a kernel over the rows; `scratch`: elements per thread."""
        self._threads.run(_kernel(kernel), job, P, dtype, scratch)


_KERNELS = {
    "forward": "forward", "backward": "backward", "tangent": "tangent",
    "outer": "algebra", "norms": "algebra", "matmul": "algebra",
}  # fmt: skip
_NO_OMEGA = dict.fromkeys((name for name in jobs.BackwardJob._fields if name.startswith("omega")), 0)
_loaded: dict[str, Callable[..., None]] = {}


def _kernel(name: str) -> Callable[..., None]:
    """The compiled loop; numba is imported on first use only."""
    if name not in _loaded:
        _loaded[name] = getattr(importlib.import_module(f"{_PACKAGE}.{_KERNELS[name]}"), f"{name}_rows")
    return _loaded[name]


def _code(activation: Activation) -> int:
    return importlib.import_module(f"{_PACKAGE}.formulas").CODES.index(activation.name)
