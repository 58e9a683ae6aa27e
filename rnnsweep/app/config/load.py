"""From a sweep's name and the user's overrides to frozen data, checked before anything is written. Needs no torch.

The order: files and overrides are read (`adapters.hydra`), laid over each other (`variants`), turned into a space
(`searching`), checked (`checks`, then `unit_checks`, which builds the units at the corners of the space).
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.adapters.hydra.files import Choice, SweepFile, describe, read_sweep, read_yaml
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, split_overrides
from rnnsweep.adapters.hydra.search import BASE, ConfigPath, config_path, packaged_configs
from rnnsweep.app.config.blocks import ClusterConfig, StoreConfig, cluster_config, make_plan, store_config, worst_values
from rnnsweep.app.config.checks import UNIT_GROUPS, check_kind, check_plain
from rnnsweep.app.config.compose import Draft, draft, placed, unit_files
from rnnsweep.app.config.data_paths import place_config
from rnnsweep.app.config.point import Variant, lookup
from rnnsweep.app.config.space import build_space, to_plain
from rnnsweep.core.checkpoint_paths import sweep_folder
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import NAME, load_class
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.unit import Metric

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView

_LOOSE = ("sampler", "pruner", "cluster", "tracker")


@dataclass(frozen=True)
class SweepConfig:
    """Everything about a sweep, resolved and checked.

    Attributes:
        plan: what the sweep engine needs; ``plan.config`` is `resolved`.
        resolved: full config of the base point, plain data, searched keys at their defaults.
        variants: one per combination of searched groups; one with empty groups otherwise.
        store: where results go. cluster: what trains.
        tracker, sampler, pruner: blocks of the chosen units.
        source: the file that the sweep came from; empty for the base config alone.
        choices: unit chosen per group (the first one of searched groups).
        description: the file's first comment line.
        sweep: what names that file on a command line: its name, or its absolute path; empty for the base config.
        config_dirs: the user's config directories, absolute; they are needed to load it again.
    """

    plan: SweepPlan
    resolved: dict[str, Any]
    variants: tuple[Variant, ...]
    store: StoreConfig
    cluster: ClusterConfig
    tracker: dict[str, Any]
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    source: str
    choices: dict[str, Choice] = field(default_factory=dict)
    description: str = ""
    sweep: str = ""
    config_dirs: tuple[str, ...] = ()

    @property
    def checkpoints(self) -> str:
        """Root of the sweep's checkpoints, a directory or a URL."""
        return sweep_folder(self.store.checkpoints, self.plan.name)


def search_path(config_dirs: Sequence[Path] = ()) -> ConfigPath:
    """Config directories by precedence: those given, RNNSWEEP_CONFIG_DIR, ``./conf`` and ``./sweeps``, the packaged.

    Raises:
        ConfigError: a named directory does not exist.
    """
    named = [Path(folder) for folder in config_dirs]
    named += [Path(part) for part in os.environ.get("RNNSWEEP_CONFIG_DIR", "").split(os.pathsep) if part]
    return config_path(*packaged_configs(), named, Path.cwd())


def list_sweeps(config_dirs: Sequence[Path] = ()) -> list[tuple[str, Path, str]]:
    """Name, file and one-line description of every sweep, sorted by name."""
    return [(name, file, describe(file)) for name, file in sorted(search_path(config_dirs).sweep_files().items())]


def list_units(config_dirs: Sequence[Path] = ()) -> dict[str, list[str]]:
    """Names of all units by group (the folder's name), the user's included."""
    path = search_path(config_dirs)
    return {group: path.options(group) for group in sorted(path.groups())}


def unit_blocks(group: str, config_dirs: Sequence[Path] = ()) -> dict[str, Any]:
    """The blocks of a group's units as their yamls have them, by name."""
    path = search_path(config_dirs)
    files = {name: path.unit_file(group, name) for name in path.options(group)}
    return {name: read_yaml(file) for name, file in files.items() if file is not None}


