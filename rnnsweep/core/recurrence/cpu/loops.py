"""Small loops that the kernels are made of: packing, padding, tiled products. Addresses in bytes, sizes in elements.

Padded matrices are [rows, Hp] with Hp the width rounded up to whole units of a vector; the padding is zero.
"""
# ruff: noqa: D103 - the comment above each piece says what it does

from __future__ import annotations

from rnnsweep.core.recurrence.cpu.compiling import inlined, part
from rnnsweep.core.recurrence.cpu.host import PANEL, TILES
from rnnsweep.core.recurrence.cpu.memory import item_bytes, load, store, vector_width
from rnnsweep.core.recurrence.cpu.pointwise import scale
from rnnsweep.core.recurrence.cpu.products import product_cols, product_rows


# Width n rounded up to whole units of a vector.
@inlined
def padded(zero, n):
    width = vector_width(zero)
    return (n + width - 1) // width * width


# [rows, columns] at `source` (row stride `stride`) into a padded matrix.
@part
def copy_in(zero, target, source, shape, stride):
    rows, columns = shape
    size, full = item_bytes(zero), padded(zero, columns)
    for r in range(rows):
        to, at = target + r * full * size, source + r * stride * size
        for c in range(columns):
            store(zero, load(zero, at + c * size), to + c * size)
        for c in range(columns, full):
            store(zero, zero, to + c * size)


# A padded matrix into [rows, columns] without gaps.
@part
def copy_out(zero, target, source, shape):
    rows, columns = shape
    size, full = item_bytes(zero), padded(zero, columns)
    for r in range(rows):
        to, at = target + r * columns * size, source + r * full * size
        for c in range(columns):
            store(zero, load(zero, at + c * size), to + c * size)


# `count` zeros.
@part
def fill(zero, target, count):
    size = item_bytes(zero)
    for i in range(count):
        store(zero, zero, target + i * size)


@part
def copy(zero, target, source, count):
    size = item_bytes(zero)
    for i in range(count):
        store(zero, load(zero, source + i * size), target + i * size)


# A matrix [inner, columns], element (k, n) at k * strides[0] + n * strides[1], into column panels of PANEL units:
# panel by panel, and in a panel k by k. It fills the inner indices from `first` on of `total`.
@part
def pack(zero, target, source, shape, strides, span):
    inner, columns = shape
    first, total = span
    size, width = item_bytes(zero), vector_width(zero)
    full = padded(zero, columns)
    for column in range(0, full, PANEL * width):
        wide = min(PANEL * width, full - column)
        own = min(wide, columns - column)
        for k in range(inner):
            to = target + (column * total + (first + k) * wide) * size
            at = source + (k * strides[0] + column * strides[1]) * size
            for n in range(own):
                store(zero, load(zero, at + n * strides[1] * size), to + n * size)
            for n in range(own, wide):
                store(zero, zero, to + n * size)


# Height of the next register tile: the tallest that fits, but no single row is left over where that can be helped.
@inlined
def _tile_of(rows):
    for height in TILES:
        if height <= rows and (rows - height != 1 or height <= 2):
            return height
    return 1


# c = start + a1 B1 + a2 B2, all rows; left = (a1, lda1, k1, a2, lda2, k2), right = packed B,
# result = (start, ldstart, c, ldc, padded columns).
@inlined
def times_packed(zero, rows, left, right, result):
    size, width = item_bytes(zero), vector_width(zero)
    a1, lda1, k1, a2, lda2, k2 = left
    start, ldstart, c, ldc, columns = result
    done = 0
    while done < rows:
        m = _tile_of(rows - done)
        numbers = (a1 + done * lda1 * size, lda1, k1, a2 + done * lda2 * size, lda2, k2, right, 0)
        places = (start + done * ldstart * size, ldstart, c + done * ldc * size, ldc, columns // width)
        product_rows(zero, m, numbers + places)
        done += m


# c += left^T right over `count` rows; left = (address, row stride, columns K), right = (address, row stride, columns),
# columns padded: what lies beyond the true ones is read, and reaches the padding of c only. c is [K, columns].
@inlined
def add_outer(zero, count, left, right, c):
    size, width = item_bytes(zero), vector_width(zero)
    a, lda, rows = left
    b, ldb, columns = right
    done = 0
    while done < rows:
        m = _tile_of(rows - done)
        at = c + done * columns * size
        product_cols(
            zero, m, (a + done * size, lda, count, 0, 0, 0, b, ldb, at, columns, at, columns, columns // width)
        )
        done += m


# target[n] = weight[n] * source[n] over rows of padded width; source = (address, row stride).
@inlined
def weigh(zero, target, source, rest):
    weight, count, full = rest
    at, stride = source
    size, vectors = item_bytes(zero), full // vector_width(zero)
    for n in range(count):
        scale(zero, (target + n * full * size, weight + n * size, at + n * stride * size, vectors))
