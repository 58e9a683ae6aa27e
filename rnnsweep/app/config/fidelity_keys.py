"""Which keys may change while trials train, and at which updates: the block `fidelity` of a config. Needs torch.

{task.length: [25, 50, 100]}              one value per level of the scheduler, or in equal parts of the training
{task.length: {0: 25, 500: 50, 2000: 100}}   from which update on          ─► the latter, values as units take them
"""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, cast

from rnnsweep.adapters.hydra.overrides import TARGET
from rnnsweep.app.config.checks import PLAIN
from rnnsweep.app.config.point import Variant, lookup, put
from rnnsweep.app.config.unit_checks import UnitFacts, check_units
from rnnsweep.core.build import Units
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import NAME
from rnnsweep.sweep.fidelity import KEY, flat, is_schedule, stages_of, words
from rnnsweep.sweep.objective import SOLVED_AT
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.unit import Range, check_field

SHARE = "training.data_share"
_KEPT = ("path", "eval_lengths", TARGET, NAME)
"""Keys of tasks that say where the data are, or what is measured beside."""
_FORMS = "a list of two values or more, or {update: value} from 0 on"


def settle_fidelity(
    variants: Sequence[Variant], facts: UnitFacts, plan: SweepPlan, scheduler: SchedulerUnit, pruner: Mapping[str, Any]
) -> list[str]:
    """Write into the configs at which update which value comes, so that a resume finds it as it was at the launch.

    Args:
        variants: one per combination of searched groups; their `resolved` change.
        facts: what the units say at full fidelity.
        plan: of the sweep, its stages not known yet.
        scheduler: at whose milestones lists of values change. pruner: its block.

    Returns:
        What is said in vain, a line each.

    Raises:
        ConfigError: a key that cannot change, or is searched; values that are none, or do not end with the config's
            own; updates that are no rungs; a pruner, or an objective, that would compare across fidelities.
    """
    block = flat(variants[0].resolved.get(KEY) or {})
    given = {key: values for key, values in block.items() if values is not None}  # null: a file's is taken out
    schedules: dict[str, Any] = {}
    idle: list[str] = []
    for key, values in given.items():
        _check_key(key, variants, facts)
        schedule = _schedule(key, values, plan, scheduler)
        _check_full(key, schedule, variants)
        if all(value == schedule["0"] for value in schedule.values()):
            idle.append(f"{KEY}.{key} changes nothing: all its values are the same")
        else:
            schedules[key] = schedule
    if schedules:
        _check_judges(plan, scheduler, pruner)
        _check_stages(schedules, variants, facts, plan)
    for variant in variants:
        variant.resolved[KEY] = schedules
    return idle


def _check_key(key: str, variants: Sequence[Variant], facts: UnitFacts) -> None:
    fields = variants[0].resolved["task"].items()
    own = [f"task.{name}" for name, value in fields if name not in _KEPT and _is_value(value)]
    shared = [name for name in own if all(lookup(one.resolved, name, KEY) != KEY for one in variants)]
    allowed = [*shared, SHARE]
    if key not in allowed:
        problem = "cannot change while trials train"
        raise ConfigError(problem, key=f"{KEY}.{key}", allowed=allowed, hint=nearest(key, allowed))
    if key in facts.space.keys:
        raise ConfigError(
            "is searched: it has one value for a whole trial", key=f"{KEY}.{key}", allowed=f"~space.{key}"
        )


def _schedule(key: str, given: Any, plan: SweepPlan, scheduler: SchedulerUnit) -> dict[str, Any]:
    """Update -> value."""
    if isinstance(given, list) and len(given) > 1:
        values = {str(rung * plan.report_every): value for rung, value in _levels(key, given, plan, scheduler)}
    elif is_schedule(given) and len(given) > 1:
        values = {str(update): given[update] for update in sorted(given, key=lambda update: int(str(update)))}
        _check_updates(key, [*map(int, values)], plan)
    elif isinstance(given, Mapping) and given and not is_schedule(given):
        wrong = next(update for update in cast("Mapping[Any, Any]", given) if not is_schedule({update: None}))
        raise _no_update(key, wrong, plan)
    else:
        raise ConfigError("says nothing that could change", key=f"{KEY}.{key}", value=given, allowed=_FORMS)
    for value in values.values():
        if not _is_value(value):
            allowed = "numbers, null, or [low, high]"
            raise ConfigError("is no value that could grow", key=f"{KEY}.{key}", value=value, allowed=allowed)
        if key in PLAIN:  # the others are their units'
            check_field(f"{KEY}.{key}", value, PLAIN[key])
    return values


def _is_value(value: Any) -> bool:
    number = Range()
    parts = value if isinstance(value, list) and len(value) == 2 else [value]
    return all(part is None or number.accepts(part) for part in parts)


