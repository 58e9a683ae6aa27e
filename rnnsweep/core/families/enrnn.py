"""Eigenvalue-normalised recurrent network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core import rng
from rnnsweep.core.activations import ACTIVATIONS, Activation, activation
from rnnsweep.core.families.base import Family, Values, readout_parameters
from rnnsweep.core.families.orthogonal_maps import cayley, cayley_blocks, cayley_pullback, cayley_step, signs
from rnnsweep.core.families.spectral import Leading, divided, divided_pullback, divided_step, leading
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.errors import ConfigError
from rnnsweep.unit import SHARE, Metric, Range


@dataclass(frozen=True)
class Enrnn(Family):
    """A long state with an orthogonal matrix, fed by a short state whose matrix keeps its spectral radius at most 1.

        h^L_t = f(u W_in^L + h^L W_L + h^S W_C + b^L)        W_L as in `scornn`
        h^S_t = f(u W_in^S + h^S W_S + b^S)                  W_S = T / rho(T) once rho(T) > 1

    Both states make one simple loop, [h^L, h^S], with a block triangular matrix; the read-out sees both. There is one
    bias: modReLU's own, or b.

    Under an init of skew matrices (cayley, henaff), which would make T exactly orthogonal, with all its eigenvalues
    tied at 1, T starts as that matrix times diag U(-1, 1), both units of a plane alike, and W_C as Glorot's. Other
    inits draw both as any recurrent and input weight.

    Attributes:
        hidden: n_L + n_S. short: share of n_S, structural; n_S = round(short * hidden).
        negatives: share of entries -1 of W_L's D, per row; the paper's rho / n_L.
        latch: true: once rho(T) > 1, T / rho(T) is used from then on (the authors' code); false: only while rho(T) > 1.
        activation: f.

    Numerics:
        rho(W_S) <= 1 + 1e-12 in float64. The gradient through rho is exact for a simple leading eigenvalue, real or a
        complex pair; with tied ones, as near as the dtype's rounding can tell, it is detached and ``tied`` counts the
        step (metric ``weights/tied``). Eigenvalues by LAPACK on a CPU, by `leading_powers` on a GPU.

    References:
        Helfrich, Ye (2020), start and single bias from the authors' code. W[from, to] is applied on the right.
    """

    short: float = 0.4
    negatives: float = 0.3
    latch: bool = True
    activation: str = "modrelu"

    slots: ClassVar[tuple[str, ...]] = ("latched", "tied")
    metrics: ClassVar[Mapping[str, Metric]] = {
        "weights/tied": Metric(
            "steps taken so far with equal leading eigenvalues, through which no gradient goes",
            "steps with equal leading eigenvalues",
            by_layer=True,
        )
    }
    counted: ClassVar[Mapping[str, str]] = {"tied": "weights/tied"}
    rows: ClassVar[Mapping[str, Range]] = {"negatives": SHARE}
    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {
        "hidden": Range(2, 8192, integer=True),
        "short": Range(0, 1, open_low=True, open_high=True),
        "latch": (True, False),
        "activation": tuple(name for name in ACTIVATIONS if name != "oplu"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        # Rounding decides, not `short` itself: 0.1 of 4 units is none.
        if not 0 < self.n_short < self.hidden:
            allowed = f"so that round(short * {self.hidden}) is 1..{self.hidden - 1}"
            raise ConfigError(
                "leaves one of the two states empty", key="family.short", value=self.short, allowed=allowed
            )

    @property
    def n_short(self) -> int:
        """n_S."""
        return round(self.short * self.hidden)

    @property
    def n_long(self) -> int:
        """n_L."""
        return self.hidden - self.n_short

    @property
    def cell_activation(self) -> Activation:
        """The activation object."""
        return activation(self.activation)

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """a_skew [n_L, n_L], w_short (T), w_cross (W_C), w_in, act_bias (modReLU) or b, w_out, b_out."""
        H, L, S = self.hidden, self.n_long, self.n_short
        # modReLU brings a bias; a second one beside it is not in the paper.
        bias = "act_bias" if self.cell_activation.has_bias else "b"
        return (
            ParameterSpec("a_skew", (L, L), "skew", group="skew"),
            ParameterSpec("w_short", (S, S), "recurrent", first=L),  # the loop's units: the long ones, then the short
            ParameterSpec("w_cross", (S, L), "input"),  # an input of the long state: not square, and drawn as such
            ParameterSpec("w_in", (n_inputs, H), "input"),
            ParameterSpec(bias, (H,), "bias"),
            *readout_parameters(H, n_outputs),
        )

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Skew blocks with angles U(0, pi/2); under an init that draws them itself, the authors' T and W_C."""
        del specs
        if "a_skew" not in drawn:
            return {"a_skew": cayley_blocks(keys, "a_skew", self.n_long)}
        L, S = self.n_long, self.n_short
        # W[from, to] diag(d): each column by its own factor.
        short = drawn["w_short"] * _of_planes(keys, "w_short scale", S)[:, None, :]
        return {
            "w_short": short,
            "w_cross": _uniform(keys, "w_cross", S * L).unflatten(1, (S, L)) * math.sqrt(6 / (S + L)),
        }

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights: [[W_L, 0], [W_C, W_S]]."""
        lead, on = self._normalised(values, hypers)
        long = cayley(values["a_skew"], signs(hypers["negatives"], self.n_long))
        w = self._blocks(long, values["w_cross"], divided(values["w_short"], lead, on))
        return LoopWeights(w, values["w_in"], values.get("b"), values.get("act_bias"))

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients through both maps."""
        named, L = gradients.parts(), self.n_long
        w = named.pop("w_rec")  # P H H
        d = signs(hypers["negatives"], L)
        named["a_skew"] = cayley_pullback(d, cayley(values["a_skew"], d), w[:, :L, :L])
        lead, on = self._normalised(values, hypers)
        named["w_short"] = divided_pullback(values["w_short"], lead, on, w[:, L:, L:])
        # The block that is 0 by construction, w[:, :L, L:], belongs to nobody: its gradient is dropped.
        named["w_cross"] = w[:, L:, :L]
        return named

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """The first-order change of the block matrix."""
        d = signs(hypers["negatives"], self.n_long)
        long = cayley_step(d, cayley(values["a_skew"], d), step["a_skew"])
        lead, on = self._normalised(values, hypers)
        return self._blocks(long, step["w_cross"], divided_step(values["w_short"], lead, on, step["w_short"]))

    def advance(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, " P"]]:
        """Latch where rho(T) > 1, count ties."""
        lead, on = self._normalised(values, hypers)
        kind = hypers["latched"].dtype
        latched = on.to(kind) if self.latch else hypers["latched"]
        # A tie matters only where the matrix is divided and d rho is used.
        return {"latched": latched, "tied": hypers["tied"] + (lead.tied & on).to(kind)}

    def _normalised(self, values: Values, hypers: Values) -> tuple[Leading, Tensor]:
        lead = leading(values["w_short"])
        # NaN > 1 is false: a non-finite matrix latches nothing on its way to divergence.
        on = lead.rho > 1
        # Row state is floating point: > 0 makes a flag of it.
        return lead, on | (hypers["latched"] > 0) if self.latch else on

    def _blocks(self, long: Tensor, cross: Tensor, short: Tensor) -> Tensor:
        # W[from, to]: the long state feeds itself alone, the short one feeds both.
        top = torch.cat((long, torch.zeros_like(cross).transpose(1, 2)), 2)  # P L H
        return torch.cat((top, torch.cat((cross, short), 2)), 1)  # P H H


def _uniform(keys: Tensor, name: str, count: int) -> Tensor:
    """U(-1, 1), float64 [P, count]; depends on (row key, name) only."""
    return 2 * rng.uniforms53(keys, count, rng.stream_of(name)) - 1


def _of_planes(keys: Tensor, name: str, size: int) -> Tensor:
    """U(-1, 1) for each plane of units (0, 1), (2, 3), ... and a last odd one, [P, size]."""
    return _uniform(keys, name, (size + 1) // 2).repeat_interleave(2, 1)[:, :size]
