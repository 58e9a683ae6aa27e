"""Composition of a sweep's config: units by Hydra, then the sweep's files and what was typed laid over them.

    base, sweep files, overrides ─► which unit per group ─► one tree of values per combination of searched units
                                └─► what is searched        └─ each layer of values laid over it, the typed one last

Values are laid over strictly: no key can be invented. Uses Hydra's config loader directly (internal in 1.3, therefore
only here): its public `compose` neither lets a user's directory shadow a packaged unit nor finds units without global
state.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.defaults_list import create_defaults_list
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnnsweep.adapters.hydra.key_hints import key_meant
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, TARGET, Overrides, names_code
from rnnsweep.adapters.hydra.search import ConfigPath
from rnnsweep.adapters.hydra.space_block import SearchedKey, group_dimension, specs
from rnnsweep.adapters.hydra.yaml_files import Choice, Layer, SweepFile, read_yaml, syntax_error
from rnnsweep.errors import ConfigError, nearest, printable, with_source
from rnnsweep.sweep.space import Dimension

SEARCH = "_search_"
_PRIMARY = "_rnnsweep_"
_OPEN = ("space", "objective", "sampler.enqueue")


@dataclass
class ConfigTree:
    """One config under construction: units first, then values laid over them.

    Attributes:
        tree: nested data; interpolations unresolved.
        ranges: default search ranges, dotted key -> text, from the units' ``_search_`` blocks.
        origin: dotted key -> file or "command line" that set it last.
    """

    tree: dict[str, Any]
    ranges: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)

    def paths(self) -> list[str]:
        """All dotted keys, branches and leaves."""
        return [".".join(path) for path in _paths(self.tree)]

    def get(self, key: str) -> Any:
        """The value at a dotted key; KeyError where there is none."""
        node: Any = self.tree
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                raise KeyError(key)
            node = node[part]
        return node

    def __contains__(self, key: str) -> bool:
        try:
            self.get(key)
        except KeyError:
            return False
        return True

    def put(self, key: str, value: Any, source: str) -> list[str]:
        """Lay a value over the tree; a mapping is laid over key by key.

        Returns:
            The dotted keys that do not exist, hence were not set.

        Raises:
            ConfigError: the value or key names code.
        """
        if names_code(key, value):
            allowed = "in a unit's yaml only"
            raise ConfigError("code cannot be named here", key=key, allowed=allowed, file=source)
        # collected and not raised: with searched units a key need only exist in one of the variants
        if key not in self:
            return [key]
        old = self.get(key)
        # _OPEN: blocks whose keys are the user's own
        if isinstance(old, Mapping) and key not in _OPEN:
            if not isinstance(value, Mapping):
                allowed = sorted(name for name in map(str, old) if name != TARGET)
                off = f"~{key} takes it out." if key.startswith("controllers.") else None
                raise ConfigError("is a group of keys", key=key, value=value, allowed=allowed, hint=off, file=source)
            return [miss for name, item in value.items() for miss in self.put(f"{key}.{name}", item, source)]
        if key == "objective" and isinstance(old, Mapping) and isinstance(value, Mapping):
            value = {**old, **value}  # of one objective, what is not said stays; a list of several is whole
        parent, _, last = key.rpartition(".")
        node = self.get(parent) if parent else self.tree
        node[last] = value
        self.origin[key] = source
        return []

    def resolved(self) -> dict[str, Any]:
        """The whole tree as plain data, interpolations resolved.

        Raises:
            ConfigError: an interpolation that points nowhere.
        """
        try:
            # resolved last: an interpolation must see what was laid over the key that it names
            data = OmegaConf.to_container(OmegaConf.create(self.tree), resolve=True)
        except OmegaConfBaseException as error:
            problem = str(error).splitlines()[0]
            raise ConfigError(problem, key=str(getattr(error, "full_key", "") or "config")) from None
        assert isinstance(data, dict)
        return {str(key): plain_values(value, str(key)) for key, value in data.items()}


def plain_values(value: Any, key: str) -> Any:
    """Plain data with the words inf and -inf as numbers (yaml itself writes .inf).

    Raises:
        ConfigError: a value that is NaN, or a text that a terminal would obey.

    Example:
        >>> plain_values({"threshold": "inf", "kinds": ["-inf", 1]}, "controllers.mine")
        {'threshold': inf, 'kinds': [-inf, 1]}
    """
    if isinstance(value, dict):
        return {name: plain_values(item, f"{key}.{name}") for name, item in value.items()}
    if isinstance(value, list):
        return [plain_values(item, key) for item in value]
    # NaN compares false with every bound, so that no range check would find it
    if isinstance(value, float) and value != value:
        raise ConfigError("is not a number", key=key, value="nan", allowed="a finite number")
    if isinstance(value, str) and printable(value) != value:
        raise ConfigError("holds control characters", key=key, value=value, allowed="printable characters")
    return float(value) if isinstance(value, str) and value in ("inf", "+inf", "-inf") else value


def compose_units(base: Mapping[str, Any], groups: Mapping[str, Choice], folders: Sequence[Path]) -> ConfigTree:
    """Compose the chosen units beside the base config's own values.

    Args:
        base: plain blocks of the base config.
        groups: unit chosen per group; ``controllers`` takes a list, each one lands in ``controllers.NAME``.
        folders: unit directories, in order of precedence.

    Raises:
        ConfigError: unknown unit, syntax error in its yaml.
    """
    defaults: list[Any] = []
    for group, choice in groups.items():
        for name in choice if isinstance(choice, list) else [choice] if choice is not None else []:
            file = next((file for folder in folders if (file := folder / group / f"{name}.yaml").is_file()), None)
            if file is not None:
                read_yaml(file)  # names the line of a mistake; Hydra would follow an anchor into itself
            defaults.append({f"{group}@{group}.{name}": name} if isinstance(choice, list) else {group: name})
    # _self_ last: the base config's own values win over the units'
    node = {"defaults": [*defaults, "_self_"], **dict(base)}
    ConfigStore.instance().store(name=_PRIMARY, node=node)
    # unresolved: values are still to be laid over
    data = OmegaConf.to_container(_load(folders), resolve=False)
    assert isinstance(data, dict)
    tree = ConfigTree({str(key): value for key, value in data.items()})
    for group in groups:
        # a list of controllers may be empty, and keys are to be looked up below it all the same
        tree.tree.setdefault(group, {})
    _take_ranges(tree)
    return tree


def _load(folders: Sequence[Path]) -> DictConfig:
    Plugins.instance()  # registers the file and pkg sources
    path = ConfigSearchPathImpl()
    for folder in folders:
        path.append("rnnsweep", str(folder))
    path.append("schema", "structured://")
    loader = ConfigLoaderImpl(path)
    repo = CachingConfigRepository(loader.repository)
    try:
        # not `load_configuration`: it composes Hydra's own settings too, which take as long as all of ours
        chosen = create_defaults_list(repo, _PRIMARY, overrides_list=[], prepend_hydra=False, skip_missing=False)
        return loader._compose_config_from_defaults_list(chosen.defaults, repo)
    except MissingConfigException as error:
        raise _unknown_unit(error) from None
    except yaml.YAMLError as error:
        raise syntax_error(error, None) from None
    except (HydraException, OmegaConfBaseException, RecursionError) as error:
        raise ConfigError(f"units do not compose: {str(error).splitlines()[0]}") from None


def _unknown_unit(error: MissingConfigException) -> ConfigError:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    known = [str(option) for option in error.options or ()]
    key = group or "defaults"
    return ConfigError("unknown unit", key=key, value=name, allowed=known or "none", hint=nearest(name, known))


def _take_ranges(tree: ConfigTree) -> None:
    """Move the units' ``_search_`` blocks out of the tree."""
    # a list, since the loop changes the tree
    for key in [key for key in tree.paths() if key.rpartition(".")[2] == SEARCH]:
        parent = key.rpartition(".")[0]
        for name, text in tree.get(parent).pop(SEARCH).items():
            tree.ranges[f"{parent}.{name}"] = text