def _levels(key: str, given: Sequence[Any], plan: SweepPlan, scheduler: SchedulerUnit) -> list[tuple[int, Any]]:
    """The rung after which each value comes: where the scheduler has compared, or else after equal parts."""
    rungs = -(-plan.budget.updates // plan.report_every)
    known = scheduler.milestones(plan)
    ends = known or [-(-part * rungs // len(given)) for part in range(1, len(given))]
    # a level ends with an evaluation
    evaluated = {-(-rung // plan.eval_every) * plan.eval_every for rung in ends}
    begins = [0, *sorted(rung for rung in evaluated if rung < rungs)]
    if len(begins) < len(given):
        at = ", ".join(str(rung * plan.report_every) for rung in begins[1:]) or "none"
        where = f"milestones of scheduler={scheduler.unit_name}" if known else "evaluations"
        problem = f"has {len(given)} values, and before update {plan.budget.updates} there are {where} at {at}"
        raise ConfigError(problem, key=f"{KEY}.{key}", value=list(given), allowed=f"at most {len(begins)} values")
    return list(zip(begins, given, strict=False))


def _check_updates(key: str, updates: Sequence[int], plan: SweepPlan) -> None:
    wrong = next((n for n in updates if n % plan.report_every or n >= plan.budget.updates), None)
    if updates[0] or wrong is not None:
        raise _no_update(key, wrong or updates[0], plan)


def _no_update(key: str, update: Any, plan: SweepPlan) -> ConfigError:
    allowed = f"0, and multiples of training.report_every={plan.report_every} below {plan.budget.updates}"
    return ConfigError("is no update to change at", key=f"{KEY}.{key}", value=update, allowed=allowed)


def _check_full(key: str, schedule: Mapping[str, Any], variants: Sequence[Variant]) -> None:
    """Each trial ends at what its config says: there results count."""
    last = list(schedule.values())[-1]
    for variant in variants:
        full = lookup(variant.resolved, key)
        if last != full:
            shown = "null" if full is None else full
            problem = f"does not end with the value that results are for, which is {key}={shown}"
            hint = f"Set {key} to the last value, or end with {shown}."
            value = "null" if last is None else last
            raise ConfigError(problem, key=f"{KEY}.{key}", value=value, allowed=f"[..., {shown}]", hint=hint)


def _check_judges(plan: SweepPlan, scheduler: SchedulerUnit, pruner: Mapping[str, Any]) -> None:
    """Optuna's pruners take a trial's best value so far, whatever it was measured at."""
    if pruner[NAME] != "none":
        problem = "would compare values of different fidelity"
        raise ConfigError(problem, key="pruner", value=pruner[NAME], allowed="pruner=none, or a scheduler")
    late = [one for one in plan.objectives if one.metric == SOLVED_AT or one.reduce == "solved_share"]
    if late and scheduler.start(plan) is not None:
        problem = f"is not known before full fidelity, where scheduler={scheduler.unit_name} compares"
        name = "reduce" if late[0].metric != SOLVED_AT else "metric"
        raise ConfigError(problem, key=f"objective.{name}", value=getattr(late[0], name), allowed="valid/error, ...")


def _check_stages(schedules: dict[str, Any], variants: Sequence[Variant], facts: UnitFacts, plan: SweepPlan) -> None:
    """Build all units at every stage but the last, also at the corners of the space; take over whole numbers."""
    for stage in stages_of(schedules, plan.report_every)[:-1]:
        there = [_at(variant, stage.values) for variant in variants]
        try:
            units = check_units(there, facts.space).units
        except ConfigError as error:
            key = next((key for key in stage.values if key == error.key), next(iter(stage.values)))
            problem, value = f"{error.problem} (at {words(stage.values)})", stage.values[key]
            raise ConfigError(
                problem,
                key=f"{KEY}.{key}",
                value="null" if value is None else value,
                allowed=error.allowed,
                hint=error.hint,
            ) from error.__cause__
        for key in stage.values:
            if str(stage.step) in schedules[key]:
                schedules[key][str(stage.step)] = lookup(there[0].resolved, key)
            _check_shapes(key, stage.values[key], units, facts.units)


def _at(variant: Variant, values: Mapping[str, Any]) -> Variant:
    resolved = copy.deepcopy(variant.resolved)
    for key, value in values.items():
        put(resolved, key, value)
    return dataclasses.replace(variant, resolved=resolved)


def _check_shapes(key: str, value: Any, here: Sequence[Units], full: Sequence[Units]) -> None:
    """What was trained must fit, and mean the same."""
    for one, other in zip(here, full, strict=True):
        sizes = [[(spec.name, spec.shape) for spec in units.parameters] for units in (one, other)]
        if sizes[0] != sizes[1] or one.task.carries != other.task.carries:
            problem = "would be another network: weights, or the state that it carries, do not fit"
            raise ConfigError(
                problem, key=f"{KEY}.{key}", value=value, allowed="values that leave the network as it is"
            )
