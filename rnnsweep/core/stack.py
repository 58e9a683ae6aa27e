"""Layers of different families, one on the other. Shapes: see `core.types`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.activations import Activation
from rnnsweep.core.families.base import RATES, Family, Values
from rnnsweep.core.families.lru import Lru
from rnnsweep.core.families.lstm import Lstm
from rnnsweep.core.layered import Layered, unstackable
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.regularised import Regularised, regularised
from rnnsweep.core.types import Capability
from rnnsweep.core.wires import places_of
from rnnsweep.errors import ConfigError
from rnnsweep.loader import build_unit, load_class
from rnnsweep.unit import Metric, Range

PLACES = ("first", "second", "third", "fourth")
"""Keys of the layers, at the inputs first."""
_ALONE = {"layers": 1, "residual": False, "bidirectional": False, "widths": None}
"""What a layer must leave to the whole."""
_OWN = (*RATES, "variational", "layer_norm", "weight_norm")
"""What each layer has for itself."""


@dataclass(frozen=True)
class Stack(Layered):
    """One layer of each of two to four families; the read-out sees the last one.

    Attributes:
        first, second, third, fourth: families, at the inputs first, or their blocks; None: no such layer. All that a
            family has, its rates among them, is its layer's own: ``family.second.forget_bias``.
        residual: whether each layer from the second on adds what it sees to what it shows; all show as much then.
        hidden, layers: those of the last layer, and their number, whatever is given.

    Numerics:
        As `Layered`: each layer is to the bit what its family is there.
    """

    fixed: ClassVar[Mapping[str, Range | tuple[Any, ...]]] = {"hidden": Range(1, 8192, integer=True)}

    first: Any = field(default_factory=Lru, kw_only=True)
    second: Any = field(default_factory=Lstm, kw_only=True)
    third: Any = field(default=None, kw_only=True)
    fourth: Any = field(default=None, kw_only=True)

    def __post_init__(self) -> None:
        given = [name for name in PLACES if getattr(self, name) is not None]
        if len(given) < 2 or given != [*PLACES[: len(given)]]:
            missing = next(name for name in PLACES if getattr(self, name) is None)
            raise ConfigError("is empty", key=f"family.{missing}", value="null", allowed="a family's name")
        for name in given:
            object.__setattr__(self, name, _layer(name, getattr(self, name)))
        for name in _OWN:
            if getattr(self, name):
                problem, allowed = "belongs to a layer", ", ".join(f"family.{place}.{name}" for place in given)
                raise ConfigError(problem, key=f"family.{name}", value=getattr(self, name), allowed=allowed)
        each = dict(self.nested)
        own = {
            "layers": len(each),
            "hidden": self._last.hidden,
            "rows": _dotted({name: part.rows for name, part in each.items()}),
            "first_values": _dotted({name: part.first_values for name, part in each.items()}),
            "capabilities": frozenset.intersection(*(part.capabilities for part in each.values())) - {Capability.GRAPH},
            "orthogonal": self._last.orthogonal,
            "asks_host": any(part.asks_host for part in each.values()),
            "pace": next((part.pace for part in each.values() if part.pace), ""),
        }
        for name, value in own.items():
            object.__setattr__(self, name, value)
        super().__post_init__()
        if self.residual and len({part.width for part in each.values()}) > 1:
            shown = ", ".join(f"{name} {part.width}" for name, part in each.items())
            problem = f"adds what a layer sees to what it shows, which are of different widths ({shown})"
            raise ConfigError(problem, key="family.residual", value=True, allowed="false, or layers that show as much")

    @classmethod
    def declares(cls, values: Mapping[str, Any]) -> Mapping[str, Metric]:
        """Those of the layers' families."""
        blocks = {name: values[name] for name in PLACES if isinstance(values.get(name), Mapping)}
        found = dict(super().declares(values))
        for name, block in blocks.items():
            found |= load_class(block.get("_target_"), f"family.{name}").declares(block)
        return found

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """The layers, and what puts them together."""
        return (*PLACES, "residual", "bidirectional")

    def check(self) -> None:
        """The layers have checked themselves."""

    @property
    def nested(self) -> Mapping[str, Family]:
        """The layers, by key."""
        return {name: part for name in PLACES if (part := getattr(self, name)) is not None}

    @cached_property
    def parts(self) -> tuple[Family, ...]:
        """Of each loop."""
        each = [*self.nested.values()]
        return tuple(each[place.layer - 1] for place in places_of(self))

    def part_hypers(self, place: LoopPlace, hypers: Values) -> Values:
        """Those that begin with the layer's key, and the loop's row state."""
        start = f"{PLACES[place.layer - 1]}."
        own = {name[len(start) :]: value for name, value in hypers.items() if name.startswith(start)}
        return own | {slot: hypers[place.name(slot)] for slot in self._part(place).slots}

    def structure(self) -> dict[str, Any]:
        """That of every layer, and what puts them together."""
        own = {"residual": self.residual, "bidirectional": self.bidirectional}
        return own | {name: part.identity() for name, part in self.nested.items()}

    def unread(self) -> Mapping[str, str]:
        """See `Unit.unread`: a layer's own, and the rates of masks that stand elsewhere."""
        found = dict[str, str]()
        for name, part in self.nested.items():
            reasons = {key: why for key, why in part.unread().items() if key not in (*_ALONE, "dropout")}
            if name == PLACES[0]:
                reasons["dropout"] = "the first layer's is input_dropout"
            else:
                reasons["input_dropout"] = "it is the first layer's; dropout is that of the layers above"
            if name != [*self.nested][-1]:
                reasons["output_dropout"] = "it is the last layer's"
            found |= {f"{name}.{key}": why for key, why in reasons.items()}
        return found

    @property
    def random(self) -> tuple[str, ...]:
        """The rates of all layers that are not 0."""
        return tuple(f"{name}.{rate}" for name, part in self.nested.items() for rate in part.random)

    @property
    def inside(self) -> tuple[str, ...]:
        """See `Family.inside`; of all layers."""
        return tuple(f"{name}.{key}" for name, part in self.nested.items() for key in part.inside)

    @property
    def cell(self) -> Cell | None:
        """The last layer's."""
        return self._last.cell

    @property
    def cell_activation(self) -> Activation:
        """The last layer's."""
        return self._last.cell_activation

    @property
    def leaky(self) -> bool:
        """Whether the last layer has leak terms."""
        return self._last.leaky

    @property
    def filters(self) -> bool:
        """Whether a filter stands before the last layer's loop."""
        return self._last.filters

    def visible(self, states: Float[Tensor, "... S"]) -> Float[Tensor, "... H"]:
        """Of the last layer's loop."""
        return self._last.visible(states)

    @property
    def _last(self) -> Family:
        return [*self.nested.values()][-1]


