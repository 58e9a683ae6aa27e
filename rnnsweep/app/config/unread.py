"""Keys of units that nobody reads: set or searched, they change nothing beside the other units and keys."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING

from rnnsweep.sweep.space import Space

if TYPE_CHECKING:
    from rnnsweep.core.build import Units
    from rnnsweep.unit import Unit

_MOST = 64
"""Corners tried per unit."""


def unread_lines(variants: Sequence[Units], space: Space, written: Set[str]) -> list[str]:
    """One line for every key that was written or is searched and that no trial reads.

    Args:
        variants: units of the variants' base points.
        space: what is searched: another value of a key may make its neighbours count.
        written: dotted keys that the sweep's files or the command line set.
    """
    asked = {key for key in {*space.keys, *written} if "." in key}
    reasons: dict[str, list[str | None]] = {}
    for units in variants:
        for prefix, unit in _named(units).items():
            own = {key for key in asked if key.startswith(f"{prefix}.")}
            if own:
                everywhere = _everywhere(units, prefix, unit, space)
                for key in own & _keys(prefix, unit):
                    reasons.setdefault(key, []).append(_reason(everywhere, key.removeprefix(f"{prefix}.")))
    lines = []
    for key, found in sorted(reasons.items()):
        first = next((reason for reason in found if reason is not None), None)
        # one variant that reads it is enough
        if first is not None and None not in found:
            lines.append(f"{key} {'is searched' if key in space.keys else 'is set'} but changes nothing: {first}")
    return lines


def unread_keys(units: Units, prefix: str, unit: Unit) -> dict[str, str]:
    """Keys of one unit that change nothing beside its own values and the other units -> why."""
    specs = [spec for spec in units.parameters if spec.size]
    reasons = dict(unit.unread())
    if prefix == "init":
        reasons |= _about(units.init.roles, {spec.role for spec in specs}, units, "weights of the role")
    elif prefix == "optimizer":
        reasons |= _about(units.optimizer.groups, {spec.group for spec in specs}, units, "parameters of the group")
        reasons |= _proposed(units)
    elif prefix == "learner" and not units.task.per_step:
        reasons |= dict.fromkeys(
            units.learner.per_step_keys, f"task={units.task.unit_name} is read at its last step only"
        )
    elif prefix == "family":
        drawn = {key: role for key, role in units.family.first_values.items() if role in units.init.draws}
        reasons |= dict.fromkeys(drawn, f"init={units.init.unit_name} draws what it is about")
    return reasons


def _about(keys: Mapping[str, tuple[str, ...]], there: Set[str], units: Units, what: str) -> dict[str, str]:
    """Keys that are about roles or groups which no parameter has."""
    name = units.family.unit_name
    return {
        key: f"family={name} has no {what} {' or '.join(wanted)}"
        for key, wanted in keys.items()
        if there.isdisjoint(wanted)
    }


def _proposed(units: Units) -> dict[str, str]:
    """All keys of an optimiser that is not asked; a proximal controller reads its rate."""
    from rnnsweep.core.controllers.base import Proximal

    if not units.learner.proposes or any(isinstance(unit, Proximal) for unit in units.controllers.values()):
        return {}
    return dict.fromkeys(units.optimizer.fields(), f"the learning rule {units.learner.unit_name} makes its own steps")


def _named(units: Units) -> dict[str, Unit]:
    one_each: dict[str, Unit] = {
        unit.unit_group: unit for unit in (units.family, units.task, units.init, units.learner, units.optimizer)
    }
    return (
        one_each
        | {"readout": units.readout, "embedding": units.embedding}
        | {f"controllers.{name}": unit for name, unit in units.controllers.items()}
    )


def _keys(prefix: str, unit: Unit) -> set[str]:
    return {f"{prefix}.{name}" for name in (*unit.fields(), *unit.rows, *unit.unread())}


def _everywhere(units: Units, prefix: str, unit: Unit, space: Space) -> list[dict[str, str]]:
    """What is unread at the base point and at the corners of what is searched in the unit."""
    return [unread_keys(_with(units, prefix, other), prefix, other) for other in _corners(prefix, unit, space)]


def _with(units: Units, prefix: str, unit: Unit) -> Units:
    if prefix.startswith("controllers."):
        return units
    return dataclasses.replace(units, **{prefix: unit})


def _corners(prefix: str, unit: Unit, space: Space) -> Iterator[Unit]:
    yield unit
    ends = {
        dimension.key.removeprefix(f"{prefix}."): dimension.choices or (dimension.low, dimension.high)
        for dimension in space
        if dimension.key.startswith(f"{prefix}.")
    }
    plain = {name: values for name, values in ends.items() if name in unit.fields()}
    for values in itertools.islice(itertools.product(*plain.values()), _MOST):
        # corners were checked before; those that a condition leaves out may still be refused
        try:
            yield dataclasses.replace(unit, **dict(zip(plain, values, strict=True)))
        except Exception:  # noqa: BLE001 - a unit of the user's may raise anything, and this is only advice
            continue


def _reason(everywhere: Sequence[Mapping[str, str]], name: str) -> str | None:
    """Why a key, or the block that it stands in, is unread at all corners."""
    parts = name.split(".")
    names = [".".join(parts[:count]) for count in range(len(parts), 0, -1)]
    found = [next((reasons[each] for each in names if each in reasons), None) for reasons in everywhere]
    return None if None in found else found[0]
