"""Lay sweep file and overrides over the composed units; one variant per combination of searched families."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rnnsweep.adapters.hydra.compose import Composed, compose
from rnnsweep.adapters.hydra.files import Choice, SweepFile
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, Overrides
from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.adapters.hydra.search import ConfigPath
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.space import Dimension

SEARCHED_GROUPS = ("task", "family", "readout", "init", "learner", "optimizer")
_RANGE_WORDS = ("low", "high", "choices", "search")


@dataclass(frozen=True)
class Searched:
    """What is searched under one key, as written, and where it was written."""

    spec: Any
    source: str


@dataclass
class Draft:
    """A sweep between reading and checking.

    Attributes:
        groups: unit chosen per family (searched families hold their first choice).
        searched: dotted key or family -> what was written.
        families: dimensions of searched families.
        variants: (choices of the searched families, config).
        origin: family -> file or "command line" that chose the unit.
        replaced: dotted prefixes of units that a sweep file uses but the command line replaced: what the file says
            about them is dropped where the new unit does not have it.
        controllers: names of all controllers that could be added.
    """

    groups: dict[str, Choice]
    searched: dict[str, Searched]
    origin: dict[str, str] = field(default_factory=dict)
    replaced: tuple[str, ...] = ()
    controllers: tuple[str, ...] = ()
    families: list[Dimension] = field(default_factory=list)
    variants: list[tuple[dict[str, str], Composed]] = field(default_factory=list)


def draft(path: ConfigPath, base: SweepFile, sweep: SweepFile | None, typed: Overrides) -> Draft:
    """Compose all variants and lay values over them: the sweep's files first, then what was typed.

    Raises:
        ConfigError: unknown unit or key, with the nearest name.
    """
    files = [*(sweep.bodies if sweep else ())]
    written = {**base.groups, **(sweep.groups if sweep else {})}
    plan = Draft(_choose(written, typed), _searched(files, typed))
    plan.origin = dict.fromkeys(plan.groups, str(sweep.path if sweep else base.path)) | dict.fromkeys(
        typed.groups, COMMAND_LINE
    )
    plan.replaced = _replaced(written, plan.groups)
    plan.controllers = tuple(path.options("controllers"))
    for key in [key for key in plan.searched if key in plan.groups]:
        if key in typed.groups and key not in typed.searches:
            del plan.searched[key]
        else:
            plan.families.append(_family(key, plan.searched[key]))
            plan.origin[key] = plan.searched[key].source
    ((_, plain),) = base.bodies
    layers = [*files, *((COMMAND_LINE, _nest(key, value)) for key, value in typed.values)]
    for choices in itertools.product(*(dim.choices for dim in plan.families)):
        combination = {dim.key: str(choice) for dim, choice in zip(plan.families, choices, strict=True)}
        try:
            plan.variants.append((combination, compose(plain, {**plan.groups, **combination}, path.units)))
        except ConfigError as error:
            raise placed(error, plan.origin, "") from error.__cause__
    _lay(plan, layers)
    if plan.variants:
        plan.groups.update(plan.variants[0][0])
    return plan


def _choose(written: Mapping[str, Choice], typed: Overrides) -> dict[str, Choice]:
    groups = {**written, **typed.groups}
    chosen = groups.get("controllers") or []
    listed = [chosen] if isinstance(chosen, str) else list(chosen)
    for name in typed.removed:
        if name not in listed:
            hint = nearest(name, listed)
            raise ConfigError("is not in use", key=f"~controllers.{name}", allowed=listed, hint=hint, file=COMMAND_LINE)
    names = [name for name in (*listed, *typed.added) if name not in typed.removed]
    groups["controllers"] = list(dict.fromkeys(names))
    for group, choice in groups.items():
        if choice is None:
            raise ConfigError("names no unit", key=group, value="null", allowed=f"{group}=NAME")
    return groups


def _replaced(written: Mapping[str, Choice], chosen: Mapping[str, Choice]) -> tuple[str, ...]:
    listed = chosen["controllers"] or ()
    gone = [f"controllers.{name}." for name in written.get("controllers") or () if name not in listed]
    others = [group for group, choice in written.items() if group != "controllers" and chosen[group] != choice]
    return (*gone, *(f"{group}." for group in others))


def _searched(files: list[tuple[str, Mapping[str, Any]]], typed: Overrides) -> dict[str, Searched]:
    found: dict[str, Searched] = {}
    for source, body in files:
        found.update({key: Searched(spec, source) for key, spec in _specs(body.get("space"), source)})
    if typed.space is not None:
        found = {key: Searched(spec, COMMAND_LINE) for key, spec in _specs(typed.space, COMMAND_LINE)}
    fixed = {leaf for key, value in typed.values for leaf in _leaves(key, value)}
    found = {key: item for key, item in found.items() if key not in fixed}
    found.update({key: Searched(spec, COMMAND_LINE) for key, spec in typed.searches.items()})
    return {key: item for key, item in found.items() if item.spec is not None}


def _specs(block: Any, source: str, above: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and range of a space block, which may be nested or use dotted keys."""
    if block is None:
        return
    if not isinstance(block, Mapping):
        allowed = "a mapping of dotted keys to ranges"
        raise ConfigError(
            "is no search space", key=f"space{above and '.'}{above}", value=block, allowed=allowed, file=source
        )
    for name, spec in block.items():
        key = f"{above}.{name}" if above else str(name)
        if isinstance(spec, Mapping) and not any(word in spec for word in _RANGE_WORDS):
            yield from _specs(spec, source, key)
        else:
            yield key, spec


