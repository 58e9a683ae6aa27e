"""Sparse recurrent weights with a chosen spectral radius: "smart tanh"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.inits.base import Init
from rnnsweep.core.inits.draws import each_matrix, per_row, square_blocks, standard_normal, weights
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Range


@dataclass(frozen=True)
class SmartTanh(Init):
    """Input and output weights ~ N(0, sigma**2); recurrent weights sparse Gaussian, scaled to spectral radius rho.

    The scaling makes the recurrent weights independent of sigma.

    Attributes:
        sigma: standard deviation of input and output weights; >= 0.
        nonzeros: entries per unit that are not zero; whole, >= 1; a unit with fewer entries keeps them all.
        rho: spectral radius (largest eigenvalue modulus) of every recurrent matrix; >= 0.
        sparse_axis: ``out``: so many outgoing connections, one row of W[from, to] (the authors' code); ``in``: so many
            incoming ones, one column (the paper).

    Raises:
        ConfigError: the recurrent weight is not made of square matrices.

    Numerics:
        Eigenvalues in float64, each matrix by itself, so that no row depends on another. Every unit has a connection,
        so there is a cycle and the spectral radius is positive (almost surely).

    References:
        Pascanu, Mikolov, Bengio (2013), section 4.1; Jaeger, Haas (2004).
    """

    roles: ClassVar[Mapping[str, tuple[str, ...]]] = dict.fromkeys(("nonzeros", "rho", "sparse_axis"), ("recurrent",))
    rows: ClassVar[Mapping[str, Range]] = {
        "sigma": Range(0, open_high=True),
        "nonzeros": Range(1, integer=True),
        "rho": Range(0, open_high=True),
    }
    fixed: ClassVar = {"sparse_axis": ("out", "in")}

    sigma: float = 0.01
    nonzeros: int = 15
    rho: float = 0.95
    sparse_axis: str = "out"

    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Weights by name, float64 [P, *shape]."""
        del gain
        values = {
            spec.name: standard_normal(spec, keys) * per_row(hypers["sigma"], spec)
            for spec in weights(specs, "input", "output")
        }
        for spec in weights(specs, "recurrent"):
            values[spec.name] = self._recurrent(spec, keys, hypers)
        return values

    def _recurrent(self, spec: ParameterSpec, keys: Tensor, hypers: Mapping[str, Tensor]) -> Tensor:
        blocks, H = square_blocks(spec), min(spec.shape[-2:])
        # A stream of its own: pattern and entries are independent.
        order = rng.uniforms53(keys, spec.size, rng.stream_of(f"{spec.name} sparsity")).unflatten(1, spec.shape)
        # W[from, to]: a row holds what a unit sends, a column what it receives.
        axis = 1 if self.sparse_axis == "out" else 0

        def keep(p: int, scores: Tensor) -> Tensor:
            count = min(int(hypers["nonzeros"][p]), H)
            # The first so many of a random order: what fewer non-zeros keep, more keep too.
            chosen = scores.argsort(dim=axis, stable=True).narrow(axis, 0, count)
            return torch.zeros_like(scores).scatter_(axis, chosen, 1.0)

        def rescale(p: int, matrix: Tensor) -> Tensor:
            return matrix * (hypers["rho"][p] / torch.linalg.eigvals(matrix).abs().max())

        sparse = standard_normal(spec, keys) * each_matrix(order, blocks, keep)
        return each_matrix(sparse, blocks, rescale)
