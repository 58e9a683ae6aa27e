"""Units composed by Hydra as one tree of values, and what is laid over it.

Uses Hydra's config loader directly (internal in 1.3, therefore only here): its public `compose` neither lets a user's
directory shadow a packaged unit nor finds units without global state.
"""

from __future__ import annotations

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

from rnnsweep.adapters.hydra.overrides import TARGET, names_code
from rnnsweep.adapters.hydra.yaml_files import Choice, read_yaml, syntax_error
from rnnsweep.errors import ConfigError, nearest, printable
from rnnsweep.loader import NAME

SEARCH = "_search_"
_PRIMARY = "_rnnsweep_"
_UNITS = "_units_"
"""Key of a unit's yaml: which of its keys take the name of another unit of the same group."""
OPEN = ("space", "objective", "sampler.enqueue")


@dataclass
class ConfigTree:
    """One config under construction: units first, then values laid over them.

    Attributes:
        tree: nested data; interpolations unresolved.
        ranges: default search ranges, dotted key -> text, from the units' ``_search_`` blocks.
        origin: dotted key -> file or "command line" that set it last.
        inner: dotted keys that hold a unit within a unit: a word laid over one chooses another.
        folders: unit directories, in order of precedence.
    """

    tree: dict[str, Any]
    ranges: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    inner: list[str] = field(default_factory=list)
    folders: Sequence[Path] = ()

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
        parent, _, last = key.rpartition(".")
        if last == NAME and parent in self.inner:
            key, value = parent, {NAME: value}
        if key in self.inner and value is not None:
            return self._put_inner(key, value if isinstance(value, Mapping) else {NAME: value}, source)
        return self._put_plain(key, value, source)

    def _put_inner(self, key: str, values: Mapping[str, Any], source: str) -> list[str]:
        """Choose a unit within a unit where one is named, and lay the other values over it."""
        if NAME in values:
            self.choose(key, values[NAME], source)
        rest = {f"{key}.{name}": item for name, item in values.items() if name != NAME}
        if rest and self.get(key) is None:
            raise ConfigError(
                "there is none", key=key, value="null", allowed=f"{key}=NAME beside {next(iter(rest))}", file=source
            )
        return [miss for each, item in rest.items() for miss in self._put_plain(each, item, source)]

    def _put_plain(self, key: str, value: Any, source: str) -> list[str]:
        parent, _, last = key.rpartition(".")
        # collected and not raised: with searched units a key need only exist in one of the variants
        if key not in self:
            return [key]
        old = self.get(key)
        # OPEN: blocks whose keys are the user's own
        if isinstance(old, Mapping) and key not in OPEN and not (key in self.inner and value is None):
            if not isinstance(value, Mapping):
                allowed = sorted(name for name in map(str, old) if name not in (TARGET, NAME))
                off = f"~{key} takes it out." if key.startswith("controllers.") else None
                raise ConfigError("is a group of keys", key=key, value=value, allowed=allowed, hint=off, file=source)
            return [miss for name, item in value.items() for miss in self.put(f"{key}.{name}", item, source)]
        if key == "objective" and isinstance(old, Mapping) and isinstance(value, Mapping):
            value = {**old, **value}  # of one objective, what is not said stays; a list of several is whole
        node = self.get(parent) if parent else self.tree
        node[last] = value
        self.origin[key] = source
        return []

    def choose(self, key: str, name: Any, source: str) -> None:
        """Put the unit of that name into a key of another unit of its group.

        Raises:
            ConfigError: there is none of that name.
        """
        group, (parent, _, last) = key.partition(".")[0], key.rpartition(".")
        try:
            if not isinstance(name, str):
                raise ConfigError("names no unit", value=name, allowed=f"{key}=NAME")
            chosen = compose_units({}, {group: name}, self.folders)
        except ConfigError as error:
            raise ConfigError(
                error.problem, key=key, value=error.value, allowed=error.allowed, hint=error.hint, file=source or None
            ) from None
        for known in (self.ranges, self.origin):
            for gone in [other for other in known if other.startswith(f"{key}.")]:
                del known[gone]
        self.get(parent)[last] = {**chosen.tree[group], NAME: name}
        self.ranges |= {key + other.removeprefix(group): text for other, text in chosen.ranges.items()}
        if source:
            self.origin[key] = source

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
    tree = ConfigTree({str(key): value for key, value in data.items()}, folders=folders)
    for group in groups:
        # a list of controllers may be empty, and keys are to be looked up below it all the same
        tree.tree.setdefault(group, {})
    _take_ranges(tree)
    _take_inner(tree)
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


def _take_inner(tree: ConfigTree) -> None:
    """Put units into the keys of others that hold their names."""
    for key in [key for key in tree.paths() if key.rpartition(".")[2] == _UNITS]:
        parent = key.rpartition(".")[0]
        tree.inner += [f"{parent}.{name}" for name in tree.get(parent).pop(_UNITS)]
    for key in tree.inner:
        if key in tree and tree.get(key) is not None:
            tree.choose(key, tree.get(key), "")


def _paths(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        path = (*above, str(name))
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, path)
