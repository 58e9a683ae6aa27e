"""Which searched keys can change while a trial trains, and which set trials apart. Needs torch.

A trial that takes over another one's state goes on in the same tensor program: only values that are rows' own, and that
act at every update, may be others from there on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rnnsweep.app.config.point import Variant, resolve_point
from rnnsweep.core.build import Units, build_units, row_hypers, shape_key
from rnnsweep.core.families.base import RATES
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import load_class
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.moves import grid_of
from rnnsweep.sweep.schedulers.population import PopulationUnit, interval_of
from rnnsweep.sweep.space import Dimension, Space


def settle_population(variants: Sequence[Variant], space: Space, units: Sequence[Units], plan: SweepPlan) -> None:
    """Write into the configs what a population's scheduler leaves open: its keys, its size, its generations.

    A sweep keeps them so whatever becomes of its budget, and a resume need not build units to know them.

    Args:
        variants: one per combination of searched groups; their `resolved` change.
        space: what is searched. units: of the variants' base points. plan: of the sweep.

    Raises:
        ConfigError: a key that cannot change, or no key that can; one that sets every trial apart.
    """
    block = variants[0].resolved.get("scheduler") or {}
    if not issubclass(load_class(block.get("_target_"), "scheduler"), PopulationUnit):
        return
    why = {dimension.key: fixed_because(dimension, variants, space, units) for dimension in space}
    free = [key for key, reason in why.items() if reason is None]
    keys = _wanted_keys(block.get("keys"), why, free)
    apart = [dimension.key for dimension in space if _sets_apart(dimension, variants, units)]
    for dimension in (one for one in space if one.key in apart):
        if grid_of(dimension) is None:
            problem = "sets every trial apart: states go only between trials that have the same value"
            allowed = "a choice, a stepped range, or a range that keeps to one program (rates: above 0)"
            raise ConfigError(problem, key=f"space.{dimension.key}", value=dimension.words(), allowed=allowed)
    found = {"keys": keys, "apart": apart, "interval": interval_of(plan, block.get("interval"))}
    if block.get("members") is None:
        found["members"] = plan.budget.trials
    for variant in variants:
        variant.resolved["scheduler"] = {**variant.resolved["scheduler"], **found}


def _wanted_keys(given: Any, why: Mapping[str, str | None], free: Sequence[str]) -> list[str]:
    key = "scheduler.keys"
    if given is None:
        if not free:
            reasons = "; ".join(f"{name} {reason}" for name, reason in why.items()) or "nothing is searched"
            problem = f"no searched key can change while trials train: {reasons}"
            raise ConfigError(problem, key="space", allowed="a range of optimizer.lr, say")
        return list(free)
    if not isinstance(given, Sequence) or isinstance(given, str) or not given:
        raise ConfigError("is no list of searched keys", key=key, value=given, allowed=free or "none")
    for name in given:
        if name not in why:
            raise ConfigError("is not searched", key=key, value=name, allowed=free, hint=nearest(str(name), free))
        if why[name] is not None:
            raise ConfigError(f"cannot change while a trial trains: it {why[name]}", key=key, value=name, allowed=free)
    return list(given)


def fixed_because(
    dimension: Dimension, variants: Sequence[Variant], space: Space, units: Sequence[Units]
) -> str | None:
    """Why a searched key cannot change while a trial trains; None where it can."""
    key = dimension.key
    if key.partition(".")[0] == "init":
        return "acts on first weights only"
    if any(key in other.when for other in space):
        return "decides whether other keys exist"
    if _sets_apart(dimension, variants, units):
        return "is part of the program's shape"
    if any(_acts_once(key, each) for each in units if key in row_hypers(each)):
        return "acts on first weights, or says what the network is"
    return None


def _acts_once(key: str, units: Units) -> bool:
    """Of a family's own numbers only rates of what is random, and constants of its loop, act at every update anew."""
    group, _, name = key.partition(".")
    last = name.rpartition(".")[2]
    constants = {name for part in units.family.parts for name in getattr(part, "constants", ())}
    return group == "family" and last not in (*RATES, *constants)


def _sets_apart(dimension: Dimension, variants: Sequence[Variant], units: Sequence[Units]) -> bool:
    """Whether two values of a key are two programs."""
    key = dimension.key
    if key in variants[0].groups or dimension.key == "training.batch":
        return True
    if key.partition(".")[0] == "init":
        return False
    for variant, each in zip(variants, units, strict=True):
        if key in row_hypers(each):
            shapes = {_shape(variant, key, value) for value in _values(dimension)}
            if len(shapes) > 1:
                return True
        elif _exists(dimension, variant):
            return True
    return False


def _exists(dimension: Dimension, variant: Variant) -> bool:
    return all(variant.groups.get(key, values[0]) in values for key, values in dimension.when.items())


def _values(dimension: Dimension) -> Sequence[Any]:
    return dimension.choices if dimension.kind == "categorical" else (dimension.low, dimension.high)


def _shape(variant: Variant, key: str, value: Any) -> str:
    config = resolve_point([variant], {**variant.groups, key: value})
    return shape_key(config, build_units(config))
