"""Counter-based random streams (Philox): see MATHS and DESIGN §4. Interface; the body is being written."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


def key(seed: int, replica: int, purpose: str, trial: int | None = None) -> int:
    """Stream key of (sweep seed, replica, purpose), an int that fits int64; `trial` only for independent seeds."""
    raise NotImplementedError


@dataclass(frozen=True)
class Draws:
    """Random numbers of one mini-batch, addressed by (row key, sequence id, stream, position).

    Attributes:
        keys: int64 [P], from `key`.
        ids: int64 [P, B], sequence ids: content depends on (key, id) only.
        batch_ids: int64 [P], for what is drawn once per mini-batch (random lengths).
        dtype: of the floating results.
    """

    keys: Tensor
    ids: Tensor
    batch_ids: Tensor
    dtype: torch.dtype = torch.float32

    def integers(self, low: int | Tensor, high: int | Tensor, n: int, stream: int) -> Tensor:
        """U{low..high}, both included, int64 [P, B, n]; bounds are ints or broadcastable tensors [P, 1, 1]."""
        raise NotImplementedError

    def uniforms(self, n: int, stream: int) -> Tensor:
        """U[0, 1) with 24 bits, exact in float32 and float64, `dtype` [P, B, n]."""
        raise NotImplementedError

    def batch_integers(self, low: int, high: int, stream: int) -> Tensor:
        """U{low..high} once per mini-batch, int64 [P]."""
        raise NotImplementedError


def normals(keys: Tensor, n: int, stream: int) -> Tensor:
    """N(0, 1), float64 [P, n], on the CPU, Box-Muller from 53-bit uniforms."""
    raise NotImplementedError


def permutations(keys: Tensor, n: int, stream: int) -> Tensor:
    """One random permutation of 0..n-1 per row, int64 [P, n]."""
    raise NotImplementedError
