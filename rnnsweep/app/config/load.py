"""From a sweep's name and the user's overrides to frozen data, checked before anything is written.

    files, overrides ─► composition (`adapters.hydra`) ─► search space (`space`) ─► resolved configs, one per variant
                     ─► checks of values (`checks`) and units (`unit_checks`: needs torch) ─► plan (`blocks`)

Each step is taken once. What the ledger keeps of it is `to_json`, and `from_json` reads it again without any yaml.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import stat
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.adapters.hydra.compose import Composition, base_keys, compose_sweep, unit_files
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, split_overrides
from rnnsweep.adapters.hydra.search import BASE, ConfigPath, config_path, packaged_configs
from rnnsweep.adapters.hydra.yaml_files import Choice, describe, read_sweep, read_yaml
from rnnsweep.app.config.blocks import ClusterConfig, StoreConfig, cluster_config, make_plan, store_config, worst_values
from rnnsweep.app.config.checks import SAMPLER_PLAIN, UNIT_GROUPS, check_values, fit_rungs
from rnnsweep.app.config.data_paths import place_config
from rnnsweep.app.config.edited import as_driven, edited_fields
from rnnsweep.app.config.idle import idle_scheduler, idle_settings, idle_units, slow_loops
from rnnsweep.app.config.notify import kept_notify
from rnnsweep.app.config.point import Variant
from rnnsweep.app.config.search_space import build_space, from_plain, to_plain
from rnnsweep.app.config.store_urls import kept, readable, refuse_secrets, without_typed_secrets
from rnnsweep.app.config.trackers import tracker_blocks
from rnnsweep.app.config.unread import unread_lines
from rnnsweep.core.checkpoint_paths import sweep_folder
from rnnsweep.core.metrics import score_names
from rnnsweep.errors import ConfigError, ConfigWarning, nearest, printable, with_source
from rnnsweep.loader import NAME, load_class
from rnnsweep.sweep.budget import check_raised
from rnnsweep.sweep.edits import KEY, Entry, entries_of, with_entries
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import NO_SCHEDULER, build_scheduler
from rnnsweep.sweep.space import Space
from rnnsweep.unit import Metric

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import SweepView


@dataclass(frozen=True)
class SweepConfig:
    """Everything about a sweep, resolved and checked.

    Attributes:
        plan: what the sweep engine needs; ``plan.config`` is `resolved`.
        resolved: full config of the base point, plain data, searched keys at their defaults; it holds no password.
        variants: one per combination of searched groups; one with empty groups otherwise.
        store: where results go, the only place with passwords. cluster: what trains.
        trackers: kind -> block of each tracker that writes something.
        edits: what was changed of the space while the sweep lived; `plan` has it, `resolved` is as launched.
        notify: who is told of what happens, the addresses as they are kept (`notify.address` finds them).
        sampler, pruner, scheduler: blocks of the chosen units.
        source: the file that the sweep came from; empty for the base config alone.
        choices: unit chosen per group (the first one of searched groups).
        description: the file's first comment line.
        sweep: what names that file on a command line: its name, or its absolute path; empty for the base config.
        config_dirs: the user's config directories, absolute; they are needed to load it again.
        notes: what whoever waits for its training should know before, a line each; units say it when they are checked.
    """

    plan: SweepPlan
    resolved: dict[str, Any]
    variants: tuple[Variant, ...]
    store: StoreConfig
    cluster: ClusterConfig
    trackers: dict[str, dict[str, Any]]
    sampler: dict[str, Any]
    pruner: dict[str, Any]
    scheduler: dict[str, Any]
    source: str
    choices: dict[str, Choice] = field(default_factory=dict)
    description: str = ""
    sweep: str = ""
    config_dirs: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    notify: tuple[Mapping[str, Any], ...] = ()
    edits: tuple[Entry, ...] = ()

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


def refuse_ranges(overrides: Sequence[str], config_dirs: Sequence[Path] = ()) -> None:
    """Refuse search ranges among the overrides of one training: it has one value for each key.

    Raises:
        ConfigError: one is a range, or a space; the key is the first one's.
    """
    typed = split_overrides(overrides, search_path(config_dirs).groups())
    ranges = [key for key, searched in typed.searches.items() if searched is not None]  # None: no longer searched
    for key in (*ranges, *(f"space.{key}" for key in typed.space or ())):
        hint = "A decimal has a point, no comma; ranges are searched by 'rnnsweep launch'."
        raise ConfigError("is a range, but one network takes one value", key=key, hint=hint, file=COMMAND_LINE)


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
            # a broken unit of the user's must not keep a list of metrics from being shown
            with contextlib.suppress(ConfigError):
                known |= load_class(block.get("_target_"), f"{group}.{name}").declares(block)
    return known


def load(
    sweep: str | None,
    overrides: Sequence[str] = (),
    *,
    config_dirs: Sequence[Path] = (),
    store: Path | None = None,
    check_units: bool = True,
) -> SweepConfig:
    """Read, compose and check a sweep; nothing is written. A `ConfigWarning` says what is allowed but does nothing.

    Args:
        sweep: a name in the user's or the packaged ``sweeps/``, or a path to a yaml; None takes the base config.
        overrides: Hydra's grammar, ranges included.
        config_dirs: the user's directories, in order of precedence.
        store: root of the stores; wins over RNNSWEEP_STORE, which wins over the config.
        check_units: also build sampler, pruner, scheduler and, at the corners of the space, all units (imports torch).

    Raises:
        ConfigError: anything wrong with the input; names file, key, value, what is allowed and the nearest name.
    """
    path = search_path(config_dirs)
    allow_imports(_import_paths(path.user))
    base = read_sweep(path.packaged / f"{BASE}.yaml", path)
    file = read_sweep(path.find_sweep(sweep), path) if sweep is not None else None
    composition = compose_sweep(path, base, file, split_overrides(overrides, path.groups()))
    source = str(file.path) if file else ""
    try:
        space = build_space(composition)
        refuse_secrets({"space": to_plain(space)})
        variants, urls = _variants(composition, file.path.stem if file else "train", path)
        if check_units:
            config = _checked(variants, composition, space, store, urls)
        else:
            config = _assemble(variants, composition.choices, space, store, urls=urls)
    except ConfigError as error:
        # checks know keys, not files: here errors learn where keys were written; `__cause__` hides this re-raise alone
        raise with_source(error, _origin(composition, path, error), source or COMMAND_LINE) from error.__cause__
    paths = tuple(dict.fromkeys([*_import_paths(path.user), *config.cluster.py_paths]))
    return dataclasses.replace(
        config,
        plan=dataclasses.replace(config.plan, overrides=without_typed_secrets(overrides)),
        cluster=dataclasses.replace(config.cluster, py_paths=paths),
        source=source,
        description=file.description if file else "",
        sweep="" if sweep is None else str(Path(sweep).resolve()) if Path(sweep).suffix else sweep,
        config_dirs=tuple(map(str, path.user)),
    )


def _variants(composition: Composition, name: str, path: ConfigPath) -> tuple[list[Variant], dict[str, Any]]:
    """The resolved config of every combination of searched groups, its plain values checked; and the stores' URLs."""
    variants: list[Variant] = []
    urls: dict[str, Any] = {}
    for index, (groups, tree) in enumerate(composition.variants):
        resolved = tree.resolved()
        if resolved.get("name") is None:
            resolved["name"] = name
        resolved["scorers"] = _scorers(resolved["scorers"], path)
        fit_rungs(resolved, functools.partial(composition.rank, index))
        # before `place_config`, which relies on the types
        check_values(resolved)
        place_config(resolved)
        urls = resolved["store"]
        resolved["store"] = kept(urls, tree.get("store"))
        resolved["notify"] = kept_notify(resolved["notify"], tree.get("notify"))
        refuse_secrets(resolved)
        variants.append(Variant(groups, resolved, _names(composition.choices) | groups))
    return variants, urls