def _paths(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        path = (*above, str(name))
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, path)


@dataclass(frozen=True)
class Composition:
    """A sweep between reading and checking.

    Attributes:
        choices: unit chosen per group (searched groups hold their first choice).
        searched: dotted key or group -> what was written; `spec` is None where a file says that it is not searched.
        dimensions: of the searched groups, by group.
        variants: (choices of the searched groups, config), one per combination.
        origin: group -> file or "command line" that chose its unit.
        layers: what was laid over the units, in order.
        controllers: names of all controllers that could be added.
        base: the file of the base config.
        idle: what is allowed and does nothing, one sentence each; found on the way.
    """

    choices: dict[str, Choice]
    searched: dict[str, SearchedKey]
    dimensions: dict[str, Dimension]
    variants: tuple[tuple[dict[str, str], ConfigTree], ...]
    origin: dict[str, str]
    layers: tuple[Layer, ...]
    controllers: tuple[str, ...]
    base: str = ""
    idle: list[str] = field(default_factory=list)

    @property
    def written(self) -> set[str]:
        """Groups and dotted keys that a sweep's file or the command line set."""
        chosen = {group for group, source in self.origin.items() if source != self.base}
        return chosen.union(*(tree.origin for _, tree in self.variants))

    @property
    def from_file(self) -> bool:
        """Whether this is a sweep; the base config alone is one trial's."""
        return any(layer.source != COMMAND_LINE for layer in self.layers)

    def rank(self, variant: int, key: str) -> int:
        """How specific the source of a plain key's value is: -1 for the base config, more for what was laid over it."""
        origin = self.variants[variant][1].origin.get(key)
        return next((place for place, layer in reversed([*enumerate(self.layers)]) if layer.source == origin), -1)

    def outdated(self, key: str, source: str) -> bool:
        """Whether a key was written for a unit that something later replaced: then it may be missing."""
        layer = next((layer for layer in self.layers if layer.source == source), None)
        group, *below = key.split(".")
        if layer is None or group not in layer.groups or not below or self.origin[group] == source:
            return False
        meant, now = _names(layer.groups[group]), _names(self.choices[group])
        if group in self.dimensions:
            now = self.dimensions[group].choices
        return below[0] in meant and below[0] not in now if group == "controllers" else not set(meant) & set(now)