def _layer(place: str, given: Any) -> Family:
    """One layer, of its family or a block."""
    key = f"family.{place}"
    try:
        family = given if isinstance(given, Family) else build_unit(given, key, Family)
        family = family if isinstance(family, Regularised) else regularised(family)
    except ConfigError as error:
        if error.key is None or error.key.startswith(key):
            raise
        named = key + error.key.removeprefix("family")
        raise ConfigError(
            error.problem, key=named, value=error.value, allowed=error.allowed, file=error.file, hint=error.hint
        ) from error.__cause__
    reason = "has layers itself" if isinstance(family, Layered) else unstackable(family)
    if reason:
        problem = f"cannot be stacked: the family {family.unit_name} {reason}"
        raise ConfigError(problem, key=key, value=family.unit_name, allowed="another family")
    for name, alone in _ALONE.items():
        if getattr(family, name) != alone:
            problem = "a layer of different families is one loop" if name != "residual" else "is said of all layers"
            allowed = {"layers": "1, and the same family at the next place", "widths": f"null, and {key}.hidden"}
            whole = f"false, and family.{name}"
            raise ConfigError(
                problem, key=f"{key}.{name}", value=getattr(family, name), allowed=allowed.get(name, whole)
            )
    return family


def _dotted(each: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """What layers have by name, by ``layer.name``."""
    return {f"{place}.{name}": value for place, found in each.items() for name, value in found.items()}
