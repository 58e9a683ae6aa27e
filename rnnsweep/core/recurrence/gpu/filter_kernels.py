"""Kernels of filters over time: one program goes through all steps of one sequence and a block of entries.

Entries do not meet each other, so that few rows still are many programs: 24 rows of 10 sequences are 240, of one warp
each. State stays in registers, and loads of the next STAGES - 1 steps are on their way while a step is computed.
Formulas: see `rnnsweep.core.recurrence.filtering`.
"""

from __future__ import annotations

import triton
import triton.language as tl

EPSILON = tl.constexpr(1e-16)  # `recurrence.filtering.EPSILON`: kernels read none but constants of their own kind


@triton.jit
def _first_step(lengths, row, sequence, T, EACH: tl.constexpr):
    """The sequence's own start, with lengths of rows or (EACH) of sequences."""
    return T - tl.load(lengths + (sequence if EACH else row)).to(tl.int32)


@triton.jit
def _entries(vector, row, n, like, G: tl.constexpr):
    """A block of a row's vector [G]; zero where absent."""
    if vector is not None:
        return tl.load(vector + row * G + n, mask=n < G, other=0.0)
    else:
        return tl.zeros((n.shape[0],), like.dtype.element_ty)


@triton.jit
def _held(w_in, row, n, INPUTS: tl.constexpr, G: tl.constexpr, INNER: tl.constexpr):
    """The block's columns of w_in [INPUTS, G] as a tile [INNER, block], zero beyond its edges; 0 without w_in."""
    if w_in is not None:
        i = tl.arange(0, INNER)
        inside = (i < INPUTS)[:, None] & (n < G)[None, :]
        return tl.load(w_in + row * INPUTS * G + i[:, None] * G + n[None, :], mask=inside, other=0.0)
    else:
        return 0


@triton.jit
def _inputs_at(inputs, place, INPUTS: tl.constexpr, INNER: tl.constexpr):
    i = tl.arange(0, INNER)
    return tl.load(inputs + place * INPUTS + i, mask=i < INPUTS, other=0.0)


@triton.jit
def _path(inputs, held, place, n, w_in, G: tl.constexpr, INPUTS: tl.constexpr, INNER: tl.constexpr):  # noqa: PLR0913
    """u_t w_in of the block: made here, or (without w_in) read."""
    if w_in is not None:
        # one thread has all inputs of its entries: the sum needs no exchange
        return tl.sum(_inputs_at(inputs, place, INPUTS, INNER)[:, None] * held, 0)
    else:
        return tl.load(inputs + place * G + n, mask=n < G, other=0.0)


@triton.jit(do_not_specialize=["T", "B", "decay_place", "decay_item", "beta_place", "beta_item"])
def filter_kernel(  # noqa: PLR0913
    inputs, w_in, bias, after, decay, scale, beta, lengths, drives, kept, T, B,
    decay_row, decay_place, decay_item, beta_row, beta_place, beta_item,
    G: tl.constexpr, INPUTS: tl.constexpr, INNER: tl.constexpr, BLOCK: tl.constexpr, EACH: tl.constexpr,
    STAGES: tl.constexpr,
):  # fmt: skip
    """Writes `drives` [P, T, B, G] and, with beta, `kept` [P, T, B, 3 G] from a sequence's own start on.

    Absent tensors are None; without `w_in` the inputs are u_t w_in, [P, T, B, G]. decay and beta come with the
    entries from one row, step and sequence to the next.
    """
    sequence = tl.program_id(0).to(tl.int64)
    row, b = sequence // B, (sequence % B).to(tl.int32)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    own = n < G
    start = _first_step(lengths, row, sequence, T, EACH)
    inputs += row * T * B * (INPUTS if w_in is not None else G)
    drives += row * T * B * G
    shift, unfiltered = _entries(bias, row, n, drives, G), _entries(after, row, n, drives, G)
    held, share = _held(w_in, row, n, INPUTS, G, INNER), tl.load(scale + row)
    decay += row * decay_row + b * decay_item
    if beta is not None:
        beta += row * beta_row + b * beta_item
        kept += row * T * B * 3 * G
    v, m = tl.zeros_like(shift), tl.zeros_like(shift)
    for t in range(0, start):
        tl.store(drives + (t * B + b) * G + n, unfiltered, mask=own)
    for t in tl.range(start, T, num_stages=STAGES):
        place = t * B + b
        z = _path(inputs, held, place, n, w_in, G, INPUTS, INNER) + shift
        v = tl.load(decay + t * decay_place) * v + share * z
        drive = v
        if beta is not None:
            rate = tl.load(beta + t * beta_place)
            m = rate * m + (1.0 - rate) * z * z
            inverse = 1.0 / tl.sqrt(m + EPSILON)
            drive = v * inverse
            tl.store(kept + place * 3 * G + n, z, mask=own)
            tl.store(kept + (place * 3 + 1) * G + n, drive, mask=own)
            tl.store(kept + (place * 3 + 2) * G + n, inverse, mask=own)
        tl.store(drives + place * G + n, drive + unfiltered, mask=own)


