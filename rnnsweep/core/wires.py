"""Where the time loops of a network stand, what their parameters are called, and how they run: all but the numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnsweep.core.activations import Activation
from rnnsweep.core.families.base import Family, Values
from rnnsweep.core.recurrence.base import Engine

_REVERSE = "_reverse"


@dataclass(frozen=True)
class LoopPlace:
    """Where a loop stands in its network, and what its parameters are called there.

    Attributes:
        layer: counted from 1, at the inputs. layers: how many there are.
        reverse: whether it reads sequences from their end; None: no loop of the network does.
    """

    layer: int = 1
    layers: int = 1
    reverse: bool | None = None

    @property
    def main(self) -> bool:
        """Whether it is the one whose parameters have the plain names."""
        return self.layer == self.layers and not self.reverse

    @property
    def label(self) -> str:
        """The end of its metrics' keys: ``2``, ``2_reverse``."""
        return f"{self.layer}{_REVERSE}" if self.reverse else str(self.layer)

    def own(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The loop's part of what is named as in the network, by the names that it has within the loop."""
        # torch.export follows this line by line, and knows no := within a comprehension
        mine = [(self.plain(name), value) for name, value in values.items()]
        return {plain: value for plain, value in mine if plain is not None}

    def named(self, parts: Mapping[str, Any]) -> dict[str, Any]:
        """What is named as within the loop, by the names that it has in the network."""
        return {self.name(name): value for name, value in parts.items()}

    def name(self, plain: str) -> str:
        """A parameter's name in the network; in the last layer it is what it would be without the others."""
        end = "" if self.layer == self.layers else f"_l{self.layer}"
        return f"{plain}{end}{_REVERSE}" if self.reverse else f"{plain}{end}"

    def plain(self, name: str) -> str | None:
        """A parameter's name within the loop; None of another loop's."""
        if self.reverse is not None:
            if name.endswith(_REVERSE) != self.reverse:
                return None
            name = name.removesuffix(_REVERSE)
        ends = {number: f"_l{number}" for number in range(1, self.layers)}
        mine = next((number for number, end in ends.items() if name.endswith(end)), self.layers)
        return name.removesuffix(ends.get(self.layer, "")) if mine == self.layer else None


def places_of(family: Family) -> tuple[LoopPlace, ...]:
    """Of each loop of a network, layer by layer, forward before reverse."""
    ways = (False, True) if family.bidirectional else (None,)
    return tuple(LoopPlace(layer, family.layers, way) for layer in range(1, family.layers + 1) for way in ways)


@dataclass(frozen=True)
class Wire:
    """One time loop of a network as far as it has no numbers: worked out once.

    Attributes:
        place: which one it is. family: of this loop alone.
        engine: what runs it. activation: f.
        adds: whether what its layer sees is added to what it shows.
        looks_up: of a first layer: whether it is behind an embedding.
        filtered: whether `Family.feed` comes before it. random: whether it has masks. whole: whether all of a state is
            seen.
        only: whether the network has no other. main: see `LoopPlace.main`.
        hypers_of: the layer's own among the network's, by its number; None: they are the same.
    """

    place: LoopPlace
    family: Family
    engine: Engine
    activation: Activation
    adds: bool
    looks_up: bool
    filtered: bool
    random: bool
    whole: bool
    only: bool
    main: bool
    hypers_of: Callable[[int, Values], Values] | None


def wire(family: Family, engines: Sequence[Engine]) -> tuple[Wire, ...]:
    """The loops of a network, without numbers.

    Args:
        family: with all its layers. engines: of each loop.
    """
    return tuple(
        Wire(
            place,
            part,
            engine,
            part.cell_activation,
            adds=family.residual and place.layer > 1,
            looks_up=family.looks_up and place.layer == 1,
            filtered=part.feeds,
            random=bool(part.random),
            whole=type(part).visible is Family.visible,
            only=len(family.parts) == 1,
            main=place.main,
            hypers_of=None if type(family).part_hypers is Family.part_hypers else family.part_hypers,
        )
        for place, part, engine in zip(places_of(family), family.parts, engines, strict=True)
    )