def list_metrics(config_dirs: Sequence[Path] = ()) -> dict[str, Metric]:
    """Metrics of every sweep and of all units that there are, by key; units that cannot be loaded are left out."""
    from rnnsweep.core.metrics.names import METRICS

    allow_imports(_import_paths(search_path(config_dirs).user))
    known = dict(METRICS)
    for group in UNIT_GROUPS:
        for name, block in unit_blocks(group, config_dirs).items():
            with contextlib.suppress(ConfigError):
                known |= load_class(block.get("_target_"), f"{group}.{name}").metrics
    return known


def load(
    sweep: str | None,
    overrides: Sequence[str] = (),
    *,
    config_dirs: Sequence[Path] = (),
    store: Path | None = None,
    check_units: bool = True,
) -> SweepConfig:
    """Read, compose and check a sweep; nothing is written.

    Args:
        sweep: a name in the user's or the packaged ``sweeps/``, or a path to a yaml; None takes the base config.
        overrides: Hydra's grammar, ranges included.
        config_dirs: the user's directories, in order of precedence.
        store: root of the stores; wins over RNNSWEEP_STORE, which wins over the config.
        check_units: also build sampler, pruner and, at the corners of the space, all units (imports torch).

    Raises:
        ConfigError: anything wrong with the input; names file, key, value, what is allowed and the nearest name.
    """
    path = search_path(config_dirs)
    allow_imports(_import_paths(path.user))
    base = read_sweep(path.packaged / f"{BASE}.yaml", path)
    file = read_sweep(path.find_sweep(sweep), path) if sweep is not None else None
    plan = draft(path, base, file, split_overrides(overrides, path.groups()))
    origin = {
        **unit_files(plan, path),
        **plan.origin,
        **plan.variants[0][1].origin,
        **{f"space.{key}": item.source for key, item in plan.searched.items()},
    }
    source = str(file.path) if file else ""
    try:
        config = _assemble(plan, file, tuple(overrides), store)
        paths = tuple(dict.fromkeys([*_import_paths(path.user), *config.cluster.py_paths]))
        cluster = dataclasses.replace(config.cluster, py_paths=paths)
        config = dataclasses.replace(
            config,
            cluster=cluster,
            description=file.description if file else "",
            sweep="" if sweep is None else str(Path(sweep).resolve()) if Path(sweep).suffix else sweep,
            config_dirs=tuple(map(str, path.user)),
        )
        return _with_units(config) if check_units else config
    except ConfigError as error:
        raise placed(error, origin, source or COMMAND_LINE) from error.__cause__


def _with_units(config: SweepConfig) -> SweepConfig:
    """Build the units at the corners of the space, and take the task's chance level into the plan."""
    from rnnsweep.adapters.optuna.sampler import build_sampler
    from rnnsweep.app.config.unit_checks import check_objectives, check_units, worst_of  # needs torch

    check_units(config.variants, config.plan, functools.partial(unit_blocks, "family"))
    check_objectives(config.plan.objectives, config.variants)
    worst = worst_values(config.plan.budget.updates, worst_of(config.variants))
    plan = make_plan(config.resolved, config.plan.overrides, worst)
    build_sampler(plan, config.sampler, config.pruner)  # refuses what it cannot serve
    return dataclasses.replace(config, plan=plan)


def _import_paths(user: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(str(place) for folder in user for place in (folder, folder.parent)))


def allow_imports(places: Sequence[str]) -> None:
    """Let ``_target_`` find the user's modules; appended, so that they shadow nothing."""
    sys.path.extend(place for place in places if place not in sys.path)


def _assemble(plan: Draft, file: SweepFile | None, typed: tuple[str, ...], root: Path | None) -> SweepConfig:
    space = to_plain(build_space(plan))
    variants: list[Variant] = []
    for groups, composed in plan.variants:
        resolved = composed.resolved()
        resolved["space"] = space
        if resolved.get("name") is None:
            resolved["name"] = file.path.stem if file else "train"
        for key in composed.origin:
            loose = key.split(".")[0] in _LOOSE
            check_kind(key, lookup(resolved, key), composed.defaults[key] if loose else None)
        check_plain(lambda key, tree=resolved: lookup(tree, key))
        place_config(resolved)
        variants.append(Variant(groups, resolved))
    return build(variants, plan.groups, typed, str(file.path) if file else "", root)


