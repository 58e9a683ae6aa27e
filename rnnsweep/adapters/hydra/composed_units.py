"""Units composed by Hydra as one tree of values.

Uses Hydra's config loader directly (internal in 1.3, therefore only here): its public `compose` neither lets a user's
directory shadow a packaged unit nor finds units without global state.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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

from rnnsweep.adapters.hydra.overrides import ConfigTree
from rnnsweep.adapters.hydra.yaml_files import Choice, read_yaml, syntax_error
from rnnsweep.errors import ConfigError, nearest

SEARCH = "_search_"
_PRIMARY = "_rnnsweep_"
_UNITS = "_units_"
"""Key of a unit's yaml: which of its keys take the name of another unit of the same group."""


def compose_units(base: Mapping[str, Any], groups: Mapping[str, Choice], folders: Sequence[Path]) -> ConfigTree:
    """Compose the chosen units beside the base config's own values.

    Args:
        base: plain blocks of the base config.
        groups: unit chosen per group; of a list each one lands in ``GROUP.NAME``.
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
    tree = ConfigTree(
        {str(key): value for key, value in data.items()},
        unit=lambda group, name: compose_units({}, {group: name}, folders),
    )
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
