"""Masks of one training mini-batch, addressed as all random numbers are: nothing is drawn twice, nothing is saved.

Entry h of a mask is a function of the row's key, its update, the sequence's place in the mini-batch, what the mask is
for, the layer, and the step counted from the end, alone. Steps count from the end because sequences are right-aligned:
those of a sequence are then the same however long its neighbours are.

Shapes: see `core.types`; K entries that are masked.

Numerics:
    An entry is dropped where 16 random bits are below ``round(rate 2^16)``: probabilities are within 2^-17 of the rate.
    The decisions are equal to the bit on every device; a rate of 0 drops nothing, and its factor is exactly 1.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int64
from numba import njit
from torch import Tensor

from rnnsweep.core.host_graph import launch_on_arrays
from rnnsweep.core.rng import BATCH, SEQUENCE, block, kernels_on, stream_of, words_torch

_LEVELS = 1 << 16
_LOW, _HALF, _BITS16 = np.uint64(0xFFFFFFFF), np.uint64(32), np.uint64(16)
_NOTHING, _ALL16 = np.uint64(0), np.uint64(0xFFFF)


@dataclass(frozen=True)
class MaskDraws:
    """Where the masks of one mini-batch come from.

    Attributes:
        keys: int64 [P], stream keys of purpose ``dropout``.
        step: int64 [P], updates so far. batch: B.
        layer: label of the loop that they are for (`loops.LoopPlace`), numbers from 1 at the inputs.
        compiled: use the compiled loop of the CPU; the numbers are the same either way.
    """

    keys: Int64[Tensor, " P"]
    step: Int64[Tensor, " P"]
    batch: int
    layer: str = "1"
    compiled: bool = True

    def of_layer(self, layer: str) -> MaskDraws:
        """Those of another layer, or of its loop that reads from the end."""
        return replace(self, layer=layer)

    def steps(self, name: str, rate: Float[Tensor, " P"], T: int, K: int) -> Float[Tensor, "P T B K"]:
        """Factors of inverted dropout, 0 or 1 / (1 - rate), anew at every step."""
        return self._scaled(self._sequences(name, rate, T, K), rate)

    def sequences(self, name: str, rate: Float[Tensor, " P"], K: int) -> Float[Tensor, "P 1 B K"]:
        """Factors of inverted dropout, one mask for all steps of a sequence."""
        return self._scaled(self._sequences(name, rate, 1, K), rate)

    def weights(self, name: str, rate: Float[Tensor, " P"], shape: tuple[int, int]) -> Float[Tensor, "P R A"]:
        """Factors of inverted dropout for the entries of a matrix, one mask for the whole mini-batch."""
        R, A = shape
        kept = self._kept(self.step[:, None], name, BATCH, rate, R, A)[:, :, 0]  # P R A
        return self._scaled(kept, rate)

    def zones(self, name: str, rate: Float[Tensor, " P"], T: int, K: int) -> Float[Tensor, "P T B K"]:
        """1 where a unit keeps its state (probability `rate`), else 0, anew at every step."""
        return 1 - self._sequences(name, rate, T, K)

    def _sequences(self, name: str, rate: Tensor, T: int, K: int) -> Tensor:
        ids = self.step[:, None] * self.batch + torch.arange(self.batch, device=self.step.device)
        return self._kept(ids, name, SEQUENCE, rate, T, K)

    def _kept(self, ids: Tensor, name: str, domain: int, rate: Tensor, T: int, K: int) -> Tensor:
        """1 where an entry stays, else 0, of `rate`'s type [P, T, B, K]."""
        stream = stream_of(f"{name} of layer {self.layer}") | domain
        dropped = (rate.double() * _LEVELS).round().to(torch.int64)
        if self.compiled and rate.device.type == "cpu":
            out = torch.empty((len(ids), T, ids.shape[1], K), dtype=rate.dtype)
            launch_on_arrays(_fill_kept, self.keys, ids, stream, dropped, out)
            return out
        return self._kept_torch(ids, stream, dropped, T, K).to(rate.dtype)

    def _kept_torch(self, ids: Tensor, stream: int, dropped: Tensor, T: int, K: int) -> Tensor:
        # Eight decisions per block of four words; every step begins a block of its own.
        blocks = -(-K // 8)
        kernels = kernels_on(ids.device) if self.compiled else None
        make = words_torch if kernels is None else kernels.words
        words = make(self.keys, ids, stream, T * blocks * 4).unflatten(2, (T, blocks, 4)).flip(2)  # P B T blocks 4
        # as the compiled loop has them: the low halves of the four words, then the high ones
        halves = torch.cat((words & 0xFFFF, words >> 16), -1).flatten(3)[..., :K]
        return (halves >= dropped[:, None, None, None]).transpose(1, 2)

    @staticmethod
    def _scaled(kept: Tensor, rate: Tensor) -> Tensor:
        # A product with exactly 1 where the rate is 0, which no later product can see.
        return kept.mul_((1 / (1 - rate)).reshape(-1, *(1 for _ in kept.shape[1:])))


@njit(nogil=True, cache=True)
def _fill_kept(keys, ids, stream, dropped, out):
    P, T, B, K = out.shape
    blocks = -(-K // 8)
    # Words of a whole step apart from what is made of them: both loops are then vectorised.
    words = np.empty((4, blocks), dtype=np.uint64)
    for p in range(P):
        k0, k1 = np.uint64(keys[p]) & _LOW, np.uint64(keys[p]) >> _HALF
        below = np.uint64(dropped[p])
        for b in range(B):
            i0, i1 = np.uint64(ids[p, b]) & _LOW, np.uint64(ids[p, b]) >> _HALF
            for t in range(T):
                first = np.uint64((T - 1 - t) * blocks)
                for n in range(blocks):
                    w0, w1, w2, w3 = block(i0, i1, np.uint64(stream), first + np.uint64(n), k0, k1)
                    words[0, n], words[1, n], words[2, n], words[3, n] = w0, w1, w2, w3
                for k in range(K):
                    word = words[k % 4, k // 8]
                    half = word >> _BITS16 if k % 8 >= 4 else word & _ALL16
                    out[p, t, b, k] = 1.0 if half >= below else 0.0
