"""What is allowed and does nothing: arms without effect, keys that nobody reads. Only what is certain, one line each.

A line is about something that the user wrote: defaults that happen to do nothing are nobody's mistake.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.trackers import MLFLOW, tracker_blocks
from rnnsweep.sweep.objective import SOLVED_AT
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.racing import idle_racing
from rnnsweep.sweep.schedulers.base import SchedulerUnit
from rnnsweep.sweep.space import Dimension, Space
from rnnsweep.wording import counted

if TYPE_CHECKING:
    from rnnsweep.core.build import Units
    from rnnsweep.core.controllers.base import Controller

_INLINE_UNUSED = ("address", "workers", "deadline_s", "dashboard")
_MLFLOW_KEYS = ("tracker.points", "store.mlflow", "store.artifacts")


def idle_settings(plan: SweepPlan, names: Mapping[str, Any], written: Set[str]) -> list[str]:
    """What of a sweep's plain settings does nothing.

    Args:
        plan: of the sweep; its `config` is the resolved config.
        names: unit chosen per group.
        written: dotted keys and groups that the sweep's files or the command line set.
    """
    own = [*_same_points(plan), *_no_patience(plan, written), *_no_race(plan, written)]
    return [*own, *_unread(plan, names, written), *_idle_search(plan, names, written)]


def _no_patience(plan: SweepPlan, written: Set[str]) -> Iterator[str]:
    """A smallest improvement that nobody waits for."""
    if plan.budget.patience is None and "budget.min_delta" in written and plan.budget.min_delta:
        yield "budget.min_delta changes nothing without budget.patience"


def _no_race(plan: SweepPlan, written: Set[str]) -> Iterator[str]:
    """Races that nobody runs, or nobody can lose."""
    if plan.racing is None and "racing.block" in written:
        yield "racing.block changes nothing without racing.level"
    why = idle_racing(plan)
    if plan.racing is not None and why is not None:
        yield f"racing.level={plan.racing.level:g} stops no trial: {why}"


def _same_points(plan: SweepPlan) -> Iterator[str]:
    """Trials that are bound to be each other's copies."""
    trials = plan.budget.trials
    # with independent seeds the copies are samples of the same point, which somebody may want
    if plan.config["seeds"] != "shared" or trials == 1:
        return
    points = _points_at_most(plan.space)
    if not len(plan.space) and not plan.repeat:
        yield "nothing is searched, so the sweep ends with its one point, trained once; replicas=N trains it on N seeds"
    elif not len(plan.space):
        yield (
            f"nothing is searched, so all {trials or 'the'} trials train the same point with the same seeds; "
            "budget.trials=1 trains it once, replicas=N on N seeds"
        )
    elif trials is not None and points < trials:
        yield f"the space has {counted(points, 'point')}, fewer than budget.trials={trials}"


def _points_at_most(space: Space) -> float:
    return math.prod(_values(dimension) for dimension in space)


def _values(dimension: Dimension) -> float:
    if dimension.kind == "categorical":
        return len(dimension.choices)
    if dimension.low == dimension.high:
        return 1
    if dimension.kind == "float" and dimension.step is None:
        return math.inf
    assert dimension.low is not None and dimension.high is not None
    # an upper bound is enough: a warning must be certain, so floating-point dust may only overcount
    return (dimension.high - dimension.low) // (dimension.step or 1) + 1


def _unread(plan: SweepPlan, names: Mapping[str, Any], written: Set[str]) -> Iterator[str]:
    """Keys that the chosen units leave unread."""
    config = plan.config
    if config["cluster"]["executor"] == "inline":
        for name in _INLINE_UNUSED:
            if f"cluster.{name}" in written:
                value = _word(config["cluster"][name])
                yield f"cluster.{name}={value} is not read: this cluster is the driver's own process (executor: inline)"
    trackers = tracker_blocks(config["tracker"])
    for key in _MLFLOW_KEYS if MLFLOW not in trackers else ():
        if key in written and (not trackers or key.startswith("store.")):
            what = "MLflow is not among the trackers" if trackers else "nothing is tracked"
            yield f"{key} is not read: {what} (tracker={_chosen(names['tracker'])})"
    yield from _unread_take(plan)


def _chosen(choice: Any) -> str:
    """A group's choice as it is typed."""
    return f"[{','.join(choice)}]" if isinstance(choice, list) else str(choice)


def _unread_take(plan: SweepPlan) -> Iterator[str]:
    for objective in plan.objectives:
        # the default is `last`: whoever has another wrote it
        if objective.take != "last" and (objective.metric == SOLVED_AT or objective.reduce == "solved_share"):
            yield "objective.take is not read: when a replica solved its task is one number, not a curve"