def build(
    variants: Sequence[Variant], choices: Mapping[str, Choice], typed: tuple[str, ...], source: str, root: Path | None
) -> SweepConfig:
    """Frozen data from checked variants; the first one is the base point."""
    resolved = dict(variants[0].resolved)
    plain = ("enqueue", "prefetch", "warm_start")
    names = {group: choice for group, choice in choices.items() if isinstance(choice, str)}
    sampler = {key: value for key, value in resolved["sampler"].items() if key not in plain}
    return SweepConfig(
        plan=make_plan(resolved, typed, worst_values(resolved["budget"]["updates"])),
        resolved=resolved,
        variants=tuple(dataclasses.replace(v, names={**names, **v.groups}) for v in variants),
        store=store_config(resolved["store"], root),
        cluster=cluster_config(resolved["cluster"]),
        tracker=dict(resolved["tracker"]),
        sampler=sampler | {NAME: names.get("sampler", "")},
        pruner=resolved["pruner"] | {NAME: names.get("pruner", "")},
        source=source,
        choices=dict(choices),
    )


def to_json(config: SweepConfig) -> dict[str, Any]:
    """Plain data from which `from_json` rebuilds the config without any yaml (infinities stay floats)."""
    return {
        "version": 1,
        "variants": [{"groups": dict(v.groups), "resolved": dict(v.resolved)} for v in config.variants],
        "choices": config.choices,
        "overrides": list(config.plan.overrides),
        "worst": dict(config.plan.worst),
        "source": config.source,
        "description": config.description,
        "sweep": config.sweep,
        "config_dirs": list(config.config_dirs),
        "py_paths": list(config.cluster.py_paths),
    }


def from_json(data: Mapping[str, Any], store: Path | None = None) -> SweepConfig:
    """The config that `to_json` wrote; `store` is where its stores are now.

    Raises:
        ConfigError: written by another version of the format.
    """
    if data.get("version") != 1:
        raise ConfigError("stored config of another version", key="version", value=data.get("version"), allowed="1")
    variants = [Variant(item["groups"], _with_budget(item["resolved"], data)) for item in data["variants"]]
    config = build(variants, data["choices"], tuple(data["overrides"]), data["source"], store)
    allow_imports(data["py_paths"])
    return dataclasses.replace(
        config,
        plan=make_plan(config.resolved, config.plan.overrides, data["worst"]),
        cluster=dataclasses.replace(config.cluster, py_paths=tuple(data["py_paths"])),
        description=data["description"],
        sweep=data.get("sweep", data["source"]),  # ledgers of before have neither key
        config_dirs=tuple(data.get("config_dirs", ())),
    )


def _with_budget(resolved: Mapping[str, Any], data: Mapping[str, Any]) -> dict[str, Any]:
    """The config of a point with the budget that was asked for while the sweep ran."""
    return {**resolved, "budget": {**resolved["budget"], **data.get("budget", {})}}


def plan_of(view: SweepView) -> SweepPlan:
    """What a sweep of the store was asked to do, as its driver last wrote it."""
    return from_json(view.config).plan


def amend(config: SweepConfig, overrides: Sequence[str]) -> SweepConfig:
    """A stored config with another budget: all that `resume` may change.

    Raises:
        ConfigError: any other key, or a value out of range.
    """
    known = [f"budget.{key}" for key in config.resolved["budget"]]
    typed = split_overrides(overrides, ())
    for key in [*(key for key, _ in typed.values), *typed.searches, *typed.removed, *(typed.space or ())]:
        if key not in known:
            hint = nearest(key, known)
            raise ConfigError("cannot be changed on resume", key=key, allowed=known, hint=hint, file=COMMAND_LINE)
    budget = {**config.resolved["budget"], **{key.removeprefix("budget."): value for key, value in typed.values}}
    variants = tuple(dataclasses.replace(v, resolved={**v.resolved, "budget": budget}) for v in config.variants)
    resolved = dict(variants[0].resolved)
    try:
        check_plain(lambda key: lookup(resolved, key))
    except ConfigError as error:
        raise placed(error, {}, COMMAND_LINE) from error.__cause__
    worst = {**config.plan.worst, "solved_at": float(budget["updates"])}
    plan = make_plan(resolved, config.plan.overrides, worst)
    return dataclasses.replace(config, variants=variants, resolved=resolved, plan=plan)
