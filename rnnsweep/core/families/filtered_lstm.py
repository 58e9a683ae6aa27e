"""The LSTM with a bias on each of its two paths, as a filter of the input path needs it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Float, Float64, Int64
from torch import Tensor

from rnnsweep.core.families.base import Feed, Values
from rnnsweep.core.families.lstm import Lstm, forget_biases
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import ANY, Range


@dataclass(frozen=True)
class FilteredLstm(Lstm):
    """Base of LSTMs whose input path is filtered: ``b`` goes through the filter, ``b_rec`` stands beside h W_rec.

    A bias behind a filter is not what it was set to: momentum multiplies it by up to s / (1 - mu), and a division by
    the root of its own mean square takes its size away. So inits of gate biases (forget_bias, chrono) set ``b_rec``.

    Attributes:
        forget_bias: initial bias of the forget gate beside h W_rec: with h = u = 0 the gate is its sigmoid at any step.
        forget_bias_in: initial bias of the forget gate on the filtered path. Both are left alone where the init sets
            gate biases.

    References:
        Nguyen et al. (2020): the two linear maps of their cells have a bias each, started alike.
    """

    rows: ClassVar[Mapping[str, Range]] = {**Lstm.rows, "forget_bias_in": ANY}

    forget_bias_in: float = 0.0

    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """w_rec [H, 4H], w_in [I, 4H], b [4H], b_rec [4H], w_out, b_out."""
        specs: list[ParameterSpec] = []
        for spec in super().parameters(n_inputs, n_outputs):
            # The gates' bias is the one that acts as it is: what an init says about gates is about that one.
            specs += [replace(spec, gates=()), replace(spec, name="b_rec")] if spec.name == "b" else [spec]
        return tuple(specs)

    def initial(
        self, drawn: Values, specs: Sequence[ParameterSpec], keys: Int64[Tensor, " P"]
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """The forget gate's biases."""
        del specs
        if "b_rec" in drawn:
            return {}
        given = {"b": self.forget_bias_in, "b_rec": self.forget_bias}
        return {name: forget_biases(len(keys), self.hidden, value) for name, value in given.items()}

    @abstractmethod
    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Drives of the filtered path: without a filter one bias would do."""