def _scorers(names: Any, path: ConfigPath) -> dict[str, Any]:
    """Blocks of the scorers of some names.

    Raises:
        ConfigError: no list of names, or a name without a yaml.
    """
    known = path.options(score_names.GROUP)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ConfigError("is no list of names", key="scorers", value=names, allowed=known)
    for name in names:
        if name not in known:
            raise ConfigError("unknown scorer", key="scorers", value=name, allowed=known, hint=nearest(name, known))
    files = {name: path.unit_file(score_names.GROUP, name) for name in names}
    return {name: read_yaml(file) for name, file in files.items() if file is not None}


def _names(choices: Mapping[str, Choice]) -> dict[str, str]:
    """Name of the unit of every group that takes one."""
    return {group: choice for group, choice in choices.items() if isinstance(choice, str)}


def _checked(
    variants: Sequence[Variant], composition: Composition, space: Space, root: Path | None, urls: Mapping[str, Any]
) -> SweepConfig:
    """The config, units, sampler, pruner and scheduler built once to check themselves; tells what does nothing."""
    from rnnsweep.adapters.optuna.sampler import build_sampler
    from rnnsweep.app.config import fidelity_keys, population_keys, score_checks, unit_checks  # need torch

    # units first: they say which values are whole numbers and what a diverged replica scores, as the plan needs it
    facts = unit_checks.check_units(variants, space, functools.partial(unit_blocks, "family"))
    config = _assemble(variants, composition.choices, facts.space, root, facts.worst, urls=urls)
    population_keys.settle_population(variants, facts.space, facts.units, config.plan)
    config = _assemble(variants, composition.choices, facts.space, root, facts.worst, urls=urls)
    scheduler = build_scheduler(config.plan, config.scheduler, config.pruner)
    idle = fidelity_keys.settle_fidelity(variants, facts, config.plan, scheduler, config.pruner)
    config = _assemble(variants, composition.choices, facts.space, root, facts.worst, urls=urls)
    score_checks.check_scorers(config.variants, facts.units)
    unit_checks.check_objectives(config.plan.objectives, config.variants)
    unit_checks.check_engine(config.resolved)
    unit_checks.check_points(variants, config.plan.enqueue)
    build_sampler(config.plan, config.sampler, config.pruner)  # refuses what it cannot serve
    written = composition.written
    idle += idle_settings(config.plan, config.choices, written) if composition.from_file else []
    idle += idle_scheduler(scheduler, config.plan, written)
    idle += idle_units(facts.units, facts.space, written)
    said = {line.split(" ", 1)[0] for line in idle}
    idle += [line for line in unread_lines(facts.units, facts.space, written) if line.split(" ", 1)[0] not in said]
    for line in dict.fromkeys((*composition.idle, *idle)):
        warnings.warn(line, ConfigWarning, stacklevel=3)
    slow = (line for units in facts.units for line in slow_loops(units))
    return dataclasses.replace(config, notes=tuple(dict.fromkeys(slow)))