def _family(key: str, searched: Searched) -> Dimension:
    if key not in SEARCHED_GROUPS:
        allowed = ", ".join(SEARCHED_GROUPS)
        raise ConfigError("cannot be searched", key=f"space.{key}", allowed=allowed, file=searched.source)
    found = dimension(key, searched.spec, searched.source)
    if found.kind != "categorical" or not all(isinstance(choice, str) for choice in found.choices):
        allowed = f"{key}=choice(a,b)"
        raise ConfigError("is no choice of units", key=f"space.{key}", allowed=allowed, file=searched.source)
    return found


def _nest(key: str, value: Any) -> dict[str, Any]:
    for part in reversed(key.split(".")):
        value = {part: value}
    return value


def _leaves(key: str, value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _leaves(f"{key}.{name}", item)
    else:
        yield key


def _lay(plan: Draft, layers: list[tuple[str, Mapping[str, Any]]]) -> None:
    for source, body in layers:
        for name, value in body.items():
            if name == "space":
                continue
            missing = [composed.put(str(name), value, source) for _, composed in plan.variants]
            nowhere = set(missing[0]).intersection(*missing[1:])
            for key in missing[0]:
                if key in nowhere and (source == COMMAND_LINE or not f"{key}.".startswith(plan.replaced)):
                    raise unknown_key(plan, key, source)


def unknown_key(plan: Draft, key: str, source: str, prefix: str = "") -> ConfigError:
    """The error for a key that no variant has: with the nearest one, or the controller to add."""
    known = sorted({name for _, composed in plan.variants for name in composed.paths() if "_target_" not in name})
    parts = key.split(".")
    if parts[0] == "controllers" and len(parts) > 1 and f"controllers.{parts[1]}" not in known:
        used = sorted({name.split(".")[1] for name in known if name.startswith("controllers.")})
        near = nearest(parts[1], used)
        hint = f"Is +controllers={parts[1]} missing?" if parts[1] in plan.controllers else near
        return ConfigError("this sweep has no such controller", key=prefix + key, allowed=used, hint=hint, file=source)
    while len(parts) > 1 and ".".join(parts[:-1]) not in known:
        parts.pop()  # the part that is wrong
    parent = ".".join(parts[:-1])
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    found = nearest(".".join(parts), siblings) or nearest(key, known)
    allowed = [name.rpartition(".")[2] for name in siblings]
    return ConfigError("unknown key", key=prefix + key, allowed=allowed, hint=found, file=source)


def placed(error: ConfigError, origin: Mapping[str, str], otherwise: str) -> ConfigError:
    """The same error with the file that its key was set in, or else `otherwise`."""
    if error.file:
        return error
    parts = (error.key or "").split(".")
    keys = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    where = next((origin[key] for key in keys if key in origin), otherwise or None)
    return ConfigError(
        error.problem, key=error.key, value=error.value, allowed=error.allowed, hint=error.hint, file=where
    )


def unit_files(plan: Draft, path: ConfigPath) -> dict[str, str]:
    """Dotted key -> the unit file that sets it, unless something laid over it does."""
    found: dict[str, str] = {}
    tree = plan.variants[0][1].tree
    for group, choice in plan.groups.items():
        for name in choice if isinstance(choice, list) else tree.get(group, {}):
            file = path.unit_file(group, name if isinstance(choice, list) else str(choice))
            found[f"{group}.{name}"] = str(file)
    return found
