"""Counter-based random streams: every number is addressed, nothing has a state.

A number is a function of (row key, sequence id, stream, position) alone. So it does not depend on neighbours, pack
width, device or on how often anything else was drawn, and there is nothing to save but the counters that the caller
uses as ids.

Shapes: P rows · B mini-batch · n numbers per sequence.

Numerics:
    Integers are ``low + (word * span >> 32)``: their probabilities differ from 1 / span by at most 2**-32. Uniforms are
    ``(word >> 8) * 2**-24``, exact in float32 and float64. Both are equal to the bit on every device. Normals are
    formed in float64 on the CPU by scalar code, one at a time: the same whatever lies beside them.
"""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numba import njit
from torch import Tensor

from rnnsweep.core import philox

Split = Literal["train", "valid", "test"]


def key(seed: int, replica: int, purpose: str, trial: int | None = None) -> int:
    """Stream key of (sweep seed, replica, purpose): an int that fits int64, the same on every machine.

    Args:
        seed: of the sweep, any size.
        replica: number of the replica.
        purpose: what the numbers are for, e.g. ``train``, ``valid``, ``test``, ``init``.
        trial: number of the trial, only where seeds are independent per trial.

    Example:
        >>> key(0, 0, "train") == key(0, 0, "train"), key(0, 0, "train") == key(0, 1, "train")
        (True, False)
    """
    text = json.dumps([int(seed), int(replica), str(purpose), None if trial is None else int(trial)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def stream_of(name: str) -> int:
    """A stream number for a name, stable for ever, below `philox.STREAMS`; for per-row draws of named things."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") % philox.STREAMS


@dataclass(frozen=True)
class Draws:
    """Random numbers of one mini-batch, addressed by (row key, sequence id, stream, position).

    Attributes:
        keys: int64 [P], from `key`.
        ids: int64 [P, B], sequence ids: content depends on (key, id) only.
        batch_ids: int64 [P], for what is drawn once per mini-batch (random lengths).
        dtype: of the floating results.
        split: which part of a data set the ids count in; synthetic tasks with endless sequences ignore it.
        compiled: use the compiled loops on the CPU; the numbers are the same either way.
    """

    keys: Tensor
    ids: Tensor
    batch_ids: Tensor
    dtype: torch.dtype = torch.float32
    split: Split = "train"
    compiled: bool = True

    @property
    def device(self) -> torch.device:
        """Where the numbers are made."""
        return self.keys.device

    @property
    def fast(self) -> bool:
        """Whether compiled loops are to be used."""
        return self.compiled and self.keys.device.type == "cpu"

    def words(self, n: int, stream: int) -> Tensor:
        """Raw 32-bit words, int64 [P, B, n] in 0..2**32-1."""
        return self._words(self.ids, stream | philox.SEQUENCE, n)

    def integers(self, low: int | Tensor, high: int | Tensor, n: int, stream: int) -> Tensor:
        """U{low..high}, both included, int64 [P, B, n]; bounds are ints or broadcastable tensors [P, 1, 1].

        At most 2**31 - 1 different values.
        """
        return low + (self.words(n, stream) * (high - low + 1) >> 32)

    def uniforms(self, n: int, stream: int) -> Tensor:
        """U[0, 1) with 24 bits, exact in float32 and float64, `dtype` [P, B, n]."""
        return (self.words(n, stream) >> 8).to(self.dtype) * 2.0**-24

    def batch_integers(self, low: int | Tensor, high: int | Tensor, stream: int) -> Tensor:
        """U{low..high} once per mini-batch, int64 [P]; bounds are ints or tensors [P]."""
        word = self._words(self.batch_ids[:, None], stream | philox.BATCH, 1)[:, 0, 0]
        return low + (word * (high - low + 1) >> 32)

    def _words(self, ids: Tensor, stream: int, n: int) -> Tensor:
        make = philox.words_compiled if self.fast else philox.words_torch
        return make(self.keys, ids, stream, n)


def sample_ids(keys: Tensor, batch_ids: Tensor, batch: int, samples: int) -> Tensor:
    """Ids of a mini-batch drawn with replacement from a finite training set, int64 [P, batch] in 0..samples-1."""
    make = philox.words_compiled if keys.device.type == "cpu" else philox.words_torch
    words = make(keys, batch_ids[:, None], stream_of("sample ids") | philox.BATCH, batch)
    return words[:, 0] * samples >> 32


def normals(keys: Tensor, n: int, stream: int) -> Tensor:
    """N(0, 1), float64 [P, n], on the CPU, Box-Muller from 53-bit uniforms; number i depends on (key, stream, i) only.

    Numerics:
        The radius comes from U(0, 1], so that log(0) cannot occur; |x| <= 8.6.
    """
    return _per_row(_fill_normals, keys, n, stream, np.float64)


def uniforms53(keys: Tensor, n: int, stream: int) -> Tensor:
    """U[0, 1) with 53 bits, float64 [P, n], on the CPU."""
    return _per_row(_fill_uniforms, keys, n, stream, np.float64)


def permutations(keys: Tensor, n: int, stream: int) -> Tensor:
    """One random permutation of 0..n-1 per row, int64 [P, n], on the keys' device (Fisher and Yates)."""
    return _per_row(_fill_permutations, keys, n, stream, np.int64).to(keys.device)


def _per_row(loop, keys: Tensor, n: int, stream: int, dtype: type) -> Tensor:
    keys = keys.cpu().contiguous()
    out = np.empty((keys.shape[0], n), dtype=dtype)
    loop(keys.numpy(), stream | philox.ROW, out)
    return torch.from_numpy(out)


@njit(inline="always")
def _uniform53(high, low):
    """53 bits of two words as a float64 in [0, 1)."""
    return (np.float64(high >> np.uint64(5)) * 67108864.0 + np.float64(low >> np.uint64(6))) * 2.0**-53


@njit(inline="always")
def _padded(n):
    return np.empty((n + 3) // 4 * 4, dtype=np.uint64)


@njit(nogil=True, cache=True)
def _fill_uniforms(keys, stream, out):
    n = out.shape[1]
    words = _padded(2 * n)
    for p in range(out.shape[0]):
        philox.fill(keys[p], 0, stream, words)
        for i in range(n):
            out[p, i] = _uniform53(words[2 * i], words[2 * i + 1])


@njit(nogil=True, cache=True)
def _fill_normals(keys, stream, out):
    n = out.shape[1]
    words = _padded(2 * n + 2)
    for p in range(out.shape[0]):
        philox.fill(keys[p], 0, stream, words)
        for i in range(0, n, 2):
            radius = math.sqrt(-2.0 * math.log(_uniform53(words[2 * i], words[2 * i + 1]) + 2.0**-53))
            angle = 2.0 * math.pi * _uniform53(words[2 * i + 2], words[2 * i + 3])
            out[p, i] = radius * math.cos(angle)
            if i + 1 < n:
                out[p, i + 1] = radius * math.sin(angle)


@njit(nogil=True, cache=True)
def _fill_permutations(keys, stream, out):
    n = out.shape[1]
    words = _padded(n)
    for p in range(out.shape[0]):
        philox.fill(keys[p], 0, stream, words)
        for i in range(n):
            out[p, i] = i
        for i in range(n - 1, 0, -1):
            j = np.int64(words[i] * np.uint64(i + 1) >> np.uint64(32))
            out[p, i], out[p, j] = out[p, j], out[p, i]
