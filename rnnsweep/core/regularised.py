"""Layer norm and weight norm before a family, and which regularisers are defined for which.

Layer norm goes over the units of one sequence and step, before gain and bias (`recurrence.layer_norm`):

    simple loop   h_t = f(gain LN(h_{t-1} W_rec + u_t W_in) + b)
    LSTM          gates = gain LN(h_{t-1} W_rec) + gain_in LN(u_t W_in) + b; h_t = o tanh(cell_gain LN(c_t) + cell_bias)
    GRU           the same for r, z together; n = tanh(gain_in LN(u_t W_n) + b + r (gain LN(h_{t-1} U_n) + b_n))

Weight norm: each unit's incoming weights in W_rec, and in W_in, are a direction times a length, W_j = g_j v_j / |v_j|.

References:
    Ba, Kiros, Hinton (2016), equation 4, and 20 to 22 and 29 to 31 of the supplement. Salimans, Kingma (2016); first
    lengths are those of the drawn weights, as in `torch.nn.utils.parametrizations.weight_norm`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache

import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import Family, Feed, OutputFeedback, Values
from rnnsweep.core.families.input_path import InputPath
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
from rnnsweep.core.recurrence.layer_norm import NormedBlocks, normalised
from rnnsweep.core.recurrence.normed_cells import NormedGruCell, NormedLstmCell
from rnnsweep.core.types import LoopGradients, LoopWeights, ParameterSpec
from rnnsweep.errors import ConfigError

_NORMED = {LstmCell: NormedLstmCell, GruCell: NormedGruCell}
_SCALED = ("w_rec", "w_in")
_TINY = 1e-12
"""Least |v|: a unit without weights has none afterwards, and no gradient that is NaN."""


def regularised(family: Family) -> Family:
    """The family with what its keys ask for; the family itself where nothing does.

    Raises:
        ConfigError: something of it is not defined for this family.
    """
    if family.nested or not (family.inside or family.weight_norm):
        return family
    _check(family)
    kind = type(family)
    values = {item.name: getattr(family, item.name) for item in fields(family) if item.init}
    return _regularised_class(kind, bool(family.inside))(**values)


@lru_cache
def _regularised_class(kind: type[Family], inside: bool) -> type[Family]:
    # what reads single steps or matrices of the loop, or forms its errors anew, knows nothing of masks and norms
    capabilities = frozenset() if inside else kind.capabilities
    known = {"capabilities": capabilities, "__module__": kind.__module__, "__doc__": kind.__doc__}
    return dataclass(frozen=True)(type(kind.__name__, (Regularised, kind), known))


def _check(family: Family) -> None:
    """Raise for the first key whose regulariser is not defined for the family."""
    cell = family.cell
    # of a complex unit one half would be kept without the other
    usual = (cell is None and family.width == family.hidden) or type(cell) in _NORMED
    alone = isinstance(family, OutputFeedback) or family.filters
    raw = _raw(family) if usual and not alone and not family.feeds else False
    defined = {
        "recurrent_dropout": usual and not alone,
        "zoneout": usual and not alone,
        "zoneout_cell": isinstance(cell, LstmCell) and usual and not alone,
        "weight_drop": raw,
        "layer_norm": raw and any(spec.name == "b" for spec in family.parameters(1, 1)),
        "weight_norm": raw,
    }
    for key, holds in defined.items():
        value = getattr(family, key)
        if value and not holds:
            off = "false" if value is True else "0"
            problem = f"is not defined for the family {family.unit_name}"
            raise ConfigError(problem, key=f"family.{key}", value=value, allowed=f"{off}, or family=srn|lstm|gru")


def _raw(family: Family) -> bool:
    """Whether the matrices of the loop are the raw parameters themselves."""
    values = {spec.name: torch.zeros(1, *spec.shape) for spec in family.parameters(1, 1)}
    hypers = {name: torch.tensor([value]) for name, value in family.row_values().items()}
    weights = family.weights(values, hypers | {name: torch.zeros(1) for name in family.slots})
    return weights.w_rec is values.get("w_rec") and weights.w_in is values.get("w_in")


class Regularised(Family):
    """Mixin before a family whose loop takes its raw matrices: other parameters, the same contract.

    Numerics:
        Columns and samples apart, so that rows are; |v| is a sum over one axis.
    """

    @property
    def cell(self) -> Cell | None:
        """The cell, with layer norm where that is asked for."""
        cell = super().cell
        return _NORMED[type(cell)](cell.hidden) if self.layer_norm and cell is not None else cell

    @property
    def feeds(self) -> bool:
        """Whether layer norm of the drives comes before the loop; the simple cell's is of the sum, in it."""
        return self.layer_norm and super().cell is not None

    @property
    def restarts(self) -> bool:
        """As without: layer norm remembers no step."""
        return any(spec.role == "state" for spec in self.parameters(1, 1)) if self.feeds else super().restarts

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """Those of the family; gains of layer norm, lengths of weight norm."""
        specs = super().parameters(n_inputs, n_outputs)
        if not (self.layer_norm or self.weight_norm):
            return specs
        wide = next(spec for spec in specs if spec.name == "w_rec").shape[1]
        more: list[ParameterSpec] = []
        if self.layer_norm:
            more.append(ParameterSpec("gain", (wide,), "gain"))
        if self.feeds:
            more.append(ParameterSpec("gain_in", (wide,), "gain"))
        if self.layer_norm and isinstance(super().cell, LstmCell):
            more += [ParameterSpec(name, (self.hidden,), "gain") for name in ("cell_gain", "cell_bias")]
        if self.weight_norm:
            more += [ParameterSpec(f"{name}_length", (wide,), "length") for name in _SCALED]
        return (*specs, *more)

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Gains 1, lengths those of the drawn weights."""
        found = dict(super().initial(drawn, specs, keys))
        for spec in specs:
            if spec.role == "gain" and spec.name != "cell_bias":
                found[spec.name] = torch.ones(len(keys), *spec.shape, dtype=torch.float64)
            elif spec.role == "length":
                v = {**drawn, **found}.get(spec.name.removesuffix("_length"))
                if v is not None:  # else nothing is drawn, and all is 0
                    found[spec.name] = v.norm(dim=1)
        return found

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights of directions and lengths; gains among the cell's own."""
        weights = super().weights(self._of_lengths(values), hypers)
        if not self.layer_norm:
            return weights
        names = ["gain", *(name for name in ("cell_gain", "cell_bias") if name in values)]
        own = {**weights.cell, **{name: values[name] for name in names}}
        if self.feeds:
            return replace(weights.without_inputs(), cell=own)
        return replace(weights, bias=None, cell={**own, "bias": values["b"]})

    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Float[Tensor, "P ..."]]:
        """Gradients of directions, lengths and gains."""
        own = dict(gradients.cell)
        gains = {name: own.pop(name) for name in ("gain", "cell_gain", "cell_bias") if name in own}
        plain = replace(gradients, bias=own.pop("bias", gradients.bias), cell=own)
        named = super().pullback(self._of_lengths(values), hypers, plain)
        return self._into_lengths(values, named) | gains

    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Float[Tensor, "P R A"]:
        """First-order change of W_rec; not with layer norm, whose loop has no matrix alone (`capabilities`)."""
        return super().recurrent_step(self._of_lengths(values), hypers, {**step, **self._turned(values, step)})

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Layer norm of the drives, where it comes before the loop."""
        if not self.feeds:
            return super().feed(values, hypers, inputs, lengths, engine)
        w_in, gain = self._of_lengths(values)["w_in"], values["gain_in"][:, None, None]
        z = engine.matmul(inputs.flatten(1, 2), w_in).unflatten(1, inputs.shape[1:3])
        normed = NormedBlocks.of(z, self._together)
        drives = torch.addcmul(values["b"][:, None, None], gain, normed.hat)

        def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
            assert gradient is not None
            ones = gradient.new_ones(*gradient.shape[:3], 1)  # sums are products here: engines have those in place
            found = {
                "w_in": engine.outer(inputs.contiguous(), normed.pulled_back(gradient * gain)),
                "b": engine.outer(ones, gradient.contiguous())[:, 0],
                "gain_in": engine.outer(ones, gradient * normed.hat)[:, 0],
            }
            return self._into_lengths(values, found)

        def back(gradient: Tensor) -> Tensor:
            g = normed.pulled_back(gradient * gain).flatten(1, 2)
            return engine.matmul(g, w_in.transpose(1, 2).contiguous()).unflatten(1, inputs.shape[1:3])

        return Feed(drives, pullback, back)

    @property
    def input_path(self) -> InputPath | None:
        """Layer norm of the drives, one step at a time."""
        return NormPath(self) if self.feeds else super().input_path

    @property
    def _together(self) -> tuple[int, ...]:
        """Widths of what is normalised together: the LSTM's gates; the GRU's r and z, and its candidate."""
        return (4 * self.hidden,) if isinstance(super().cell, LstmCell) else (2 * self.hidden, self.hidden)

    def _layer_normed(self, z: Float[Tensor, "*N A"]) -> Float[Tensor, "*N A"]:
        """The same of one step, by operations that can be exported."""
        return torch.cat([normalised(part)[0] for part in z.split(list(self._together), -1)], -1)

    def _of_lengths(self, values: Values) -> dict[str, Tensor]:
        """Values with W_j = g_j v_j / |v_j|."""
        if not self.weight_norm:
            return dict(values)
        return {**values, **{name: values[f"{name}_length"][:, None] * _unit(values[name])[0] for name in _SCALED}}

    def _into_lengths(self, values: Values, named: dict[str, Tensor]) -> dict[str, Tensor]:
        """Gradients of directions and lengths from those of the matrices."""
        found = dict(named)
        for name in _SCALED if self.weight_norm else ():
            if name in named:
                unit, size = _unit(values[name])
                length = (named[name] * unit).sum(1)  # P A
                found[f"{name}_length"] = length
                found[name] = values[f"{name}_length"][:, None] / size * (named[name] - unit * length[:, None])
        return found

    def _turned(self, values: Values, step: Values) -> dict[str, Tensor]:
        """First-order change of W_rec for a step of its direction and length."""
        if not self.weight_norm:
            return {}
        unit, size = _unit(values["w_rec"])
        across = step["w_rec"] - unit * (unit * step["w_rec"]).sum(1, keepdim=True)
        turned = values["w_rec_length"][:, None] / size * across
        return {"w_rec": step["w_rec_length"][:, None] * unit + turned}


class NormPath(InputPath):
    """Layer norm of drives; it remembers nothing."""

    def __init__(self, family: Regularised) -> None:
        self._family = family

    def memory(self, drive: int) -> int:
        """Nothing."""
        del drive
        return 0

    def constants(self, values: Values, hypers: Values) -> dict[str, Float[Tensor, "P K"]]:
        """Gain and bias."""
        del hypers
        return {"gain_in": values["gain_in"], "b": values["b"]}

    def step(
        self, constants: Values, z: Float[Tensor, "P B D"], memory: Float[Tensor, "P B M"]
    ) -> tuple[Float[Tensor, "P B G"], Float[Tensor, "P B M"]]:
        """gain LN(z) + b."""
        return constants["gain_in"] * self._family._layer_normed(z) + constants["b"], memory

    def affine(self, values: Values, hypers: Values, weights: LoopWeights) -> LoopWeights:
        """W_in; the bias comes after the norm."""
        del hypers
        return replace(weights, w_in=self._family._of_lengths(values)["w_in"], bias=None)


def _unit(v: Float[Tensor, "P K A"]) -> tuple[Float[Tensor, "P K A"], Float[Tensor, "P 1 A"]]:
    """Columns of length 1, and how long they were."""
    size = (v * v).sum(1, keepdim=True).sqrt().clamp(min=_TINY)
    return v / size, size