@triton.jit
def _pulled(up, v, m, kept, beta, place, t, later, fading, share, n, beta_place, G: tl.constexpr):  # noqa: PLR0913
    """One step of the reversed recursions: y_v and y_m, called v and m here, and dz."""
    if beta is not None:
        own = n < G
        z = tl.load(kept + place * 3 * G + n, mask=own, other=0.0)
        shown = tl.load(kept + (place * 3 + 1) * G + n, mask=own, other=0.0)
        inverse = tl.load(kept + (place * 3 + 2) * G + n, mask=own, other=0.0)
        dv = up * inverse
        v = fading * v + dv
        # d(v below^-1/2)/dm = -v below^-3/2 / 2, in what was kept: shown inverse is v / below.
        m = tl.load(beta + later * beta_place) * m - 0.5 * dv * shown * inverse
        # z acts twice: through v, and through its square in m.
        return v, m, share * v + 2.0 * (1.0 - tl.load(beta + t * beta_place)) * z * m
    else:
        v = fading * v + up
        return v, m, share * v


@triton.jit
def _idle(dz, start, b, B, n, G: tl.constexpr):
    """dz of steps before the sequence's own start, where it is wanted."""
    if dz is not None:
        for t in range(0, start):
            tl.store(dz + (t * B + b) * G + n, tl.zeros((n.shape[0],), dz.dtype.element_ty), mask=n < G)


@triton.jit
def _with_outer(total, inputs, place, d, INPUTS: tl.constexpr, INNER: tl.constexpr):
    """`total` [INNER, block] + u_t dz_t, where it is summed here."""
    if inputs is not None:
        total += _inputs_at(inputs, place, INPUTS, INNER)[:, None] * d[None, :]
    return total


@triton.jit
def _put_parts(  # noqa: PLR0913
    parts, inputs, path_sum, bias_sum, after_sum, row, b, B, n, G: tl.constexpr, INPUTS: tl.constexpr,
    INNER: tl.constexpr, BIAS: tl.constexpr, AFTER: tl.constexpr,
):  # fmt: skip
    """A sequence's lines of `parts` [P, lines, B, G]."""
    lines = (INPUTS if inputs is not None else 0) + BIAS + AFTER
    own = n < G
    if inputs is not None:
        i = tl.arange(0, INNER)
        inside = (i < INPUTS)[:, None] & own[None, :]
        tl.store(parts + (row * lines * B + b) * G + i[:, None] * B * G + n[None, :], path_sum, mask=inside)
    if BIAS:
        tl.store(parts + ((row * lines + lines - 1 - AFTER) * B + b) * G + n, bias_sum, mask=own)
    if AFTER:
        tl.store(parts + ((row * lines + lines - 1) * B + b) * G + n, after_sum, mask=own)


