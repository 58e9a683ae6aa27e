"""What the kernels get: addresses (bytes) and sizes (elements), as named tuples of whole numbers. Address 0 = absent.

`w_row` is the stride of w_rec from one row of the pack to the next: it may lie in a larger slab.
"""

from __future__ import annotations

from typing import NamedTuple


class ForwardJob(NamedTuple):
    """Arguments of `forward_rows`; arrays as in `LoopWeights` and `Record`, h and slope padded to Hp."""

    T: int
    B: int
    H: int
    I: int  # noqa: E741 - inputs; H where pre-activations are given
    code: int
    inputs: int
    w_rec: int
    w_row: int
    w_in: int
    bias: int
    act_bias: int
    h0: int
    leak: int
    lengths: int
    h: int
    slope: int


class BackwardJob(NamedTuple):
    """Arguments of `backward_rows`; delta and x padded to Hp, T steps of each, or a ring of `chunk` and `slots`.

    `omega`: 0 without, 1 with norms, 2 with squared norms; the fields below it are read only then.
    """

    T: int
    B: int
    H: int
    I: int  # noqa: E741
    code: int
    inputs: int
    w_rec: int
    w_row: int
    leak: int
    lengths: int
    h: int
    slope: int
    last: int
    steps: int
    delta: int
    x: int
    chunk: int
    ring: int
    slots: int
    dw_rec: int
    dw_in: int
    dbias: int
    dact: int
    dh0: int
    omega: int
    omega_mean: int
    omega_bound: int
    omega_rows: int
    omega_value: int
    omega_share: int
    omega_w_rec: int


class TangentJob(NamedTuple):
    """Arguments of `tangent_rows`; delta padded. `stored`: earlier deltas are those of the last step's error alone."""

    T: int
    B: int
    H: int
    code: int
    w_rec: int
    w_row: int
    step: int
    leak: int
    horizon: int
    h: int
    slope: int
    delta: int
    last: int
    stored: int
    out_delta: int
    out_ddelta: int
    exponent: int


class OuterJob(NamedTuple):
    """Arguments of `outer_rows`; left [n, K] and right [n, M padded] with strides per pack row and per matrix row."""

    n: int
    K: int
    M: int
    left: int
    left_row: int
    ldl: int
    right: int
    right_row: int
    ldr: int
    weight: int
    out: int


class MatmulJob(NamedTuple):
    """Arguments of `matmul_rows`: [M, K] x [K, N] without gaps."""

    M: int
    K: int
    N: int
    left: int
    right: int
    out: int


class NormsJob(NamedTuple):
    """Arguments of `norms_rows`: x [n, width] with strides per pack row and per matrix row, out [n]."""

    n: int
    width: int
    x: int
    x_row: int
    ldx: int
    out: int
