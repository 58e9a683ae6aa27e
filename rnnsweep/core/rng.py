"""Counter-based random streams: every number is addressed, nothing has a state.

A number is a function of (row key, sequence id, stream, position) alone. So it does not depend on neighbours, pack
width, device or on how often anything else was drawn, and there is nothing to save but the counters that the caller
uses as ids. The generator is Philox4x32-10: four random 32-bit words for every (key, counter), with the counter layout

    counter = (low half of id, high half of id, domain | stream, block)        key = (low half, high half)

and word `n` of a stream is word `n % 4` of block `n // 4`. It is there three times, equal to the bit: `words_torch` is
plain int64 arithmetic and runs on any device; `words_compiled` is compiled for the CPU; `gpu.random_numbers` is one
kernel of Triton, where tensors are on a device that has it.

Shapes: P rows · B mini-batch · n numbers per sequence.

Numerics:
    Integers are ``low + (word * span >> 32)``: their probabilities differ from 1 / span by at most 2**-32. Uniforms are
    ``(word >> 8) * 2**-24``, exact in float32 and float64. Both are equal to the bit on every device. Normals are
    formed in float64 on the CPU by scalar code, one at a time: the same whatever lies beside them. A product of two
    words fits 64 bits; int64 wraps around without harm and its upper half is masked after the shift.

References:
    Salmon, Moraes, Dror, Shaw (2011), *Parallel random numbers: as easy as 1, 2, 3*; known answers from Random123.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import math
import subprocess
import warnings
from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from numba import njit
from torch import Tensor

from rnnsweep.core import host_graph

Split = Literal["train", "valid", "test"]

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

Words4 = tuple[Int64[Tensor, " ..."], Int64[Tensor, " ..."], Int64[Tensor, " ..."], Int64[Tensor, " ..."]]


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
    # JSON, since joined texts could run together: (1, 12) and (11, 2)
    text = json.dumps([int(seed), int(replica), str(purpose), None if trial is None else int(trial)])
    # not `hash`, which Python salts per process; signed, so that it fits torch's int64
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little", signed=True)


def stream_of(name: str) -> int:
    """A stream number for a name, stable for ever, below `STREAMS`; for per-row draws of named things."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=4).digest(), "little") % STREAMS


