"""What the momentum family shares: a base cell behind a filter of its input path.

References:
    Nguyen, Baraniuk, Bertozzi, Osher, Wang (2020), MomentumRNN; the filters act on W x_t + b, never on U h_{t-1}.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.families.base import Family, Feed, Values
from rnnsweep.core.families.filters import Adaptive, Filter, Momentum, constant, filtered_feed, restarting
from rnnsweep.core.families.input_path import FilterPath
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.types import LoopWeights
from rnnsweep.unit import POSITIVE, Range

MU = Range(0, 1, open_high=True)  # below 1, or the filter never forgets
SCALE = POSITIVE
BETA = Range(0, 1, open_high=True)
RESTART = Range(1, integer=True, open_high=True)


@dataclass(frozen=True)
class Filtered(Family):
    """Mixin before a base family: its loop is fed with the filtered input path.

    Numerics:
        A row's filter starts at zero at the row's own first step.
    """

    @abstractmethod
    def filter_of(self, hypers: Values, lengths: Int64[Tensor, "P ..."], T: int) -> Filter:
        """The filter with per-row hyperparameters."""

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The base loop without its input matrix and bias."""
        # The filter has applied w_in and b already; the loop must not do so again.
        return super().weights(values, hypers).without_inputs()  # type: ignore[safe-super]

    @property
    def filters(self) -> bool:
        """That is what it is for."""
        return True

    def feed(
        self,
        values: Values,
        hypers: Values,
        inputs: Float[Tensor, "P T B I"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Filtered drives."""
        return filtered_feed(values, inputs, lengths, self.filter_of(hypers, lengths, inputs.shape[1]), engine)


class MomentumFilter(Filtered):
    """v_t = mu v_{t-1} + s (W x_t + b)."""

    @property
    def input_path(self) -> FilterPath:
        """The same filter, one step at a time."""
        return FilterPath()

    def filter_of(self, hypers: Values, lengths: Int64[Tensor, "P ..."], T: int) -> Filter:
        """Constant mu and s."""
        del lengths
        return _momentum(hypers, T)


class AdamFilter(Filtered):
    """v_t / sqrt(m_t + 1e-16), m_t = beta m_{t-1} + (1 - beta) (W x_t + b)^2."""

    @property
    def input_path(self) -> FilterPath:
        """The same filter, one step at a time."""
        return FilterPath(adaptive=True)

    def filter_of(self, hypers: Values, lengths: Int64[Tensor, "P ..."], T: int) -> Filter:
        """Constant mu, s and beta."""
        del lengths
        return Adaptive(_momentum(hypers, T), constant(hypers["beta"], T))


class RmspropFilter(Filtered):
    """The Adam filter with mu = 0."""

    @property
    def input_path(self) -> FilterPath:
        """The same filter, one step at a time."""
        return FilterPath(adaptive=True, plain=True)

    def filter_of(self, hypers: Values, lengths: Int64[Tensor, "P ..."], T: int) -> Filter:
        """Constant s and beta."""
        del lengths
        zero = {**hypers, "mu": hypers["s"] * 0}  # zeros of the right shape, type and device
        return Adaptive(_momentum(zero, T), constant(hypers["beta"], T))


class NesterovFilter(Filtered):
    """v_t = kappa_t v_{t-1} + s (W x_t + b), kappa_t = (k - 1) / (k + 2), k = 1..F restarting."""

    @property
    def input_path(self) -> FilterPath:
        """The same filter, one step at a time."""
        return FilterPath(restarts=True)

    def filter_of(self, hypers: Values, lengths: Int64[Tensor, "P ..."], T: int) -> Filter:
        """The restarting sequence of each row's F."""
        return Momentum(restarting(hypers["restart"], lengths, T), hypers["s"][:, None, None, None])


def _momentum(hypers: Values, T: int) -> Momentum:
    return Momentum(constant(hypers["mu"], T), hypers["s"][:, None, None, None])
