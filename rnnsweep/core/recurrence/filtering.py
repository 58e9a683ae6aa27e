"""Filters over time between an input path and its loop, as engines run them. Shapes: see `core.types`.

    z_t = u_t w_in + bias (0 before a sequence's own start)
    v_t = decay_t v_{t-1} + scale z_t           m_t = beta_t m_{t-1} + (1 - beta_t) z_t^2
    drive_t = v_t (+ after)                     of the adaptive kind v_t / sqrt(m_t + EPSILON) (+ after)

G entries of a drive; S sequences, 1 or B, as in `core.sequence_lengths`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from jaxtyping import Float, Int64
from torch import Tensor

EPSILON = 1e-16
"""Under the root of the adaptive kind, as in the authors' code."""


@dataclass(frozen=True)
class DriveFilter:
    """A filter with numbers.

    Attributes:
        w_in, bias: the input path; bias: or None.
        after: what is added unfiltered, or None.
        decay: of v. scale: of what comes in.
        beta: decay of m, or None: not adaptive.
    """

    w_in: Float[Tensor, "P I G"]
    bias: Float[Tensor, "P G"] | None
    after: Float[Tensor, "P G"] | None
    decay: Float[Tensor, "P T S"]
    scale: Float[Tensor, " P"]
    beta: Float[Tensor, "P T S"] | None


@dataclass
class FilterRecord:
    """What a filter that has run leaves behind.

    Attributes:
        filter, inputs, lengths: as given. drives: for the loop.
        kept: of the adaptive kind v / sqrt(m + EPSILON) and 1 / sqrt(m + EPSILON), [P, T, B, 2 G], and before them z
            where an engine does not make it anew; else None.
    """

    filter: DriveFilter
    inputs: Float[Tensor, "P T B I"]
    lengths: Int64[Tensor, "P ..."]
    drives: Float[Tensor, "P T B G"]
    kept: Float[Tensor, "P T B K"] | None


@dataclass
class FilterGradients:
    """What the way back gives; fields as in `DriveFilter`.

    Attributes:
        inputs: of what came in, where it was asked for.
    """

    w_in: Float[Tensor, "P I G"]
    bias: Float[Tensor, "P G"] | None
    after: Float[Tensor, "P G"] | None
    inputs: Float[Tensor, "P T B I"] | None


@runtime_checkable
class FilterEngine(Protocol):
    """An engine that runs filters itself; with others they are `families.filters`' own operations."""

    def filtered(
        self, inputs: Float[Tensor, "P T B I"], filter_: DriveFilter, lengths: Int64[Tensor, "P ..."]
    ) -> FilterRecord:
        """Drives of all steps; not differentiable."""
        ...

    def filtered_back(
        self, record: FilterRecord, gradient: Float[Tensor, "P T B G"], *, further: bool
    ) -> FilterGradients:
        """Gradients from those of the drives, which are 0 before a sequence's own start; `further`: inputs too."""
        ...
