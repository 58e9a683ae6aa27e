"""The contract of an initialisation."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from jaxtyping import Float64, Int64
from torch import Tensor

from rnnsweep.core.types import ParameterSpec
from rnnsweep.unit import Unit


@dataclass(frozen=True)
class Init(Unit):
    """Base of initialisations.

    Weights are drawn in float64 on the CPU from (key of the row, parameter's name), never from a global generator; the
    trainer rounds them. A shared unit-variance draw is scaled by sigma, so replica r starts from the same pattern
    whatever sigma is.

    Attributes:
        roles: keys that are about parameters of some roles only: key -> roles.
        draws: roles that it draws.
        gates: whether it is about the biases of gates; a family without such gates is refused.
    """

    unit_group: ClassVar[str] = "init"
    roles: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    draws: ClassVar[tuple[str, ...]] = ("input", "recurrent", "output")
    gates: ClassVar[bool] = False

    @abstractmethod
    def draw(
        self,
        specs: Sequence[ParameterSpec],
        keys: Int64[Tensor, " P"],
        hypers: Mapping[str, Float64[Tensor, " P"]],
        gain: float,
    ) -> dict[str, Float64[Tensor, "P ..."]]:
        """Initial values by parameter name, float64 [P, *shape], on the CPU.

        Args:
            specs: all parameters; those of roles that the init does not know stay zero.
            keys: int64 [P], one stream key per row (`rng.key`, purpose ``init``).
            hypers: this unit's per-row hyperparameters, float64 [P].
            gain: of the activation (`torch.nn.init.calculate_gain`).
        """
