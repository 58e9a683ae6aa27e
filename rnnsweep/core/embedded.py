"""A family behind an embedding: its inputs are codes of symbols, which are looked up before it sees them.

Shapes: see `core.types`; E entries of a symbol's vector.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from typing import Any, ClassVar

from jaxtyping import Float, Int64
from torch import Tensor

from rnnsweep.core.embedding import TABLE, collected, look_up
from rnnsweep.core.families.base import Family, Feed, OutputFeedback, Values, path_of
from rnnsweep.core.layered import Layered
from rnnsweep.core.loops import driven, into_inputs
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import LoopWeights
from rnnsweep.errors import ConfigError


def embedded(family: Family) -> Family:
    """The family that takes codes int64 [P, T, B] and looks them up in the value ``embedding``.

    Raises:
        ConfigError: it filters whole sequences, and so cannot say what reaches its inputs.
    """
    if len(family.parts) == 1 and family.feeds and path_of(family) is None:
        problem = f"cannot stand behind an embedding: the family {family.unit_name} filters whole sequences"
        raise ConfigError(problem, key="family", value=family.unit_name, allowed="embedding=none, or another family")
    return _embedded_class(type(family))(**_values(family))


def plain(family: Family) -> Family:
    """The family that takes what the look-up gives; itself where it has none before it."""
    return family.alone if isinstance(family, Embedded) else family


def _values(family: Family) -> dict[str, Any]:
    return {item.name: getattr(family, item.name) for item in fields(family) if item.init}


@lru_cache
def _embedded_class(kind: type[Family]) -> type[Family]:
    known = {"behind": kind, "__module__": kind.__module__, "__doc__": kind.__doc__}
    if issubclass(kind, OutputFeedback):
        return dataclass(frozen=True)(type(kind.__name__, (EmbeddedFeedback, kind), known))
    return dataclass(frozen=True)(type(kind.__name__, (Embedded, kind), known))


class Embedded(Family):
    """Mixin before a family, all its layers included; its parameters are the family's for inputs [P, T, B, E].

    Attributes:
        behind: the class of the family itself.

    Numerics:
        The loop gets drives, one product over all steps, and hands their gradients back through it to the table.
    """

    behind: ClassVar[type[Family]]
    looks_up: ClassVar[bool] = True

    @cached_property
    def alone(self) -> Family:
        """The family that takes what the look-up gives."""
        return type(self).behind(**_values(self))

    @cached_property
    def parts(self) -> tuple[Family, ...]:
        """Of the family behind the look-up, which a run does before the first of them (`core.loops`)."""
        return self.alone.parts

    @property
    def restarts(self) -> bool:
        """As the family: a look-up remembers nothing."""
        return plain(self).restarts

    @property
    def input_path(self) -> None:
        """None: codes are no numbers that a filter could take; `plain` has it."""
        return None

    def weights(self, values: Values, hypers: Values) -> LoopWeights:
        """The loop's weights; its input path is a part of `feed`."""
        weights = self._inner.weights(values, hypers)
        return weights if self._feeds else self._apart(weights)[1]

    def feed(  # pyright: ignore[reportIncompatibleMethodOverride] - codes for inputs
        self,
        values: Values,
        hypers: Values,
        inputs: Int64[Tensor, "P T B"],
        lengths: Int64[Tensor, "P ..."],
        engine: Engine,
    ) -> Feed:
        """Drives of the symbols' vectors, with the way back to the table."""
        table = values[TABLE]
        x = look_up(table, inputs)
        # the engine's products are no graph
        engine = ReferenceEngine() if table.requires_grad else engine
        if isinstance(self.alone, Layered):
            inner = self.alone.fed(values, hypers, x, lengths, engine, back=True)
        elif self._feeds:
            inner = self._inner.feed(values, hypers, x, lengths, engine)
        else:
            inner = self._driven(values, hypers, x, engine)

        def pullback(gradient: Tensor | None) -> dict[str, Tensor]:
            named, back = inner.backward(gradient)
            return {**named, TABLE: collected(back, inputs, table.shape[1])}

        return Feed(inner.inputs, pullback)

    def _driven(self, values: Values, hypers: Values, x: Float[Tensor, "P T B E"], engine: Engine) -> Feed:
        """What `feed` is without a filter."""
        one = self._inner
        weights, _ = self._apart(one.weights(values, hypers))

        def both(gradient: Tensor | None) -> tuple[dict[str, Tensor], Tensor]:
            assert gradient is not None
            parts, back = into_inputs(gradient, x, weights, engine)
            return one.pullback(values, hypers, parts) if weights.w_in is not None else {}, back

        return Feed(driven(x, weights, engine), both=both)

    @property
    def _inner(self) -> Any:
        """The family's own methods."""
        return super()

    def _apart(self, weights: LoopWeights) -> tuple[LoopWeights, LoopWeights]:
        """Weights with what makes drives of the vectors, and those of the loop that is fed with drives."""
        return weights, weights.without_inputs()

    @property
    def _feeds(self) -> bool:
        """Whether the family itself puts something before its loop: a filter, or other layers."""
        return self.behind.feed is not Family.feed


class EmbeddedFeedback(Embedded):
    """The mixin before a family whose outputs come in again.

    The loop keeps its bias: what is fed back adds to it, unless a rule puts something else in its place.
    """

    @property
    def _inner(self) -> Any:
        # another instance: the family asks itself for its open weights
        return plain(self)

    def _apart(self, weights: LoopWeights) -> tuple[LoopWeights, LoopWeights]:
        return replace(weights, bias=None), replace(weights, w_in=None)

    def open_weights(self, values: Values, hypers: Values) -> LoopWeights:
        """See `OutputFeedback.open_weights`."""
        return self._apart(self._inner.open_weights(values, hypers))[1]
