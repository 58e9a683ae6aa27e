"""What trials train at grows with their updates: a sequence length, a share of the training data.

    update 0 ── task.length=25 ──► 500 ── task.length=50 ──► 2000 ── task.length=100, as the task says: full ──► the end

All trials of a sweep have the same stages, so that values at one update are values at one fidelity, whoever compares
them. A result, a best value and a time to solve count at full fidelity alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

KEY = "fidelity"
"""Of a config's block: dotted key -> {update: value from there on}; before it is settled a list may stand for that."""


@dataclass(frozen=True)
class Stage:
    """A stretch of every trial's training.

    Attributes:
        rung: after which it begins. step: updates done by then.
        values: dotted key -> value, JSON; those of the last stage are the config's own.
    """

    rung: int
    step: int
    values: Mapping[str, Any]


def flat(block: Mapping[Any, Any], above: str = "") -> dict[str, Any]:
    """Dotted keys and what was given for each, however it was nested.

    Example:
        >>> flat({"task": {"length": {0: 25, 500: 100}}, "training.data_share": [0.1, 1]})
        {'task.length': {0: 25, 500: 100}, 'training.data_share': [0.1, 1]}
    """
    return dict(_leaves(block, above))


def _leaves(block: Mapping[Any, Any], above: str) -> Iterator[tuple[str, Any]]:
    for name, value in block.items():
        key = f"{above}{name}"
        if isinstance(value, Mapping) and not any(map(_is_number, cast("Mapping[Any, Any]", value))):
            yield from _leaves(cast("Mapping[Any, Any]", value), f"{key}.")
        else:
            yield key, value


def _is_number(name: Any) -> bool:
    """Whether it is meant for an update, be it a wrong one: no key of a config is a number."""
    try:
        float(name)
    except (TypeError, ValueError):
        return False
    return True


def is_schedule(given: Any) -> bool:
    """Whether it says from which update on which value counts; JSON and overrides have texts for whole numbers."""
    if not isinstance(given, Mapping):
        return False
    updates = [str(update) for update in cast("Mapping[Any, Any]", given)]
    return bool(updates) and all(update.isdecimal() for update in updates)


def stages_of(block: Mapping[str, Any], report_every: int) -> tuple[Stage, ...]:
    """The stages of a settled block; none where nothing changes.

    Args:
        block: see `KEY`.
        report_every: updates per rung, of which every update in it is a multiple.

    Example:
        >>> [(stage.rung, *stage.values.values()) for stage in stages_of({"task.length": {"0": 25, "500": 100}}, 100)]
        [(0, 25), (5, 100)]
    """
    if not all(map(is_schedule, block.values())):
        return ()
    schedules = {key: {int(update): value for update, value in given.items()} for key, given in block.items()}
    updates = sorted({update for schedule in schedules.values() for update in schedule})
    return tuple(
        Stage(update // report_every, update, {key: _at(schedule, update) for key, schedule in schedules.items()})
        for update in updates
    )


def _at(schedule: Mapping[int, Any], update: int) -> Any:
    return schedule[max(begin for begin in schedule if begin <= update)]


def stage_after(stages: Sequence[Stage], rung: int) -> Stage | None:
    """The stage that the rung after `rung` is trained in; None where there are none.

    Example:
        >>> stages = stages_of({"task.length": {"0": 25, "500": 100}}, 100)
        >>> [stage_after(stages, rung).rung for rung in (0, 4, 5, 9)]
        [0, 0, 5, 5]
    """
    return next((stage for stage in reversed(stages) if stage.rung <= rung), None)


def full_after(stages: Sequence[Stage]) -> int:
    """The rung after which all that a trial shows counts as a result; 0 where nothing changes."""
    return stages[-1].rung if stages else 0


def reached(stages: Sequence[Stage], step: int) -> Mapping[str, Any]:
    """What the last of so many updates was trained at; of none, what the first one will be.

    Example:
        >>> stages = stages_of({"task.length": {"0": 25, "500": 100}}, 100)
        >>> [reached(stages, step)["task.length"] for step in (0, 500, 501)]
        [25, 25, 100]
    """
    begun = [stage for stage in stages if stage.step < step] or list(stages[:1])
    return begun[-1].values if begun else {}


def words(values: Mapping[str, Any]) -> str:
    """As one would type it.

    Example:
        >>> words({"task.length": 25, "training.data_share": 0.1})
        'task.length=25 training.data_share=0.1'
    """
    return " ".join(f"{key}={'null' if value is None else value}" for key, value in values.items())
