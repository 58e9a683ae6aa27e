"""What a user types to edit a sweep's space, checked against the sweep as it is: nothing is written here.

    optimizer.lr=tag(log,interval(0.001,1))   is searched from now on, or in another range      +key=... likewise
    ~optimizer.lr                             is searched no longer: it has the config's value
    optimizer.lr=0.1                          likewise, with this value
    budget.trials=100  pruner=median  pruner.warmup=2

What networks are made of was settled at the launch: a unit that the sweep was not composed with has no keys here.
"""

from __future__ import annotations

import dataclasses
import functools
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, split_overrides
from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.adapters.hydra.space_block import SearchedKey, group_dimension, specs
from rnnsweep.app.config.data_paths import place_dimension
from rnnsweep.app.config.load import SweepConfig, amend, search_path, unit_blocks
from rnnsweep.app.config.point import Variant, lookup
from rnnsweep.app.config.search_space import ALONE, SEARCHED
from rnnsweep.errors import ConfigError, nearest, with_source
from rnnsweep.loader import NAME, foreign_targets
from rnnsweep.sweep.edits import Edit, edited
from rnnsweep.sweep.schedulers.base import build_scheduler
from rnnsweep.sweep.space import Dimension, Space, fixed

_ABSENT = object()
_ALLOWED = "KEY=RANGE, ~KEY, KEY=VALUE of a searched key, budget.*, pruner=NAME, pruner.*"


@dataclass
class _Wishes:
    """What was typed, by meaning: later words win.

    Attributes:
        put: key -> its range, as parsed.
        drop: key -> its value from now on; `_ABSENT`: that of the config.
        limits: of the budget, by name. pruner: its name, if one was typed; `settings`: its keys.
    """

    put: dict[str, Any] = field(default_factory=dict[str, Any])
    drop: dict[str, Any] = field(default_factory=dict[str, Any])
    limits: dict[str, Any] = field(default_factory=dict[str, Any])
    pruner: str | None = None
    settings: dict[str, Any] = field(default_factory=dict[str, Any])


def edit_of(config: SweepConfig, texts: Sequence[str], by: str = "") -> Edit:
    """The edit that some overrides mean.

    Args:
        config: the sweep's, as it is.
        texts: as typed.
        by: who wants it.

    Raises:
        ConfigError: bad grammar, nothing to do, a key that the sweep's networks do not have or that cannot be searched,
            a range or value that a unit refuses, a limit below what it was, a space that the sampler cannot serve.
    """
    try:
        wishes = _wishes(config, texts)
        put = tuple(_dimension(config, key, spec) for key, spec in wishes.put.items())
        edit = Edit(
            id=uuid.uuid4().hex,
            typed=tuple(texts),
            by=by,
            at=time.time(),
            put=put,
            drop=tuple(wishes.drop),
            pins=tuple(pin for key, value in wishes.drop.items() for pin in _pins(config, key, value)),
            defaults=tuple(default for one in put for default in _configured(config.variants, one.key)),
            limits=_limits(config, wishes.limits),
            pruner=_pruner(config, wishes),
        )
        return _checked(config, edit)
    except ConfigError as error:
        raise with_source(error, {}, COMMAND_LINE) from error.__cause__


# ------------------------------------------------------------------ what was typed


def _wishes(config: SweepConfig, texts: Sequence[str]) -> _Wishes:
    if not texts:
        raise ConfigError("says nothing", key="OVERRIDES", allowed=_ALLOWED)
    typed = split_overrides([as_space(text) for text in texts], search_path().groups())
    wishes = _Wishes()
    for name in (*typed.added, *typed.removed):
        raise _refused(config, f"controllers.{name}")
    searches: dict[str, Any] = {}
    if typed.space is not None:
        searches.update(dict.fromkeys(config.plan.space.keys))
        searches.update(specs(typed.space, COMMAND_LINE))
    for key, spec in {**searches, **typed.searches}.items():
        if spec is None:
            _drop(config, wishes, key, _ABSENT)
        else:
            wishes.put[key] = spec
    for key, value in {**typed.groups, **dict(typed.values)}.items():
        _take_value(config, wishes, key, value)
    return wishes


