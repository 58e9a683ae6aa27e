"""What families of blocks around a diagonal linear recurrence share. Shapes: see `core.types`; N complex states."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import numerics, rng
from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.recurrence.block_formulas import turned_by
from rnnsweep.core.recurrence.state_space import StateSpaceCell
from rnnsweep.core.recurrence.unrolled import spread
from rnnsweep.core.types import Capability, LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import Range

_PLAIN = ("d", "gain", "shift", "w_gate", "b_gate")
"""Parameters that the cell uses as they are."""


@dataclass(frozen=True)
class StateSpaceBlock(CellFamily):
    """Base of blocks: encoder where widths differ, layer norm, diagonal complex recurrence, gate, skip.

    There is no recurrent matrix: Omega and sampling are refused. An init draws the encoder, the family the rest.

    Attributes:
        hidden: H, width of the block; the read-out sees its outputs.
        states: N, complex states.
        gate: ``full_glu``, ``half_glu`` or ``gelu`` (`StateSpaceCell`).
        norm: ``pre`` or ``post``.
        factor: y is so many times Re(x C).
    """

    states: int = 32
    gate: str = "full_glu"
    norm: str = "pre"

    factor: ClassVar[float] = 1.0
    capabilities: ClassVar[frozenset[Capability]] = frozenset()
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(1, 8192, integer=True),
        "states": Range(1, 8192, integer=True),
        "gate": ("full_glu", "half_glu", "gelu"),
        "norm": ("pre", "post"),
    }

    @property
    def cell(self) -> StateSpaceCell:
        """The block."""
        return StateSpaceCell(self.hidden, states=self.states, gate=self.gate, prenorm=self.norm == "pre")

    @property
    @abstractmethod
    def raw(self) -> tuple[ParameterSpec, ...]:
        """The parameters that `effective` reads."""

    @abstractmethod
    def rates(self, values: Values) -> dict[str, Float[Tensor, "P N"]]:
        """``lam_re``, ``lam_im`` and what scales z B, ``in_re`` and, unless it is 0, ``in_im``; in torch."""

    def effective(self, values: Values) -> dict[str, Float[Tensor, "P ..."]]:
        """``lam_re``, ``lam_im`` [P, N], ``b`` [P, H, 2N] and ``c`` [P, 2N, H] of the raw parameters."""
        rates = self.rates(values)
        return {
            "lam_re": rates["lam_re"],
            "lam_im": rates["lam_im"],
            "b": scaled(values["w_b"], rates["in_re"], rates.get("in_im")),
            "c": real_part(values["w_c"], self.factor),
        }

    @abstractmethod
    def drawn(self, keys: Int64[Tensor, " P"]) -> dict[str, Float64[Tensor, "P ..."]]:
        """Initial values of `raw`."""

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """The recurrence's; d, gain, shift [H]; w_gate [H, G], b_gate [G]; w_in [I, H], b [H] where I is not H."""
        H = self.hidden
        specs = [*self.raw, *(ParameterSpec(name, (H,), "block") for name in ("d", "gain", "shift"))]
        if width := {"full_glu": 2 * H, "half_glu": H}.get(self.gate):
            specs += [ParameterSpec("w_gate", (H, width), "block"), ParameterSpec("b_gate", (width,), "block")]
        if n_inputs != H:
            specs += [ParameterSpec("w_in", (n_inputs, H), "input"), ParameterSpec("b", (H,), "bias")]
        return (*specs, *readout_parameters(H, n_outputs))

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The recurrence as published; d ~ N(0, 1); the gate's matrix ~ N(0, 1 / H); gain 1; shift and its bias 0."""
        del drawn
        found = self.drawn(keys)
        for spec in specs:
            if spec.name == "w_gate":
                found[spec.name] = normal(keys, spec.name, spec.shape, 1 / math.sqrt(spec.shape[0]))
        found["d"] = normal(keys, "d", (self.hidden,), 1.0)
        found["gain"] = torch.ones(len(keys), self.hidden, dtype=torch.float64)
        return found

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """What the cell reads; there is no recurrent matrix."""
        del hypers
        own = self.effective(values) | {name: values[name] for name in _PLAIN if name in values}
        none = values["d"].new_zeros(len(values["d"]), 0, 0)
        return LoopWeights(none, values.get("w_in"), values.get("b"), cell=own)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Through what makes lambda, B and C."""
        del hypers
        own = gradients.cell
        named = gradients.parts() | {name: own[name] for name in _PLAIN if name in own}
        del named["w_rec"]  # no parameter
        if "lam_re" not in own:  # nothing of the loop itself was handed in
            return named
        with torch.enable_grad():  # of vectors: what is as large as a matrix is in closed form
            names = [spec.name for spec in self.raw if len(spec.shape) == 1]
            leaves = {name: values[name].detach().clone().requires_grad_() for name in names}
            rates = self.rates(leaves)
        made = {name: rate.detach() for name, rate in rates.items()}
        errors, named["w_b"] = scaled_pull(values["w_b"], made["in_re"], made.get("in_im"), own["b"])
        named["w_c"] = real_part(own["c"], self.factor)
        errors |= {name: own[name] for name in ("lam_re", "lam_im")}
        parts = torch.autograd.grad(list(rates.values()), list(leaves.values()), [errors[name] for name in rates])
        return named | dict(zip(leaves, parts, strict=True))

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """Of a matrix that is not there."""
        del hypers, step
        return values["d"].new_zeros(len(values["d"]), 0, 0)


def normal(keys: Int64[Tensor, " P"], name: str, shape: tuple[int, ...], scale: float) -> Float64[Tensor, "P ..."]:
    """N(0, scale^2) of a stream by this name, [P, *shape]."""
    drawn = rng.normals(keys, math.prod(shape), rng.stream_of(name))
    return drawn.unflatten(1, shape) * scale


def scaled(
    matrix: Float[Tensor, "P H N2"], re: Float[Tensor, "P N"], im: Float[Tensor, "P N"] | None
) -> Float[Tensor, "P H N2"]:
    """The columns [Re | Im] of a complex matrix times complex numbers; None: real ones."""
    H, N = matrix.shape[1], re.shape[1]
    b_re, b_im, re = matrix[..., :N], matrix[..., N:], spread(re, H)
    if im is None:
        return torch.cat((b_re * re, b_im * re), -1)
    im = spread(im, H)
    return torch.cat((b_re * re - b_im * im, b_re * im + b_im * re), -1)


def scaled_pull(
    matrix: Float[Tensor, "P H N2"],
    re: Float[Tensor, "P N"],
    im: Float[Tensor, "P N"] | None,
    g: Float[Tensor, "P H N2"],
) -> tuple[dict[str, Float[Tensor, "P N"]], Float[Tensor, "P H N2"]]:
    """From errors g of what `scaled` makes to those of the numbers, ``in_re`` and ``in_im``, and of the matrix."""
    N = re.shape[1]
    down = turned_by(matrix[..., :N], matrix[..., N:], g[..., :N], g[..., N:])
    in_re, in_im = (numerics.row_sum(part) for part in down)
    return {"in_re": in_re, "in_im": in_im}, scaled(g, re, None if im is None else -im)


def real_part(matrix: Float[Tensor, "P N2 H"], factor: float = 1.0) -> Float[Tensor, "P N2 H"]:
    """The matrix that makes factor Re(x C) of [Re x, Im x], from C's [Re; Im]."""
    N = matrix.shape[1] // 2
    return torch.cat((factor * matrix[:, :N], -factor * matrix[:, N:]), 1)
