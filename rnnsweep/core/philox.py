"""Philox4x32-10: four random 32-bit words for every (key, counter); twice, equal to the bit.

`words_torch` is plain int64 arithmetic and runs on any device; `words_compiled` is compiled for the CPU. Both use the
counter layout

    counter = (low half of id, high half of id, domain | stream, block)        key = (low half, high half)

and word `n` of a stream is word `n % 4` of block `n // 4`.

Numerics:
    A 32 x 32 bit product fits 64 bits; int64 wraps around without harm and its upper half is masked after the shift.

References:
    Salmon, Moraes, Dror, Shaw (2011), *Parallel random numbers: as easy as 1, 2, 3*; known answers from Random123.
"""

from __future__ import annotations

import numpy as np
import torch
from numba import njit
from torch import Tensor

_MASK = 0xFFFFFFFF
_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)
_ROUNDS = 10

_M0, _M1 = np.uint64(_MULTIPLIERS[0]), np.uint64(_MULTIPLIERS[1])
_W0, _W1 = np.uint64(_WEYL[0]), np.uint64(_WEYL[1])
_LOW, _HALF = np.uint64(_MASK), np.uint64(32)

SEQUENCE, BATCH, ROW = 0, 1 << 30, 2 << 30
"""Domains, in the two top bits of the stream word: what is drawn per sequence, per mini-batch, per row never meets."""
STREAMS = 1 << 30
"""Stream numbers are below this."""

Words4 = tuple[Tensor, Tensor, Tensor, Tensor]


def block_torch(counter: Words4, key: tuple[Tensor, Tensor]) -> Words4:
    """One block per element: 32-bit words as int64 tensors that broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c2 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, ((p0 >> 32) & _MASK) ^ c3 ^ k1
        c1, c3 = p1 & _MASK, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def words_torch(keys: Tensor, ids: Tensor, stream: int, n: int) -> Tensor:
    """Words 0..n-1 of every sequence, int64 [P, B, n] in 0..2**32-1; keys [P], ids [P, B], any device."""
    blocks = torch.arange(-(-n // 4), device=ids.device)
    ids, keys = ids[:, :, None], keys[:, None, None]
    counter = (ids & _MASK, (ids >> 32) & _MASK, torch.full_like(ids, stream), blocks[None, None])
    four = block_torch(counter, (keys & _MASK, (keys >> 32) & _MASK))
    return torch.stack(torch.broadcast_tensors(*four), dim=-1).flatten(2)[:, :, :n]


@njit(inline="always")
def block(c0, c1, c2, c3, k0, k1):
    """One block for compiled loops; words are uint64 below 2**32."""
    for _ in range(_ROUNDS):
        p0 = _M0 * c0
        p1 = _M1 * c2
        c0, c1, c2, c3 = (p1 >> _HALF) ^ c1 ^ k0, p1 & _LOW, (p0 >> _HALF) ^ c3 ^ k1, p0 & _LOW
        k0 = (k0 + _W0) & _LOW
        k1 = (k1 + _W1) & _LOW
    return c0, c1, c2, c3


@njit(nogil=True, cache=True)
def fill(key, sequence, stream, out):
    """Write the first `len(out)` words of one stream; `len(out)` is a multiple of 4. For compiled loops."""
    k0, k1 = np.uint64(key) & _LOW, np.uint64(key) >> _HALF
    i0, i1 = np.uint64(sequence) & _LOW, np.uint64(sequence) >> _HALF
    for i in range(out.shape[0] // 4):
        w0, w1, w2, w3 = block(i0, i1, np.uint64(stream), np.uint64(i), k0, k1)
        out[4 * i] = w0
        out[4 * i + 1] = w1
        out[4 * i + 2] = w2
        out[4 * i + 3] = w3


@njit(nogil=True, cache=True)
def _fill_all(keys, ids, stream, out):
    for p in range(ids.shape[0]):
        for b in range(ids.shape[1]):
            fill(keys[p], ids[p, b], stream, out[p, b])


def words_compiled(keys: Tensor, ids: Tensor, stream: int, n: int) -> Tensor:
    """As `words_torch`, for tensors on the CPU."""
    out = np.empty((*ids.shape, -(-n // 4) * 4), dtype=np.int64)
    _fill_all(keys.contiguous().numpy(), ids.contiguous().numpy(), stream, out)
    return torch.from_numpy(out)[:, :, :n]