def _assemble(
    variants: Sequence[Variant],
    choices: Mapping[str, Choice],
    space: Space,
    root: Path | None,
    worst: Mapping[str, float] | None = None,
    *,
    urls: Mapping[str, Any],
) -> SweepConfig:
    """Frozen data from checked variants, the first of which is the base point.

    Args:
        variants: in the order of the searched groups' choices.
        choices: unit chosen per group.
        space: what is searched.
        root: see `load`.
        worst: what a diverged replica scores; None: as far as it is known without building units.
        urls: the ``store`` block with its passwords, which the variants' have not.
    """
    for variant in variants:
        # with the space as the units settled it, so that a resume needs no yaml
        variant.resolved["space"] = to_plain(space)
    resolved, names = variants[0].resolved, _names(choices)
    # what is left is the unit's own block, which its class takes as keywords
    sampler = {key: value for key, value in resolved["sampler"].items() if key not in SAMPLER_PLAIN}
    return SweepConfig(
        plan=make_plan(resolved, worst or worst_values(resolved["budget"]["updates"])),
        resolved=dict(resolved),
        variants=tuple(variants),
        store=store_config(urls, root),
        cluster=cluster_config(resolved["cluster"]),
        trackers=tracker_blocks(resolved["tracker"]),
        notify=tuple(resolved.get("notify", ())),  # ledgers of before have none
        sampler=sampler | {NAME: names.get("sampler", "")},
        pruner=resolved["pruner"] | {NAME: names.get("pruner", "")},
        scheduler={**resolved.get("scheduler", NO_SCHEDULER), NAME: names.get("scheduler", "none")},
        source="",
        choices=dict(choices),
    )


def _origin(composition: Composition, path: ConfigPath, error: ConfigError) -> dict[str, str]:
    """Dotted key -> where it was set: for errors."""
    # the later the more specific: the base, a unit's file, what set the key, the base variant's own, a range's line
    searched = {f"space.{key}": item.source for key, item in composition.searched.items()}
    # a null that must not be stands in the unit's file, but to blame is who chose the unit and left the key out
    files = {} if error.value == "null" else unit_files(composition, path)
    below = {**base_keys(composition), **files}
    return {**below, **composition.origin, **composition.variants[0][1].origin, **searched}


def _import_paths(user: Sequence[Path]) -> list[str]:
    # the parent too: units often lie beside the config directory, as a package of its own
    return list(dict.fromkeys(str(place) for folder in user for place in (folder, folder.parent)))


def allow_imports(places: Sequence[str]) -> None:
    """Let ``_target_`` find the user's modules; appended, so that they shadow nothing."""
    sys.path.extend(place for place in places if place not in sys.path)


