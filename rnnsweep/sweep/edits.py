"""A search space that is edited while its sweep lives: what is asked for, what becomes of the plan, what is kept.

    inbox ─► Edit.of_plain ─► edited (plan) ─► SpaceEdited (machine) · Sampler.edit · an entry among the sweep's `edits`

An edit names keys, not whole spaces, so that two which were asked for at one time both count. It takes effect between
two trials: those before keep their points, and the number of a trial says under which version it was asked for. What is
no longer searched has one value from then on, which is part of every later point; what is searched from then on had one
value before, which counts for the points of before. The entry that an edit leaves is written in the commit in which it
takes effect, also where it was refused: so no driver does it twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from rnnsweep.errors import ConfigError
from rnnsweep.sweep import budget
from rnnsweep.sweep.plan import SpaceVersion, SweepPlan
from rnnsweep.sweep.space import Dimension, Space, parents_first

KIND = "edit"
"""Of a request in the inbox."""
KEY = "edits"
"""Where the entries stand in the sweep's config."""

Entry = Mapping[str, Any]
"""What is kept of an edit, see `Edit.entry`."""


@dataclass(frozen=True)
class Edit:
    """What a user wants to be changed.

    Attributes:
        id: its own, so that it is known again.
        typed: in the user's words.
        by: who wants it. at: when, seconds since the epoch.
        put: dimensions that are new, or take the place of the one of their key.
        drop: keys that are no longer searched.
        pins: the values that those have from then on, see `SpaceVersion`.
        defaults: the values that keys of `put` had before they were searched.
        limits: of the budget.
        pruner: block of the unit that judges from then on; None: as before.
    """

    id: str
    typed: tuple[str, ...] = ()
    by: str = ""
    at: float = 0.0
    put: tuple[Dimension, ...] = ()
    drop: tuple[str, ...] = ()
    pins: tuple[Dimension, ...] = ()
    defaults: tuple[Dimension, ...] = ()
    limits: Mapping[str, Any] = field(default_factory=dict[str, Any])
    pruner: Mapping[str, Any] | None = None

    @property
    def searches(self) -> bool:
        """Whether it changes the space."""
        return bool(self.put or self.drop or self.pins)

    def plain(self) -> dict[str, Any]:
        """As the inbox keeps it."""
        return {
            **self._asked(),
            "put": plain_dimensions(self.put),
            "drop": list(self.drop),
            "pins": plain_dimensions(self.pins),
            "defaults": plain_dimensions(self.defaults),
        }

    def _asked(self) -> dict[str, Any]:
        asked: dict[str, Any] = {"id": self.id, "typed": list(self.typed), "by": self.by, "at": self.at}
        asked |= {"budget": dict(self.limits)} if self.limits else {}
        return asked | ({"pruner": dict(self.pruner)} if self.pruner is not None else {})

    @classmethod
    def of_plain(cls, data: Mapping[str, Any]) -> Edit:
        """The inverse of `plain`.

        Raises:
            ConfigError: it is none: whoever may write to the ledger may write nonsense.
        """
        try:
            return cls(
                id=str(data["id"]),
                typed=tuple(map(str, data.get("typed", ()))),
                by=str(data.get("by", "")),
                at=float(data.get("at", 0.0)),
                put=dimensions_of(data.get("put", ())),
                drop=tuple(map(str, data.get("drop", ()))),
                pins=dimensions_of(data.get("pins", ())),
                defaults=dimensions_of(data.get("defaults", ())),
                limits=dict(data.get("budget", {})),
                pruner=data.get("pruner"),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ConfigError(f"is no edit: {type(error).__name__}", key=KIND, value=str(data)[:80]) from None

    def entry(self, plan: SweepPlan, now: float) -> dict[str, Any]:
        """What is kept of it once it has taken effect.

        Args:
            plan: with the edit.
            now: seconds since the epoch.
        """
        kept = {**self._asked(), "applied": now, "version": plan.version.number}
        if not self.searches:
            return kept
        now_searched = {
            "first": plan.version.first,
            "space": plain_dimensions(plan.space),
            "pins": plain_dimensions(plan.version.pins),
            "defaults": plain_dimensions(plan.version.defaults),
        }
        return kept | now_searched

    def refused(self, reason: str, now: float) -> dict[str, Any]:
        """What is kept of one that could not take effect."""
        return {**self._asked(), "applied": now, "refused": reason}


def plain_dimensions(dimensions: Iterable[Dimension]) -> list[list[Any]]:
    """Dimensions as plain data, [key, fields] each: of pins several may have one key, under different conditions."""
    return [[dimension.key, dimension.plain()] for dimension in dimensions]


def dimensions_of(data: Iterable[Any]) -> tuple[Dimension, ...]:
    """The inverse of `plain_dimensions`."""
    return tuple(Dimension.of_plain(str(key), fields) for key, fields in data)


def edited(plan: SweepPlan, edit: Edit, first: int) -> SweepPlan:
    """The plan with the edit, which counts from trial `first` on.

    Raises:
        ConfigError: a limit that cannot change now.
    """
    plan = replace(plan, budget=budget.change(plan.budget, edit.limits))
    if not edit.searches:
        return plan
    before = plan.version
    put = {dimension.key: dimension for dimension in edit.put}
    gone = {*edit.drop, *(pin.key for pin in edit.pins)} - set(put)
    dimensions = [put.pop(dimension.key, dimension) for dimension in plan.space if dimension.key not in gone]
    dimensions += put.values()
    searched = {dimension.key for dimension in dimensions}
    anew = {*searched, *(pin.key for pin in edit.pins)}
    pins = (*(pin for pin in before.pins if pin.key not in anew), *edit.pins)
    version = SpaceVersion(
        before.number + 1, first, Space(_settled(dimensions, pins)), pins, _defaults(plan, edit.defaults)
    )
    return replace(plan, space=version.space, versions=(*(plan.versions or (before,)), version))


def _settled(dimensions: Sequence[Dimension], pins: Sequence[Dimension]) -> tuple[Dimension, ...]:
    """Conditions on keys that have one value now hold always, or never: then what depends on them is gone.

    Raises:
        ConfigError: the others run in a circle.
    """
    values = {pin.key: pin.choices[0] for pin in pins if not pin.when}
    kept = [
        replace(one, when={key: known for key, known in one.when.items() if key not in values})
        for one in dimensions
        if all(values[key] in known for key, known in one.when.items() if key in values)
    ]
    return tuple(parents_first(kept))


def _defaults(plan: SweepPlan, given: Iterable[Dimension]) -> tuple[Dimension, ...]:
    """Those of before, and those of keys that no trial has named so far."""
    launched = plan.versions[0].space if plan.versions else plan.space
    named = {*launched.keys, *(default.key for default in plan.version.defaults)}
    return (*plan.version.defaults, *(default for default in given if default.key not in named))


def with_entries(plan: SweepPlan, entries: Iterable[Entry]) -> SweepPlan:
    """The plan of a sweep as launched, with the edits that its config tells of."""
    versions = [SpaceVersion(0, 0, plan.space)]
    for entry in entries:
        if "space" in entry:
            space, pins = Space(dimensions_of(entry["space"])), dimensions_of(entry["pins"])
            versions.append(
                SpaceVersion(entry["version"], entry["first"], space, pins, dimensions_of(entry["defaults"]))
            )
    return replace(plan, space=versions[-1].space, versions=tuple(versions)) if len(versions) > 1 else plan


def brought_up(plan: SweepPlan, config: Mapping[str, Any]) -> SweepPlan:
    """A plan of some session with the edits that the sweep's config tells of by now."""
    entries = entries_of(config)
    if sum("space" in entry for entry in entries) <= plan.version.number:
        return plan
    launched = plan.versions[0].space if plan.versions else plan.space
    return with_entries(replace(plan, space=launched, versions=()), entries)


def entries_of(config: Mapping[str, Any]) -> list[Entry]:
    """What a sweep's config tells of its edits, oldest first."""
    return cast("list[Entry]", list(config.get(KEY, ())))


def newest_pruner(entries: Iterable[Entry]) -> Mapping[str, Any] | None:
    """Block of the pruner that the last edit of it chose; None where none did."""
    chosen = [entry["pruner"] for entry in entries if "pruner" in entry and "refused" not in entry]
    return chosen[-1] if chosen else None


def says(entry: Entry) -> str:
    """An edit in a line, for people.

    Example:
        >>> says({"typed": ["optimizer.lr=0.1"], "by": "ada", "space": {}, "version": 1, "first": 7})
        'version 1 from trial 7 on: optimizer.lr=0.1 (ada)'
    """
    typed = " ".join(entry.get("typed", ())) + (f" ({entry['by']})" if entry.get("by") else "")
    if "refused" in entry:
        return f"refused: {typed}: {entry['refused']}"
    if "space" in entry:
        return f"version {entry['version']} from trial {entry['first']} on: {typed}"
    return typed