def as_space(text: str) -> str:
    """``~KEY`` takes a key out of the space here, wherever it stands."""
    return f"~space.{text[1:]}" if text.startswith("~") and not text.startswith("~space.") else text


def _take_value(config: SweepConfig, wishes: _Wishes, key: str, value: Any) -> None:
    group, _, name = key.partition(".")
    if group == "budget" and name:
        wishes.limits[name] = value
    elif key == "pruner":
        wishes.pruner = str(value)
    elif group == "pruner":
        wishes.settings[name] = value
    else:
        _drop(config, wishes, key, value)


def _drop(config: SweepConfig, wishes: _Wishes, key: str, value: Any) -> None:
    version = config.plan.version
    pinned = [pin.key for pin in version.pins]
    if key not in version.space.keys and not (value is not _ABSENT and key in pinned):
        raise _refused(config, key, "is not searched")
    wishes.drop[key] = value


def _refused(config: SweepConfig, key: str, problem: str = "cannot be changed while the sweep lives") -> ConfigError:
    known = [*config.plan.space.keys, *_leaves(config.variants[0].resolved)]
    hint = nearest(key, known)
    teacher = f"A new sweep may learn from this one: sampler.warm_start={config.plan.name}."
    return ConfigError(problem, key=key, allowed=_ALLOWED, hint=teacher if hint in (None, key) else hint)


# ------------------------------------------------------------------ dimensions


def _dimension(config: SweepConfig, key: str, spec: Any) -> Dimension:
    if spec == "default":
        raise ConfigError("takes its range in words here", key=f"space.{key}", value=spec, allowed="interval(a,b), ...")
    if key in config.choices:
        return _group(config, key, spec)
    having = [variant for variant in config.variants if lookup(variant.resolved, key, _ABSENT) is not _ABSENT]
    group = key.partition(".")[0]
    if not having:
        raise _refused(config, key, "is no key of what the sweep trains")
    if config.plan.stages and key in config.plan.stages[0].values:
        raise _refused(config, key, "changes while trials train (fidelity)")
    if (group not in SEARCHED and key not in ALONE) or isinstance(lookup(having[0].resolved, key), Mapping):
        allowed = f"a value below {', '.join(SEARCHED)}; training.batch"
        raise ConfigError("cannot be searched", key=f"space.{key}", allowed=allowed)
    found = place_dimension(dimension(key, spec, COMMAND_LINE))
    strange = [name for name in found.when if name not in config.plan.space.keys or name == key]
    if strange:
        raise ConfigError("is a condition on what is not searched", key=f"space.{key}.when.{strange[0]}")
    return dataclasses.replace(found, when={**_beside(config.variants, having, group), **found.when})


def _beside(variants: Sequence[Variant], having: Sequence[Variant], group: str) -> dict[str, tuple[Any, ...]]:
    """The condition under which a key exists that only some variants have."""
    if len(having) == len(variants):
        return {}
    return {group: tuple(dict.fromkeys(variant.groups[group] for variant in having))}


def _group(config: SweepConfig, key: str, spec: Any) -> Dimension:
    found = group_dimension(key, SearchedKey(spec, COMMAND_LINE))
    known = tuple(dict.fromkeys(variant.groups[key] for variant in config.variants if key in variant.groups))
    for choice in found.choices:
        if choice not in known:
            hint = (
                f"Another unit is another sweep, which may learn from this one: sampler.warm_start={config.plan.name}."
            )
            allowed = known or f"{config.choices[key]}, with which it was launched"
            raise ConfigError("was not composed for this unit", key=key, value=choice, allowed=allowed, hint=hint)
    return found


def _pins(config: SweepConfig, key: str, value: Any) -> tuple[Dimension, ...]:
    if value is _ABSENT:
        return tuple(_configured(config.variants, key))
    known = next((one for one in config.plan.space if one.key == key), None)
    return (fixed(key, value, known.when if known is not None else None),)