def allow_stored_imports(config: SweepConfig) -> None:
    """Let a sweep of the store import the units that it was launched with: where they are built, nowhere else.

    What the ledger names was written by whoever could write the ledger: a directory that everybody may write to, or
    that is none, is left out with a `ConfigWarning`.
    """
    for place in config.cluster.py_paths:
        folder = Path(place)
        # relative would mean wherever this process happens to stand
        if not folder.is_absolute() or not folder.is_dir():
            continue
        if folder.stat().st_mode & stat.S_IWOTH:
            line = f"{printable(place)} is writable for everybody: units are not imported from there"
            warnings.warn(line, ConfigWarning, stacklevel=2)
        else:
            allow_imports([place])


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
        **({KEY: list(config.edits)} if config.edits else {}),
    }


def from_json(
    data: Mapping[str, Any],
    store: Path | None = None,
    find_urls: Callable[[Mapping[str, Any]], Mapping[str, Any]] = readable,
) -> SweepConfig:
    """The config that `to_json` wrote.

    Args:
        data: it; ledgers of before hold passwords, which the result does not.
        store: where its stores are now.
        find_urls: finds what was not kept of the ``store`` block's URLs; by default as far as nobody need be asked.

    Raises:
        ConfigError: written by another version of the format; `find_urls` does not find all.
    """
    if data.get("version") != 1:
        raise ConfigError("stored config of another version", key="version", value=data.get("version"), allowed="1")
    urls = find_urls(data["variants"][0]["resolved"]["store"])
    variants = [
        Variant(item["groups"], as_driven(item["resolved"], data), _names(data["choices"]) | item["groups"])
        for item in data["variants"]
    ]
    # the stored `worst`: a task's may have changed since, and one sweep scores diverged rows in one way
    space = from_plain(variants[0].resolved["space"])
    config = _assemble(variants, data["choices"], space, store, data["worst"], urls=urls)
    config = dataclasses.replace(config, **edited_fields(config.plan, config.pruner, entries_of(data)))
    return dataclasses.replace(
        config,
        plan=dataclasses.replace(config.plan, overrides=without_typed_secrets(data["overrides"])),
        cluster=dataclasses.replace(config.cluster, py_paths=tuple(data["py_paths"])),
        source=data["source"],
        description=data["description"],
        sweep=data.get("sweep", data["source"]),  # ledgers of before have neither key
        config_dirs=tuple(data.get("config_dirs", ())),
    )


def plan_of(view: SweepView) -> SweepPlan:
    """What a sweep of the store was asked to do, as its driver last wrote it."""
    return from_json(view.config).plan


def amend(config: SweepConfig, overrides: Sequence[str]) -> SweepConfig:
    """A stored config with a raised budget: all that `resume` may change.

    Raises:
        ConfigError: any other key, a range, or a value that is out of range or lower than before.
    """
    before = config.resolved["budget"]
    known = [f"budget.{key}" for key in before]
    typed = split_overrides(overrides, ())
    if typed.space is not None:
        raise ConfigError("cannot be changed on resume", key="space", allowed=known, file=COMMAND_LINE)
    # anything else would mix trials of two different sweeps under one name
    for key in [*(key for key, _ in typed.values), *typed.searches, *typed.removed]:
        if key not in known:
            hint = nearest(key, known)
            raise ConfigError("cannot be changed on resume", key=key, allowed=known, hint=hint, file=COMMAND_LINE)
        if key in typed.searches:
            raise ConfigError("takes one value on resume, no range", key=key, allowed="a number", file=COMMAND_LINE)
    budget = {**before, **{key.removeprefix("budget."): value for key, value in typed.values}}
    variants = tuple(dataclasses.replace(v, resolved={**v.resolved, "budget": budget}) for v in config.variants)
    # an unsolved replica scores the budget, which has been raised
    worst = {**config.plan.worst, "solved_at": float(budget["updates"])}
    try:
        # one variant is enough: only the budget has changed, and it is the same in all
        check_values(variants[0].resolved)
        plan = dataclasses.replace(make_plan(variants[0].resolved, worst), overrides=config.plan.overrides)
        plan = with_entries(plan, config.edits)
        check_raised(config.plan.budget, plan.budget, config.plan.racing)
    except ConfigError as error:
        raise with_source(error, {}, COMMAND_LINE) from error.__cause__
    return dataclasses.replace(config, variants=variants, resolved=dict(variants[0].resolved), plan=plan)
