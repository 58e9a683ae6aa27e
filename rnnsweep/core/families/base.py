"""The contract of a model family: its parameters, and the weights that the time loop uses."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.parameters import ParameterSpec
from rnnsweep.core.types import LoopGradients, LoopWeights
from rnnsweep.core.unit import Unit

Values = Mapping[str, Tensor]


@dataclass(frozen=True)
class Family(Unit):
    """Base of families whose state is carried by one simple recurrent loop.

    Read-outs are linear: parameters ``w_out`` [H, O] and ``b_out`` [O] belong to every family.

    Attributes:
        hidden: H, number of hidden units.
    """

    unit_key: ClassVar[str] = "family"

    hidden: int = 50

    @property
    @abstractmethod
    def cell_activation(self) -> Activation:
        """The loop's f."""

    @abstractmethod
    def parameters(self, n_inputs: int, n_outputs: int) -> tuple[ParameterSpec, ...]:
        """All parameters of one row, read-out included."""

    @abstractmethod
    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights of raw parameters [P, *shape] and per-row hyperparameters [P]."""

    @abstractmethod
    def pullback(self, values: Values, hypers: Values, gradients: LoopGradients) -> dict[str, Tensor]:
        """Gradients of raw parameters from those of the loop's weights."""

    @abstractmethod
    def recurrent_step(self, values: Values, hypers: Values, step: Values) -> Tensor:
        """First-order change [P, H, H] of the loop's recurrent matrix for a candidate step of the raw parameters."""


def readout_parameters(hidden: int, n_outputs: int, bias: bool = True) -> tuple[ParameterSpec, ...]:
    """The linear read-out's parameters."""
    weight = ParameterSpec("w_out", (hidden, n_outputs), "output")
    return (weight, ParameterSpec("b_out", (n_outputs,), "bias")) if bias else (weight,)
