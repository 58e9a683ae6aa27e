"""Composition of units into one config, by Hydra; values are laid over it strictly: no key can be invented.

Uses Hydra's config loader directly (internal in 1.3, therefore only here): its public `compose` neither lets a user's
directory shadow a packaged unit nor finds units without global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from rnnsweep.adapters.hydra.files import Choice, syntax_error
from rnnsweep.adapters.hydra.overrides import TARGET
from rnnsweep.errors import ConfigError, nearest

SEARCH = "_search_"
_PRIMARY = "_rnnsweep_"
_OPEN = ("space", "objective", "sampler.enqueue")


@dataclass
class Composed:
    """A config under construction: units first, then values laid over them.

    Attributes:
        tree: nested data; interpolations unresolved.
        ranges: default search ranges, dotted key -> text, from the units' ``_search_`` blocks.
        origin: dotted key -> file or "command line" that set it last.
        defaults: dotted key -> what it was before anything was laid over it.
    """

    tree: dict[str, Any]
    ranges: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, Any] = field(default_factory=dict)

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

    def put(self, key: str, value: Any, source: str) -> list[str]:
        """Lay a value over the tree; a mapping is laid over key by key.

        Returns:
            The dotted keys that do not exist, hence were not set.

        Raises:
            ConfigError: the value or key names code.
        """
        if TARGET in key.split("."):
            allowed = "in a unit's yaml only"
            raise ConfigError("code cannot be named here", key=key, allowed=allowed, file=source)
        try:
            old = self.get(key)
        except KeyError:
            return [key]
        if isinstance(old, Mapping) and key not in _OPEN:
            if not isinstance(value, Mapping):
                raise ConfigError(
                    "is a group of keys", key=key, value=value, allowed=sorted(map(str, old)), file=source
                )
            return [miss for name, item in value.items() for miss in self.put(f"{key}.{name}", item, source)]
        parent, _, last = key.rpartition(".")
        node = self.get(parent) if parent else self.tree
        self.defaults.setdefault(key, old)
        node[last] = value
        self.origin[key] = source
        return []

    def resolved(self) -> dict[str, Any]:
        """The whole tree as plain data, interpolations resolved.

        Raises:
            ConfigError: an interpolation that points nowhere.
        """
        try:
            data = OmegaConf.to_container(OmegaConf.create(self.tree), resolve=True)
        except OmegaConfBaseException as error:
            problem = str(error).splitlines()[0]
            raise ConfigError(problem, key=str(getattr(error, "full_key", "") or "config")) from None
        assert isinstance(data, dict)
        return {str(key): infinities(value) for key, value in data.items()}


def infinities(value: Any) -> Any:
    """Plain data with the words inf and -inf as numbers (yaml itself writes .inf).

    Example:
        >>> infinities({"threshold": "inf", "kinds": ["-inf", 1]})
        {'threshold': inf, 'kinds': [-inf, 1]}
    """
    if isinstance(value, dict):
        return {name: infinities(item) for name, item in value.items()}
    if isinstance(value, list):
        return [infinities(item) for item in value]
    return float(value) if isinstance(value, str) and value in ("inf", "+inf", "-inf") else value


def compose(base: Mapping[str, Any], groups: Mapping[str, Choice], folders: Sequence[Path]) -> Composed:
    """Compose the chosen units beside the base config's own values.

    Args:
        base: plain blocks of the base config.
        groups: unit chosen per family; ``controllers`` takes a list, each one lands in ``controllers.NAME``.
        folders: unit directories, in order of precedence.

    Raises:
        ConfigError: unknown unit, syntax error in its yaml.
    """
    defaults: list[Any] = []
    for group, choice in groups.items():
        if isinstance(choice, list):
            defaults += [{f"{group}@{group}.{name}": name} for name in choice]
        elif choice is not None:
            defaults.append({group: choice})
    node = {"defaults": [*defaults, "_self_"], **dict(base)}
    ConfigStore.instance().store(name=_PRIMARY, node=node)
    config = _load(folders)
    with open_dict(config):
        del config["hydra"]
    tree = OmegaConf.to_container(config, resolve=False)
    assert isinstance(tree, dict)
    composed = Composed({str(key): value for key, value in tree.items()})
    for group in groups:
        composed.tree.setdefault(group, {})
    _take_ranges(composed)
    return composed


def _load(folders: Sequence[Path]) -> DictConfig:
    Plugins.instance()  # registers the file and pkg sources
    path = ConfigSearchPathImpl()
    path.append("hydra", "pkg://hydra.conf")
    for folder in folders:
        path.append("rnnsweep", str(folder))
    path.append("schema", "structured://")
    try:
        return ConfigLoaderImpl(path).load_configuration(_PRIMARY, overrides=[], run_mode=RunMode.RUN, from_shell=False)
    except MissingConfigException as error:
        raise _unknown_unit(error) from None
    except yaml.YAMLError as error:
        raise syntax_error(error, None) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"units do not compose: {str(error).splitlines()[0]}") from None


def _unknown_unit(error: MissingConfigException) -> ConfigError:
    group, _, name = str(error.missing_cfg_file).rpartition("/")
    known = [str(option) for option in error.options or ()]
    key = group or "defaults"
    return ConfigError("unknown unit", key=key, value=name, allowed=known or "none", hint=nearest(name, known))


def _take_ranges(composed: Composed) -> None:
    """Move the units' ``_search_`` blocks out of the tree."""
    for key in [key for key in composed.paths() if key.rpartition(".")[2] == SEARCH]:
        parent = key.rpartition(".")[0]
        for name, text in composed.get(parent).pop(SEARCH).items():
            composed.ranges[f"{parent}.{name}"] = text


def _paths(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = []
    for name, value in tree.items():
        path = (*above, str(name))
        found.append(path)
        if isinstance(value, Mapping):
            found += _paths(value, path)
    return found
