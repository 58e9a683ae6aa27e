"""What the gated kernels get: addresses (bytes) and sizes (elements), as in `jobs`. Address 0 = absent.

Nothing of a gated record is padded: rows of a state have S entries (LSTM 2 H, GRU H), those of `kept` 5 H or 4 H, those
of `delta` 4 H; gradients of the recurrent matrix read the first A of them (4 H or 3 H).
"""

from __future__ import annotations

from typing import NamedTuple

LSTM, GRU = 0, 1
"""Kinds of cells."""


class GatedForwardJob(NamedTuple):
    """Arguments of `gated_forward_rows`; arrays as in `LoopWeights` and `GatedRecord`.

    `inputs` has I entries per step and sample: inputs, or drives [A] where there is no `w_in`. `own` is the GRU's b_n.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741 - inputs
    kind: int
    inputs: int
    w_rec: int
    w_row: int
    w_in: int
    bias: int
    own: int
    h0: int
    h0_width: int
    lengths: int
    h: int
    kept: int


class GatedBackwardJob(NamedTuple):
    """Arguments of `gated_backward_rows`; `delta` has T steps, or is a ring of `chunk` steps per thread.

    The direct gradients have `direct_width` entries per sample: H, or S. Without `x` nobody wants the trace.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741
    kind: int
    inputs: int
    w_rec: int
    w_row: int
    lengths: int
    h: int
    kept: int
    last: int
    steps: int
    direct_width: int
    delta: int
    x: int
    chunk: int
    ring: int
    dw_rec: int
    dw_in: int
    dbias: int
    down: int
    dh0: int
    h0_width: int