def _idle_search(plan: SweepPlan, names: Mapping[str, Any], written: Set[str]) -> Iterator[str]:
    """A sampler that never learns, a pruner that never judges."""
    sampler, pruner, trials = plan.config["sampler"], plan.config["pruner"], plan.budget.trials
    startup = sampler.get("startup")
    if "sampler" in written and isinstance(startup, int) and trials is not None and startup >= trials:
        yield (
            f"sampler={names['sampler']} never learns: its first {counted(startup, 'trial')} (sampler.startup) "
            f"{'comes' if startup == 1 else 'come'} from a Sobol sequence, and budget.trials={trials}"
        )
    population = (plan.config.get("scheduler") or {}).get("members") is not None
    if population and "sampler" in written and "in_flight" in sampler:  # what samplers with a model have
        yield f"sampler={names['sampler']} never learns: all of a population are asked for before any has a result"
    # rungs <= 1: the only rung is the end, where nothing is judged
    rungs, spared = -(-plan.budget.updates // plan.report_every), pruner.get("warmup", 0)
    if "pruner" in written and names["pruner"] != "none" and rungs <= max(1, spared):
        first = f", and the first {spared} (pruner.warmup) {'is' if spared == 1 else 'are'} spared" if spared else ""
        yield f"pruner={names['pruner']} never judges: a trial has {counted(rungs, 'rung')}{first}"


def idle_scheduler(scheduler: SchedulerUnit, plan: SweepPlan, written: Set[str]) -> list[str]:
    """A scheduler that never decides anything."""
    why = scheduler.idle(plan) if "scheduler" in written else None
    return [] if why is None else [f"scheduler={scheduler.unit_name} does nothing: {why}"]


def idle_units(built: Sequence[Units], space: Space, written: Set[str]) -> list[str]:
    """What of the units of some points does nothing, all checks together."""
    lines = [line for units in built for line in (*still_loops(units), *same_rules(units))]
    for check in (idle_controllers, idle_arms):
        lines += [line for units in built for line in check(units, space, written)]
    return lines


def idle_controllers(units: Units, space: Space, written: Set[str]) -> list[str]:
    """Keys of controllers that are off in every trial: set or searched, they change nothing."""
    lines = []
    for name, unit in units.controllers.items():
        rows = {f"controllers.{name}.{field}" for field in unit.rows}
        others = sorted(key for key in {*space.keys, *written} - rows if key.startswith(f"controllers.{name}."))
        # per-row fields decide whether a controller is on; one that is searched may switch it on in some trial
        if not others or rows & set(space.keys) or _is_on(unit):
            continue
        off = ", ".join(f"{field}={_word(getattr(unit, field))}" for field in unit.rows)
        for key in others:
            what = "is searched" if key in space.keys else "is set"
            lines.append(f"{key} {what} but changes nothing: controllers.{name} is off in every trial ({off})")
    return lines


def idle_arms(units: Units, space: Space, written: Set[str]) -> list[str]:
    """Controllers that are switched on in some trial and cannot act beside the family or the learning rule."""
    lines, specs = [], units.parameters
    for name, unit in units.controllers.items():
        key = f"controllers.{name}"
        rows = {f"{key}.{field}" for field in unit.rows}
        searched = {other for other in space.keys if other.startswith(f"{key}.")}
        # of its own accord nobody is warned: a config begins with `clip`
        asked = "controllers" in written or any(other.startswith(f"{key}.") for other in {*written, *searched})
        # a structural key that is searched may make it act in some trial
        if not asked or searched - rows or not (searched & rows or _is_on(unit)):
            continue
        reason = unit.idle_beside(units.family, units.learner, specs)
        if reason is not None:
            lines.append(f"{key} changes nothing: {reason}")
    return lines


def same_rules(units: Units) -> list[str]:
    """A learning rule that does beside these units what a simpler one does."""
    try:
        reason = units.learner.same_as(units.family, units.task)
    except Exception:  # noqa: BLE001 - a family of the user's may raise anything, and this is only advice
        return []
    return [] if reason is None else [reason]


def still_loops(units: Units) -> list[str]:
    """A loop that nothing sets going: its state stays 0, and no recurrent weight ever gets a gradient."""
    family, task = units.family, units.task
    # biases may begin at 0: they are trained; modReLU's shifts amplitudes, and 0 has none
    loop = [spec for spec in units.parameters if spec.name not in ("act_bias", "b_out")]
    going = any(spec.role in ("bias", "state") for spec in loop)
    if task.n_inputs or going or any(getattr(family, name, 0.0) for name in ("h0", "bias_scale")):
        return []
    return [f"family={family.unit_name} stands still at 0: task={task.unit_name} has no inputs, and it has no bias"]


def slow_loops(units: Units) -> list[str]:
    """What a family costs that no fused loop runs: nobody should take it for a sweep that hangs."""
    family = units.family
    return [f"family={family.unit_name}: {family.pace}"] if family.pace else []


def _is_on(unit: Controller) -> bool:
    # here and not above: whoever only reads configs should not wait for torch
    import torch

    # one row; float64, so that no tiny value rounds to "off"
    values = {field: torch.tensor([value], dtype=torch.float64) for field, value in unit.row_values().items()}
    return bool(unit.active(values).any())


def _word(value: Any) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