@dataclass(frozen=True)
class Draws:
    """Random numbers of one mini-batch, addressed by (row key, sequence id, stream, position).

    Attributes:
        keys: int64 [P], from `key`.
        ids: int64 [P, B], sequence ids: content depends on (key, id) only.
        batch_ids: int64 [P], for what is drawn once per mini-batch (random lengths).
        dtype: of the floating results.
        split: which part of a data set the ids count in; synthetic tasks with endless sequences ignore it.
        compiled: use the compiled loops of the CPU, or the kernel of the GPU; the numbers are the same either way.
        tokens: whether inputs that are symbols come as their codes instead of one-hot vectors.
    """

    keys: Tensor
    ids: Tensor
    batch_ids: Tensor
    dtype: torch.dtype = torch.float32
    split: Split = "train"
    compiled: bool = True
    tokens: bool = False

    @property
    def device(self) -> torch.device:
        """Where the numbers are made."""
        return self.keys.device

    @property
    def fast(self) -> bool:
        """Whether compiled loops of the CPU are to be used."""
        return self.compiled and self.keys.device.type == "cpu"

    @property
    def kernels(self) -> ModuleType | None:
        """`core.gpu.random_numbers` where it is to be used."""
        return kernels_on(self.keys.device) if self.compiled else None

    def words(self, n: int, stream: int) -> Int64[Tensor, "P B n"]:
        """Raw 32-bit words, int64 [P, B, n] in 0..2**32-1."""
        return self._words(self.ids, stream | SEQUENCE, n)

    def integers(
        self, low: int | Int64[Tensor, "P 1 1"], high: int | Int64[Tensor, "P 1 1"], n: int, stream: int
    ) -> Int64[Tensor, "P B n"]:
        """U{low..high}, both included, int64 [P, B, n]; bounds are ints or broadcastable tensors [P, 1, 1].

        At most 2**31 - 1 different values.
        """
        return self._integers(self.ids, stream | SEQUENCE, n, low, high)

    def uniforms(self, n: int, stream: int) -> Float[Tensor, "P B n"]:
        """U[0, 1) with 24 bits, exact in float32 and float64, `dtype` [P, B, n]."""
        if self.kernels is not None:
            return self.kernels.uniforms(self.keys, self.ids, stream | SEQUENCE, n, self.dtype)
        return (self.words(n, stream) >> 8).to(self.dtype) * 2.0**-24

    def batch_integers(
        self, low: int | Int64[Tensor, " P"], high: int | Int64[Tensor, " P"], stream: int
    ) -> Int64[Tensor, " P"]:
        """U{low..high} once per mini-batch, int64 [P]; bounds are ints or tensors [P]."""
        # A domain of its own: what is drawn per mini-batch never meets what is drawn per sequence.
        low, high = (bound if isinstance(bound, int) else bound[:, None, None] for bound in (low, high))
        return self._integers(self.batch_ids[:, None], stream | BATCH, 1, low, high)[:, 0, 0]

    def _words(self, ids: Tensor, stream: int, n: int) -> Tensor:
        if self.kernels is not None:
            return self.kernels.words(self.keys, ids, stream, n)
        make = words_compiled if self.fast else words_torch
        return make(self.keys, ids, stream, n)

    def _integers(self, ids: Tensor, stream: int, n: int, low: int | Tensor, high: int | Tensor) -> Tensor:
        if self.kernels is not None:
            return self.kernels.integers(self.keys, ids, stream, n, low, high)
        # not `%`, which needs a division per number
        return low + (self._words(ids, stream, n) * (high - low + 1) >> 32)


@lru_cache(maxsize=8)
def kernels_on(device: torch.device) -> ModuleType | None:
    """`gpu.random_numbers` where its kernel runs on this device, else None: then torch's operations make the numbers.

    Tried once: Triton compiles a launcher with the machine's C compiler, which a slim image need not have.
    """
    if device.type != "cuda":
        return None
    try:
        kernels = importlib.import_module("rnnsweep.core.gpu.random_numbers")
        kernels.words(*(torch.zeros(1, *more, dtype=torch.int64, device=device) for more in ((), (1,))), 0, 1)
    except ImportError:  # without triton no kernel is expected
        return None
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        text = f"random numbers are made by torch's operations, which is slow: {str(error).splitlines()[0]}"
        warnings.warn(text, RuntimeWarning, stacklevel=2)
        return None
    return kernels


def sample_ids(
    keys: Int64[Tensor, " P"], batch_ids: Int64[Tensor, " P"], batch: int, samples: int
) -> Int64[Tensor, "P B"]:
    """Ids of a mini-batch drawn with replacement from a finite training set, int64 [P, batch] in 0..samples-1."""
    stream, kernels = stream_of("sample ids") | BATCH, kernels_on(keys.device)
    if kernels is not None:
        return kernels.integers(keys, batch_ids[:, None], stream, batch, 0, samples - 1)[:, 0]
    make = words_compiled if keys.device.type == "cpu" else words_torch
    return make(keys, batch_ids[:, None], stream, batch)[:, 0] * samples >> 32


def normals(keys: Int64[Tensor, " P"], n: int, stream: int) -> Float64[Tensor, "P n"]:
    """N(0, 1), float64 [P, n], on the CPU, Box-Muller from 53-bit uniforms; number i depends on (key, stream, i) only.

    Numerics:
        The radius comes from U(0, 1], so that log(0) cannot occur; |x| <= 8.6.
    """
    return _per_row(_fill_normals, keys, n, stream, torch.float64)


def uniforms53(keys: Int64[Tensor, " P"], n: int, stream: int) -> Float64[Tensor, "P n"]:
    """U[0, 1) with 53 bits, float64 [P, n], on the CPU."""
    return _per_row(_fill_uniforms, keys, n, stream, torch.float64)