def compose_sweep(path: ConfigPath, base: SweepFile, sweep: SweepFile | None, typed: Overrides) -> Composition:
    """Compose all variants and lay values over them: the sweep's files first, then what was typed.

    Raises:
        ConfigError: unknown unit or key, with the nearest name.
    """
    # with the units for which its keys were written, to tell a typing error from a key whose unit was replaced later
    files = [
        Layer(item.source, item.values, {**base.groups, **item.groups}) for item in (sweep.layers if sweep else ())
    ]
    choices = _choose({**base.groups, **(sweep.groups if sweep else {})}, typed)
    searched = _searched(files, typed)
    for group in [group for group in choices if group in searched and group in typed.groups]:
        if group not in typed.searches:  # a unit was typed: it is searched no longer
            del searched[group]
    dimensions = {
        key: group_dimension(key, item) for key, item in searched.items() if key in choices and item.spec is not None
    }
    origin = _origin(base, files, typed) | {group: searched[group].source for group in dimensions}
    layers = [*files, *(Layer(COMMAND_LINE, _nest(key, value)) for key, value in typed.values)]
    variants: list[tuple[dict[str, str], ConfigTree]] = []
    (plain,) = base.layers
    # every combination: a key may exist beside one unit only, and mistakes must show before the first trial
    for values in itertools.product(*(dim.choices for dim in dimensions.values())):
        combination = dict(zip(dimensions, map(str, values), strict=True))
        try:
            variants.append((combination, compose_units(plain.values, {**choices, **combination}, path.units)))
        except ConfigError as error:
            raise with_source(error, origin, "") from None
    # a searched group stands at its first choice wherever one unit must do
    choices.update(variants[0][0])
    known = tuple(path.options("controllers"))
    composition = Composition(
        choices, searched, dimensions, tuple(variants), origin, tuple(layers), known, str(base.path)
    )
    apply_overrides(composition)
    return composition


def _names(choice: Choice) -> Sequence[str]:
    return [choice] if isinstance(choice, str) else choice or ()


def _origin(base: SweepFile, files: Sequence[Layer], typed: Overrides) -> dict[str, str]:
    """Group -> where its unit was chosen last."""
    origin, before = dict.fromkeys((*base.groups, "controllers"), str(base.path)), dict(base.groups)
    for layer in files:
        for group, choice in layer.groups.items():
            # naming the unit that was chosen already chooses nothing
            if before.get(group) != choice:
                origin[group], before[group] = layer.source, choice
    changed = [*typed.groups, *(["controllers"] if typed.added or typed.removed else [])]
    return origin | dict.fromkeys(changed, COMMAND_LINE)


def _choose(written: Mapping[str, Choice], typed: Overrides) -> dict[str, Choice]:
    groups = {**written, **typed.groups}
    listed = list(_names(groups.get("controllers")))
    for name in typed.removed:
        if name not in listed:
            hint = nearest(name, listed)
            raise ConfigError("is not in use", key=f"~controllers.{name}", allowed=listed, hint=hint, file=COMMAND_LINE)
    # removed last: `+controllers=a ~controllers.a` means that it is off
    names = [name for name in (*listed, *typed.added) if name not in typed.removed]
    groups["controllers"] = list(dict.fromkeys(names))
    for group, choice in groups.items():
        if choice is None:
            raise ConfigError("names no unit", key=group, value="null", allowed=f"{group}=NAME")
    return groups


