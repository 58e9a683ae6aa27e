"""Drawing one parameter for every row: what all initialisations share.

Shapes: P rows. A weight's last two sizes are ``[from, to]``; sizes before them count independent matrices. A recurrent
weight ``[H, G H]`` is G square blocks side by side (gates), ``[G H, H]`` one on top of the other (a state of G parts).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.types import ParameterSpec
from rnnsweep.errors import ConfigError

WEIGHTS = ("input", "recurrent", "output")
"""Roles that initialisations know; all other parameters stay zero."""


def weights(specs: Sequence[ParameterSpec], *roles: str) -> Iterable[ParameterSpec]:
    """Parameters of the given roles (default: all weights) in order; those without entries are left out.

    A network without inputs has input weights ``[0, H]``, whose fan in no formula can divide by.
    """
    return (spec for spec in specs if spec.role in (roles or WEIGHTS) and spec.size > 0)


def standard_normal(spec: ParameterSpec, keys: Int64[Tensor, " P"]) -> Float64[Tensor, "P ..."]:
    """N(0, 1), float64 [P, *shape]; depends on (row key, parameter's name) only."""
    return rng.normals(keys, spec.size, rng.stream_of(spec.name)).unflatten(1, spec.shape)


def standard_uniform(spec: ParameterSpec, keys: Int64[Tensor, " P"]) -> Float64[Tensor, "P ..."]:
    """U[0, 1), float64 [P, *shape]; depends on (row key, parameter's name) only."""
    return rng.uniforms53(keys, spec.size, rng.stream_of(spec.name)).unflatten(1, spec.shape)


def per_row(values: Float64[Tensor, " P"], spec: ParameterSpec) -> Float64[Tensor, "P ..."]:
    """A vector [P] made to broadcast against [P, *shape]."""
    return values.reshape(-1, *(1 for _ in spec.shape))  # P 1 ... 1


def hyper_or(
    name: str, hypers: Mapping[str, Float64[Tensor, " P"]], instead: Float64[Tensor, " P"]
) -> Float64[Tensor, " P"]:
    """A per-row hyperparameter that may be null: [P]; where it is absent or NaN, `instead` stands."""
    values = hypers.get(name)
    if values is None:
        return instead
    # NaN is null: a tensor has no other way to say so.
    return torch.where(torch.isnan(values), instead, values)


def gains(
    spec: ParameterSpec, keys: Int64[Tensor, " P"], hypers: Mapping[str, Float64[Tensor, " P"]], gain: float
) -> Float64[Tensor, " P"]:
    """Gain of each row [P]: the config's or the activation's where the weight feeds it; 1 for the read-out."""
    ones = torch.ones(keys.shape[0], dtype=torch.float64)
    return ones if spec.role == "output" else hyper_or("gain", hypers, gain * ones)


def fans(spec: ParameterSpec) -> tuple[int, int]:
    """(fan in, fan out) of a weight ``[..., from, to]``; torch's own weights are ``[to, from]``."""
    return spec.shape[-2], spec.shape[-1]


class Blocks(NamedTuple):
    """How many equal matrices a weight is made of, `down` its first size and `across` its last; one of the two is 1."""

    down: int = 1
    across: int = 1


def has_square_blocks(spec: ParameterSpec) -> bool:
    """Whether a recurrent weight is made of square matrices."""
    height, width = fans(spec)
    return width % height == 0 or height % width == 0


def square_blocks(spec: ParameterSpec) -> Blocks:
    """The H x H blocks of a recurrent weight ``[..., H, G H]`` or ``[..., G H, H]``.

    Raises:
        ConfigError: the recurrent weight is not made of square matrices.
    """
    height, width = fans(spec)
    if not has_square_blocks(spec):
        problem = f"needs square recurrent matrices; {spec.name} is {height} x {width}"
        raise ConfigError(problem, key="init", allowed="an init without such a need, such as normal")
    return Blocks(max(1, height // width), max(1, width // height))


def each_matrix(
    values: Float64[Tensor, "P ..."],
    blocks: Blocks,
    change: Callable[[int, Float64[Tensor, "n n"]], Float64[Tensor, "n n"]],
) -> Float64[Tensor, "P ..."]:
    """Apply `change(row, matrix)` to every block by itself; values [P, ..., down * from, across * to].

    Numerics:
        Each matrix is copied to memory of its own, so that linear algebra sees the same alignment whatever lies beside.
    """
    out = torch.empty(values.shape, dtype=values.dtype)
    flat = values.reshape(values.shape[0], -1, *values.shape[-2:])  # P M from to
    # `flat` may be the caller's own memory: the result is written elsewhere.
    target = out.view(flat.shape)
    height, width = values.shape[-2] // blocks.down, values.shape[-1] // blocks.across
    corners = itertools.product(range(0, values.shape[-2], height), range(0, values.shape[-1], width))
    for (top, left), p, m in itertools.product(list(corners), range(flat.shape[0]), range(flat.shape[1])):
        block = (p, m, slice(top, top + height), slice(left, left + width))
        target[block] = change(p, flat[block].clone(memory_format=torch.contiguous_format))
    return out