def permutations(keys: Int64[Tensor, " P"], n: int, stream: int) -> Int64[Tensor, "P n"]:
    """One random permutation of 0..n-1 per row, int64 [P, n], on the keys' device (Fisher and Yates)."""
    return _per_row(_fill_permutations, keys, n, stream, torch.int64).to(keys.device)


def _per_row(loop, keys: Tensor, n: int, stream: int, dtype: torch.dtype) -> Tensor:
    # On the CPU always: normals go through libm, whose last bit differs between devices.
    keys = keys.cpu().contiguous()
    out = torch.empty((keys.shape[0], n), dtype=dtype)
    host_graph.launch_on_arrays(loop, keys, stream | ROW, out)
    return out


def block_torch(counter: Words4, key: tuple[Int64[Tensor, " ..."], Int64[Tensor, " ..."]]) -> Words4:
    """One block per element: 32-bit words as int64 tensors that broadcast against each other."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        p0, p1 = _MULTIPLIERS[0] * c0, _MULTIPLIERS[1] * c2
        c0, c2 = ((p1 >> 32) & _MASK) ^ c1 ^ k0, ((p0 >> 32) & _MASK) ^ c3 ^ k1
        c1, c3 = p1 & _MASK, p0 & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def words_torch(keys: Int64[Tensor, " P"], ids: Int64[Tensor, "P B"], stream: int, n: int) -> Int64[Tensor, "P B n"]:
    """Words 0..n-1 of every sequence, int64 [P, B, n] in 0..2**32-1; keys [P], ids [P, B], any device."""
    blocks = torch.arange(-(-n // 4), device=ids.device)
    ids, keys = ids[:, :, None], keys[:, None, None]
    counter = (ids & _MASK, (ids >> 32) & _MASK, torch.full_like(ids, stream), blocks[None, None])
    four = block_torch(counter, (keys & _MASK, (keys >> 32) & _MASK))
    return torch.stack(torch.broadcast_tensors(*four), dim=-1).flatten(2)[:, :, :n]  # P B n


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


def words_compiled(keys: Int64[Tensor, " P"], ids: Int64[Tensor, "P B"], stream: int, n: int) -> Int64[Tensor, "P B n"]:
    """As `words_torch`, for tensors on the CPU."""
    out = torch.empty((*ids.shape, -(-n // 4) * 4), dtype=torch.int64)
    host_graph.launch_on_arrays(_fill_all, keys, ids, stream, out)
    return out[:, :, :n]


@njit(inline="always")
def _uniform53(high, low):
    """53 bits of two words as a float64 in [0, 1)."""
    # 27 bits times 2**26, plus 26 bits
    return (np.float64(high >> np.uint64(5)) * 67108864.0 + np.float64(low >> np.uint64(6))) * 2.0**-53


@njit(inline="always")
def _padded(n):
    return np.empty((n + 3) // 4 * 4, dtype=np.uint64)


@njit(nogil=True, cache=True)
def _fill_uniforms(keys, stream, out):
    n = out.shape[1]
    words = _padded(2 * n)
    for p in range(out.shape[0]):
        fill(keys[p], 0, stream, words)
        for i in range(n):
            out[p, i] = _uniform53(words[2 * i], words[2 * i + 1])


@njit(nogil=True, cache=True)
def _fill_normals(keys, stream, out):
    n = out.shape[1]
    # two words for each uniform; an odd n needs those of one more angle
    words = _padded(2 * n + 2)
    for p in range(out.shape[0]):
        fill(keys[p], 0, stream, words)
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
        fill(keys[p], 0, stream, words)
        for i in range(n):
            out[p, i] = i
        for i in range(n - 1, 0, -1):
            j = np.int64(words[i] * np.uint64(i + 1) >> np.uint64(32))  # U{0..i}
            out[p, i], out[p, j] = out[p, j], out[p, i]