def _searched(files: Sequence[Layer], typed: Overrides) -> dict[str, SearchedKey]:
    searched: dict[str, SearchedKey] = {}
    for layer in files:
        keys = {key: SearchedKey(spec, layer.source) for key, spec in specs(layer.values.get("space"), layer.source)}
        # `key: null` in a file that inherits: what the inherited one searches is known, the rest is looked up later
        gone = [key for key, item in keys.items() if item.spec is None and key in searched]
        searched = {key: item for key, item in (searched | keys).items() if key not in gone}
    # a whole space replaces, as `space={}` could not mean anything otherwise
    if typed.space is not None:
        searched = {key: SearchedKey(spec, COMMAND_LINE) for key, spec in specs(typed.space, COMMAND_LINE)}
    for key, spec in typed.searches.items():
        if spec is None and key not in searched:
            raise ConfigError(
                "is not searched", key=f"~space.{key}", allowed=list(searched) or "none", hint=nearest(key, searched),
                file=COMMAND_LINE,
            )  # fmt: skip
    # a typed value ends the search of its key
    fixed = {leaf for key, value in typed.values for leaf in _leaves(key, value)}
    searched = {key: item for key, item in searched.items() if key not in fixed}
    searched |= {key: SearchedKey(spec, COMMAND_LINE) for key, spec in typed.searches.items()}
    # a `null` from a file stays until the units are known: whether its key exists is checked then
    return {key: item for key, item in searched.items() if item.spec is not None or item.source != COMMAND_LINE}


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


def apply_overrides(composition: Composition) -> None:
    """Lay all layers over all variants; a key must exist in one of them, unless its unit was replaced since.

    Raises:
        ConfigError: a key that no variant has.
    """
    for layer in composition.layers:
        for name, value in layer.values.items():
            if name == "space":
                continue
            missing = [tree.put(str(name), value, layer.source) for _, tree in composition.variants]
            nowhere = set(missing[0]).intersection(*missing[1:])
            for key in missing[0]:
                if key in nowhere and not composition.outdated(key, layer.source):
                    written = layer.values
                    for part in key.split("."):
                        written = written[part]
                    below = list(_leaves(key, written))
                    raise unknown_key(composition, key, layer.source, whole=below[0] if len(below) == 1 else key)


def unknown_key(composition: Composition, key: str, source: str, prefix: str = "", whole: str = "") -> ConfigError:
    """The error for a key that no variant has: with the one that was meant, or the controller to add.

    Args:
        composition: what is composed.
        key: the shortest dotted key that does not exist.
        source: where it stands.
        prefix: of the key in the message.
        whole: the key as written, where that goes on below `key`.
    """
    # names of code are no keys that one may set
    known = sorted({name for _, tree in composition.variants for name in tree.paths() if TARGET not in name})
    parts = key.split(".")
    if parts[0] == "controllers" and len(parts) > 1 and f"controllers.{parts[1]}" not in known:
        used = sorted({name.split(".")[1] for name in known if name.startswith("controllers.")})
        near = nearest(parts[1], used)
        hint = f"Is +controllers={parts[1]} missing?" if parts[1] in composition.controllers else near
        return ConfigError("this sweep has no such controller", key=prefix + key, allowed=used, hint=hint, file=source)
    while len(parts) > 1 and ".".join(parts[:-1]) not in known:
        parts.pop()  # the part that is wrong
    parent = ".".join(parts[:-1])
    siblings = [name.rpartition(".")[2] for name in known if name.rpartition(".")[0] == parent]
    return ConfigError(
        "unknown key", key=prefix + key, allowed=siblings, hint=key_meant(whole or key, parts, known), file=source
    )


def base_keys(composition: Composition) -> dict[str, str]:
    """Dotted key of the base config's own values -> its file, unless something laid over it does."""
    tree = composition.variants[0][1]
    blocks = {key: value for key, value in tree.tree.items() if key not in composition.choices and key != "name"}
    leaves = (leaf for key, value in blocks.items() for leaf in ([key] if key in _OPEN else _leaves(key, value)))
    return dict.fromkeys(leaves, composition.base)


def unit_files(composition: Composition, path: ConfigPath) -> dict[str, str]:
    """Dotted key -> the unit file that sets it, unless something laid over it does."""
    files: dict[str, str] = {}
    tree = composition.variants[0][1].tree
    for group, choice in composition.choices.items():
        for name in choice if isinstance(choice, list) else tree.get(group, {}):
            file = path.unit_file(group, name if isinstance(choice, list) else str(choice))
            files[f"{group}.{name}"] = str(file)
    return files