def _configured(variants: Sequence[Variant], key: str) -> Iterator[Dimension]:
    """A key's value where no trial names one, for each combination of units that has the key."""
    if key in variants[0].groups:
        yield fixed(key, variants[0].groups[key])
        return
    values = [(variant, lookup(variant.resolved, key, _ABSENT)) for variant in variants]
    having = [(variant, value) for variant, value in values if value is not _ABSENT]
    if len({repr(value) for _, value in values}) == 1 and having:
        yield fixed(key, having[0][1])
        return
    for variant, value in having:
        yield fixed(key, value, {group: (name,) for group, name in variant.groups.items()})


# ------------------------------------------------------------------ budget and pruner


def _limits(config: SweepConfig, limits: Mapping[str, Any]) -> dict[str, Any]:
    if not limits:
        return {}
    from rnnsweep.sweep.budget import change

    change(config.plan.budget, limits)  # says which limits can change now
    raised = amend(config, [f"budget.{name}={_word(value)}" for name, value in limits.items()])
    return {name: getattr(raised.plan.budget, name) for name in limits}


def _word(value: Any) -> str:
    """A limit as it is typed, with all its digits."""
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _pruner(config: SweepConfig, wishes: _Wishes) -> dict[str, Any] | None:
    if wishes.pruner is None and not wishes.settings:
        return None
    block = dict(config.pruner)
    if wishes.pruner is not None:
        blocks = unit_blocks("pruner", ())
        if wishes.pruner not in blocks:
            hint = nearest(wishes.pruner, blocks)
            raise ConfigError("unknown unit", key="pruner", value=wishes.pruner, allowed=sorted(blocks), hint=hint)
        block = {key: value for key, value in blocks[wishes.pruner].items() if key != "_search_"}
        block[NAME] = wishes.pruner
    known = [key for key in block if key not in ("_target_", NAME)]
    for name, value in wishes.settings.items():
        if name not in known:
            hint = nearest(name, known)
            raise ConfigError("unknown key", key=f"pruner.{name}", allowed=known or "none", hint=hint)
        block[name] = value
    if foreign_targets(block):
        raise ConfigError(
            "is not ours: a running driver imports no code of users anew", key="pruner", value=block[NAME]
        )
    return block


# ------------------------------------------------------------------ checks


def _checked(config: SweepConfig, edit: Edit) -> Edit:
    """The edit with whole numbers where units want them; units, sampler and pruner are built to check themselves."""
    from rnnsweep.adapters.optuna.sampler import build_sampler
    from rnnsweep.app.config import unit_checks  # needs torch

    plan = edited(config.plan, edit, first=0)
    if edit.searches:
        searched = [one.key for one in plan.space]
        pinned = Space((*plan.space, *plan.version.pins))
        facts = unit_checks.check_units(config.variants, pinned, functools.partial(unit_blocks, "family"))
        whole = tuple(facts.space)
        by_key = dict(zip(searched, whole, strict=False))
        pins = {repr(old): new for old, new in zip(plan.version.pins, whole[len(searched) :], strict=True)}
        edit = dataclasses.replace(
            edit,
            put=tuple(dataclasses.replace(by_key.get(one.key, one), when=one.when) for one in edit.put),
            pins=tuple(pins.get(repr(pin), pin) for pin in edit.pins),
        )
        plan = edited(config.plan, edit, first=0)
    pruner = config.pruner if edit.pruner is None else edit.pruner
    if config.plan.stages and pruner[NAME] != "none":
        raise ConfigError(
            "would compare values of different fidelity", key="pruner", value=pruner[NAME], allowed="none"
        )
    build_sampler(plan, config.sampler, pruner)
    build_scheduler(plan, config.scheduler, pruner)
    return edit


def _leaves(tree: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for name, value in tree.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(value, Mapping):
            yield from _leaves(value, key)
        else:
            yield key
