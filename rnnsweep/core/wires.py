"""Where the time loops of a network stand, what their parameters are called, and how they run: all but the numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rnnsweep.core.activations import Activation
from rnnsweep.core.families.base import Family, Values
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.recurrence.base import Engine, LastStepEngine


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
            seen. learns: see `Family.learns`.
        only: whether the network has no other. main: see `LoopPlace.main`.
        hypers_of: the loop's own among the network's, by its place; None: they are the same.
        last_step: the engine, where it can show the last step alone and the network shows what this loop does, and
            nothing else.
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
    learns: bool
    only: bool
    main: bool
    hypers_of: Callable[[LoopPlace, Values], Values] | None
    last_step: LastStepEngine | None


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
            learns=part.learns,
            only=len(family.parts) == 1,
            main=place.main,
            hypers_of=None if type(family).part_hypers is Family.part_hypers else family.part_hypers,
            last_step=_of_last_step(family, place, part, engine),
        )
        for place, part, engine in zip(places_of(family), family.parts, engines, strict=True)
    )


def _of_last_step(family: Family, place: LoopPlace, part: Family, engine: Engine) -> LastStepEngine | None:
    """See `Wire.last_step`."""
    alone = place.layer == place.layers and place.reverse is None and not (family.residual and place.layer > 1)
    return engine if alone and not part.random and isinstance(engine, LastStepEngine) else None