@triton.jit(do_not_specialize=["T", "B", "decay_place", "decay_item", "beta_place", "beta_item"])
def filter_back_kernel(  # noqa: PLR0913
    inputs, kept, g, decay, scale, beta, lengths, dz, parts, T, B,
    decay_row, decay_place, decay_item, beta_row, beta_place, beta_item,
    G: tl.constexpr, INPUTS: tl.constexpr, INNER: tl.constexpr, BIAS: tl.constexpr, AFTER: tl.constexpr,
    BLOCK: tl.constexpr, EACH: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """Writes where wanted `dz` [P, T, B, G], and sums over a sequence's steps, `parts` [P, lines, B, G].

    The lines: INPUTS of w_in where `inputs` are given, one of the bias, one of what is added unfiltered; the last two
    where BIAS and AFTER (1 or 0) say so. `g` are the gradients of the drives.
    """
    sequence = tl.program_id(0).to(tl.int64)
    row, b = sequence // B, (sequence % B).to(tl.int32)
    n = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    start = _first_step(lengths, row, sequence, T, EACH)
    share, base = tl.load(scale + row), row * T * B
    g += base * G
    decay += row * decay_row + b * decay_item
    if beta is not None:
        beta += row * beta_row + b * beta_item
        kept += base * 3 * G
    if dz is not None:
        dz += base * G
    if inputs is not None:
        inputs += base * INPUTS
    _idle(dz, start, b, B, n, G)
    v = tl.zeros((BLOCK,), g.dtype.element_ty)
    m, bias_sum, after_sum = tl.zeros_like(v), tl.zeros_like(v), tl.zeros_like(v)
    path_sum = tl.zeros((INNER, BLOCK), g.dtype.element_ty)
    for back in tl.range(0, T - start, num_stages=STAGES):
        t = T - 1 - back
        place = t * B + b
        # Nothing comes from later at the last step: any decay will do, and its own is there.
        later = tl.minimum(t + 1, T - 1)
        up = tl.load(g + place * G + n, mask=n < G, other=0.0)
        fading = tl.load(decay + later * decay_place)
        v, m, d = _pulled(up, v, m, kept, beta, place, t, later, fading, share, n, beta_place, G)
        after_sum += up
        bias_sum += d
        path_sum = _with_outer(path_sum, inputs, place, d, INPUTS, INNER)
        if dz is not None:
            tl.store(dz + place * G + n, d, mask=n < G)
    if parts is not None:
        _put_parts(parts, inputs, path_sum, bias_sum, after_sum, row, b, B, n, G, INPUTS, INNER, BIAS, AFTER)


@triton.jit(do_not_specialize=["B"])
def filter_sums_kernel(  # noqa: PLR0913
    parts, w_in, bias, after, B,
    G: tl.constexpr, INPUTS: tl.constexpr, LINES: tl.constexpr, BLOCK: tl.constexpr, ITEMS: tl.constexpr,
):  # fmt: skip
    """Sums `parts` [P, LINES, B, G] over the sequences into `w_in` [P, INPUTS, G], `bias` and `after` [P, G], or None.

    INPUTS is 0 without w_in. ITEMS sequences are on their way at once; one order for every P.
    """
    program = tl.program_id(0).to(tl.int64)
    row, line = program // LINES, (program % LINES).to(tl.int32)
    n, item = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, ITEMS)
    own = n < G
    parts += program * B * G
    total = tl.zeros((BLOCK,), parts.dtype.element_ty)
    for first in range(0, B, ITEMS):
        b = first + item
        inside = (b < B)[:, None] & own[None, :]
        total += tl.sum(tl.load(parts + b[:, None] * G + n[None, :], mask=inside, other=0.0), 0)
    if w_in is not None:
        tl.store(w_in + (row * INPUTS + line) * G + n, total, mask=own & (line < INPUTS))
    if bias is not None:
        tl.store(bias + row * G + n, total, mask=own & (line == INPUTS))
    if after is not None:
        tl.store(after + row * G + n, total, mask=own & (line == LINES - 1))
