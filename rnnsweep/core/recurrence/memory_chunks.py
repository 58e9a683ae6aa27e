"""A matrix memory over a chunk of steps: products over all its steps at once, and their way back.

X sequences of heads, L lines (steps of a chunk), D entries of a key, E = D + 1 of a value and the 1 behind it: the
memory M [D, E] is C^T with n beside it. On a CPU lines and widths are padded to multiples of 16, see `numerics.matmul`;
what is in front of a chunk's first step writes nothing and is not read.

    W_ts = exp(write_s + keep_{s+1} + .. + keep_t), s <= t        decay_t = exp(keep_1 + .. + keep_t)
    z_t = sum_s W_ts (q_t k_s) v_s + decay_t q_t M                M <- decay_L M + sum_s W_Ls k_s v_s
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core import numerics
from rnnsweep.core.kernels import kernels_for

Lines = Float[Tensor, "X L _"]
Memory = Float[Tensor, "X _ _"]
Logs = Float[Tensor, "X L"]

NOTHING = -1e4
"""Logarithm of what weighs nothing: e to it is 0, and sums of it are finite."""


_BLOCK = 64


@dataclass(frozen=True)
class Chunk:
    """Of some steps of all sequences and heads.

    Attributes:
        q, k, v: queries, keys divided by sqrt(D), values with a 1 behind them.
        keep, write: logarithms of f' and i'.
    """

    q: Lines
    k: Lines
    v: Lines
    keep: Logs
    write: Logs


@dataclass(frozen=True)
class ChunkGradients:
    """Gradients of a chunk's parts, and of the memory before it; `keep` and `write` are of the logarithms."""

    q: Lines
    k: Lines
    v: Lines
    keep: Logs
    write: Logs
    memory: Memory | None


def pair_weights(keep: Logs, write: Logs, first: int) -> Float[Tensor, "X t L"]:
    """W [t, s] from line `first` of t on; no sum has terms of both signs: small weights have all their digits."""
    if (kernels := kernels_for("matrix_memories", keep.device)) is not None:
        return kernels.pair_weights(keep, write, first)
    L = keep.shape[1]
    earlier = keep.new_ones(L, L).tril_()
    total = torch.cumsum(keep[:, :, None] * earlier.tril(-1), 1)[:, first:]
    return (total + write[:, None]).exp_().mul_(earlier[first:])


def _blocks(L: int) -> list[tuple[int, int]]:
    """Lines whose queries are looked at together, the last ones first: none sees keys behind its block."""
    return [(max(0, end - _BLOCK), end) for end in range(L, 0, -_BLOCK)]


def last_weights(keep: Logs, write: Logs) -> Logs:
    """W_Ls: what the lines weigh behind the last one."""
    return (_suffix(keep) + write).exp_()


def _suffix(x: Logs) -> Logs:
    """Sums of what comes later."""
    later = torch.cat((x[:, 1:], torch.zeros_like(x[:, :1])), 1)
    return later.flip(1).cumsum(1).flip(1)


def read(chunk: Chunk, memory: Memory | None) -> Iterator[tuple[int, int, Lines]]:
    """z of some lines at a time: the first one, the one behind them, and what they read."""
    decay = None if memory is None else _decay(chunk)[..., None]
    for first, end in _blocks(chunk.v.shape[1]):
        products = numerics.matmul(chunk.q[:, first:end], chunk.k[:, :end].transpose(1, 2))
        weighed = products.mul_(pair_weights(chunk.keep[:, :end], chunk.write[:, :end], first))
        z = numerics.matmul(weighed, chunk.v[:, :end])
        if memory is not None and decay is not None:
            z.add_(numerics.matmul(chunk.q[:, first:end], memory).mul_(decay[:, first:end]))
        yield first, end, z


def written(chunk: Chunk, memory: Memory | None) -> Memory:
    """M behind the chunk."""
    weights = last_weights(chunk.keep, chunk.write)
    new = numerics.matmul((chunk.k * weights[..., None]).transpose(1, 2), chunk.v)
    return new if memory is None else new.add_(memory * _decay(chunk)[:, -1, None, None])


def _decay(chunk: Chunk) -> Logs:
    return torch.cumsum(chunk.keep, 1).exp_()


def backward(chunk: Chunk, memory: Memory | None, to_z: Lines, to_memory: Memory | None) -> ChunkGradients:
    """From gradients of z and of the memory behind the chunk; without memory before it that has no gradient."""
    to_q, to_k, to_v, to_keep = (torch.zeros_like(x) for x in (chunk.q, chunk.k, chunk.v, chunk.keep))
    for first, end in _blocks(to_q.shape[1]):
        q, k, v, to_block = chunk.q[:, first:end], chunk.k[:, :end], chunk.v[:, :end], to_z[:, first:end]
        weights = pair_weights(chunk.keep[:, :end], chunk.write[:, :end], first)  # X t s
        products = numerics.matmul(q, k.transpose(1, 2))
        to_products = numerics.matmul(to_block, v.transpose(1, 2)).mul_(weights)
        to_v[:, :end] += numerics.matmul(weights.mul_(products).transpose(1, 2), to_block)
        to_k[:, :end] += numerics.matmul(to_products.transpose(1, 2), q)
        to_q[:, first:end] = numerics.matmul(to_products, k)
        to_keep[:, :end] += _crossing(products.mul_(to_products), first)
    decay, before = _decay(chunk), None
    if memory is not None:
        scaled = to_z * decay[..., None]
        read_part = numerics.matmul(scaled, memory.transpose(1, 2))
        to_keep = to_keep + _from(_dots(chunk.q, read_part))
        to_q.add_(read_part)
        before = numerics.matmul(chunk.q.transpose(1, 2), scaled)
    if to_memory is not None:
        last = last_weights(chunk.keep, chunk.write)
        k_part = numerics.matmul(chunk.v, to_memory.transpose(1, 2)).mul_(last[..., None])
        v_part = numerics.matmul(chunk.k, to_memory).mul_(last[..., None])
        to_keep = to_keep + _before(_dots(chunk.k, k_part))
        to_k.add_(k_part)
        to_v.add_(v_part)
        if memory is not None:
            handed = to_memory * decay[:, -1, None, None]
            to_keep = to_keep + (handed * memory).sum(2).sum(1, keepdim=True)
            before = handed if before is None else before.add_(handed)
    return ChunkGradients(to_q, to_k, to_v, to_keep, _dots(chunk.k, to_k), before)


def _dots(left: Lines, right: Lines) -> Logs:
    return (left * right).sum(2)


def _from(x: Logs) -> Logs:
    """Sums of a line and those behind it."""
    return x.flip(1).cumsum(1).flip(1)


def _before(x: Logs) -> Logs:
    """Sums of the lines before."""
    return torch.cat((torch.zeros_like(x[:, :1]), x[:, :-1].cumsum(1)), 1)


def _crossing(to_weights: Float[Tensor, "X t L"], first: int) -> Logs:
    """Of gradients [t, s] of the logarithms of W, t from `first` on: for each r the sum over s < r <= t."""
    later = to_weights.new_ones(to_weights.shape[1:]).tril_(first - 1)
    total = torch.cumsum(to_weights, 2).mul_(later).sum(1)  # line r - 1: s < r, t >= r
    return torch.cat((torch.zeros_like(total[:, :1]), total[:, :-1]), 1)
