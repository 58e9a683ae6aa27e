"""Stochastic bilevel optimisation as a recurrent network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import CellFamily, Values, readout_parameters
from rnnsweep.core.numerics import matmul
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.descent import descent_cells
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.unit import ANY, POSITIVE, Range

_CELLS = descent_cells()


@dataclass(frozen=True)
class Sbo(CellFamily):
    """Each time step is one step of an optimiser on F_t(h) = |h - relu(h W + u_t W_in + b)|^2 / 2.

        sgd: h - eta grad F · heavy_ball: v <- mu v - eta grad F, h + v · nesterov: v_t = h - eta grad F,
        h = v_t + mu (v_t - v_{t-1})

    Attributes:
        hidden: H, number of units.
        method: the inner optimiser: a cell of `core.recurrence.descent`, by its name.
        coupling: ``sparse``: W = w I with one trained number; ``dense``: W = I + U V of rank `rank`, both trained.
        rank: of U V; at most H.
        step_size: ``frozen``: eta stays what it is; ``trained``: eta = exp(log_eta), log_eta trained.
        eta: step size, or where it is trained its initial value; per row, > 0.
        mu: initial value of the trained momentum; per row.

    Numerics:
        mu is unused by sgd (gradient 0). A trained eta is positive whatever the step: an optimiser that moves each
        parameter by its rate, as Adam does at first, would take 1e-3 itself below 0 at once. relu'(0) = 0.

    References:
        Zhang et al. (2021). Ours differs: U and V are trained; in the published code they are not. `trained` is ours.
    """

    method: str = "nesterov"
    coupling: str = "dense"
    rank: int = 50
    step_size: str = "frozen"
    eta: float = 0.001
    mu: float = 0.5

    rows: ClassVar[Mapping[str, Range]] = {"eta": POSITIVE, "mu": ANY}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(1, 8192, integer=True),
        "method": tuple(_CELLS),
        "coupling": ("sparse", "dense"),
        "step_size": ("frozen", "trained"),
        "rank": Range(1, integer=True, open_high=True),
    }

    @property
    def cell(self) -> Cell:
        """The inner optimiser's cell."""
        return _CELLS[self.method](self.hidden)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w [1], or u [H, rank] and v [rank, H]; w_in, b, (log_eta [1]), mu [1], w_out, b_out."""
        H, rank = self.hidden, min(self.rank, self.hidden)  # more than H columns would add no rank
        # into: u leads into the rank's units, which are not those of the loop.
        dense = (ParameterSpec("u", (H, rank), "input", into="rank"), ParameterSpec("v", (rank, H), "input"))
        return (
            *(dense if self.coupling == "dense" else (ParameterSpec("w", (1,), "scalar"),)),
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec("b", (H,), "bias"),
            *((ParameterSpec("log_eta", (1,), "scalar"),) if self._trains_eta else ()),
            ParameterSpec("mu", (1,), "scalar"),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """mu, and log_eta where it is trained; w starts at 0."""
        del drawn, specs
        one = torch.ones(len(keys), 1, dtype=torch.float64)
        return {"mu": self.mu * one} | ({"log_eta": math.log(self.eta) * one} if self._trains_eta else {})

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """W = w I or I + U V."""
        w = self._matrix(values)
        # A step uses W twice, the loop multiplies once: the cell gets W as a matrix of its own too.
        own = {"eta": self._eta(values, hypers), "mu": values["mu"], "w_back": w}
        return LoopWeights(w, values["w_in"], values["b"], cell=own)

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Both uses of W together; of eta what its parametrisation makes of it."""
        own = dict(gradients.cell)
        eta = own.pop("eta", None)  # Omega hands in the product's part alone
        if self._trains_eta and eta is not None:
            own["log_eta"] = eta * self._eta(values, hypers)  # d exp(x) = exp(x) dx
        # Omega hands in the product's part alone.
        w = gradients.w_rec + own.pop("w_back", torch.zeros_like(gradients.w_rec))
        named = {**gradients.parts(), **own}
        del named["w_rec"]
        return {**named, **self._parts(values, w)}

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The first-order change of W."""
        del hypers
        if self.coupling == "sparse":
            return step["w"][:, :, None] * self._eye(step["w"])
        # The product rule; the identity is a constant.
        return matmul(step["u"], values["v"]) + matmul(values["u"], step["v"])

    @property
    def _trains_eta(self) -> bool:
        return self.step_size == "trained"

    def _eta(self, values: Values, hypers: Values) -> Tensor:
        """[P, 1]."""
        return values["log_eta"].exp() if self._trains_eta else hypers["eta"][:, None]

    def _matrix(self, values: Values) -> Tensor:
        if self.coupling == "sparse":
            return values["w"][:, :, None] * self._eye(values["w"])
        return self._eye(values["u"]) + matmul(values["u"], values["v"])

    def _parts(self, values: Values, w: Tensor) -> dict[str, Tensor]:
        if self.coupling == "sparse":
            return {"w": w.diagonal(dim1=1, dim2=2).sum(1, keepdim=True)}  # w stands on the whole diagonal
        u, v = values["u"], values["v"]
        return {"u": matmul(w, v.transpose(1, 2)), "v": matmul(u.transpose(1, 2), w)}

    def _eye(self, like: Tensor) -> Tensor:
        return torch.eye(self.hidden, dtype=like.dtype, device=like.device)[None]
