"""Reading one yaml: the base config, or a sweep with what it inherits."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnnsweep.adapters.hydra.search import BASE, LISTED, ConfigPath
from rnnsweep.errors import ConfigError, nearest, printable

Choice = str | list[str] | None
DEEPEST = 50
"""Levels of nesting that a config may have; ours have five."""
_MOST = 100_000
"""Values that a file may come to once its anchors are written out."""
_SKIPPED = (BASE, "_self_")
_FORMS = "config, _self_, another sweep's name, or 'override /family: srn'"


@dataclass(frozen=True)
class Layer:
    """What one file, or the command line, says.

    Attributes:
        source: the file, or "command line".
        values: dotted or nested keys and what they are set to.
        groups: unit chosen per group where this was written; its keys are meant for these.
    """

    source: str
    values: Mapping[str, Any]
    groups: Mapping[str, Choice] = field(default_factory=dict)


@dataclass(frozen=True)
class SweepFile:
    """A sweep as its author wrote it.

    Attributes:
        path: the file.
        groups: unit chosen per group; a list for ``controllers``, and for trackers where there are several.
        layers: those of inherited sweeps first, the sweep's own last.
        description: the first comment line.
    """

    path: Path
    groups: Mapping[str, Choice] = field(default_factory=dict)
    layers: tuple[Layer, ...] = ()
    description: str = ""


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a yaml file, interpolations unresolved.

    Raises:
        ConfigError: unreadable, syntax error (with the line), nested or repeated without end, or no mapping.
    """
    try:
        data = _parsed(path.read_text(encoding="utf-8"), path)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        raise syntax_error(error, path) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot be read: {error}", file=str(path)) from None
    if not isinstance(data, dict):
        raise ConfigError("holds no 'key: value' mapping", file=str(path), allowed="a yaml mapping")
    return {str(key): copy.deepcopy(value) for key, value in data.items()}


@functools.lru_cache(maxsize=1024)
def _parsed(text: str, path: Path) -> Any:
    """What a text says, parsed once: composing asks for the same forty files again and again, and yaml is slow."""
    _check_shape(text, path)
    return OmegaConf.to_container(OmegaConf.create(text), resolve=False) if text.strip() else {}


def _check_shape(text: str, path: Path) -> None:
    """Refuse, before it is built, what would not end, or not fit: the yaml library and OmegaConf recurse and copy.

    Raises:
        ConfigError: no mapping at the top, nesting that is too deep, an anchor inside of itself, anchors that multiply.
    """
    open_nodes: list[tuple[str | None, int]] = []  # (anchor, values written before it began)
    anchored: dict[str, int] = {}
    values = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        place = f"{path}:{event.start_mark.line + 1}"
        if isinstance(event, yaml.NodeEvent):
            if not open_nodes and not _may_be_top(event):
                raise ConfigError("holds no 'key: value' mapping", file=str(path), allowed="a yaml mapping")
            # legal yaml, but endless for whoever copies it
            if isinstance(event, yaml.AliasEvent) and event.anchor in (name for name, _ in open_nodes):
                raise ConfigError(f"the anchor &{event.anchor} contains itself", file=place)
            values += anchored.get(event.anchor or "", 1) if isinstance(event, yaml.AliasEvent) else 1
        if isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, values))
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            # with what its own aliases stand for: nested anchors multiply ("billion laughs")
            anchored[anchor or ""] = values - before + 1
        if values > _MOST or len(open_nodes) > DEEPEST:
            allowed = f"at most {DEEPEST} levels and {_MOST} values"
            raise ConfigError("is nested too deep, or its anchors multiply", file=place, allowed=allowed)


def _may_be_top(event: yaml.NodeEvent) -> bool:
    """Whether a document may begin so: with a mapping, or with nothing at all."""
    return isinstance(event, yaml.MappingStartEvent) or (
        isinstance(event, yaml.ScalarEvent) and event.style is None and event.value in ("", "~", "null")
    )


def syntax_error(error: Exception, path: Path | str | None) -> ConfigError:
    """A yaml library's complaint as an error that names file and line."""
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    name = str(path) if path is not None else str(getattr(mark, "name", "yaml"))
    place = f"{name}:{mark.line + 1}" if mark is not None else name
    return ConfigError(f"yaml syntax error: {problem}", file=place)


def describe(path: Path) -> str:
    """The first comment line of a file, or an empty string."""
    try:
        with path.open(encoding="utf-8") as stream:
            comments = (line.strip("# \n") for line in stream if line.startswith("#") and "@package" not in line)
            return printable(next(comments, ""))
    except (OSError, UnicodeDecodeError):
        return ""


def read_sweep(path: Path, search: ConfigPath, seen: tuple[Path, ...] = ()) -> SweepFile:
    """Read a sweep; its ``defaults`` may name units (``override /family: srn``) and one or more other sweeps.

    The sweep's own values always win over what it inherits, wherever ``_self_`` stands.

    Raises:
        ConfigError: syntax, a malformed defaults list, sweeps that inherit from each other in a circle.
    """
    # resolved: a circle may go through links
    if path.resolve() in seen:
        raise ConfigError("sweeps inherit from each other in a circle", key="defaults", file=str(path))
    data = read_yaml(path)
    defaults = data.pop("defaults", [BASE])
    if not isinstance(defaults, list):
        raise ConfigError("is no list", key="defaults", value=defaults, allowed=_FORMS, file=str(path))
    groups: dict[str, Choice] = {}
    layers: list[Layer] = []
    for entry in defaults:
        if isinstance(entry, Mapping) and len(entry) == 1:
            group, choice = _group_entry(entry, path, search)
            groups[group] = choice
        elif isinstance(entry, str):
            if entry not in _SKIPPED:
                parent = read_sweep(_beside(entry, path, search), search, (*seen, path.resolve()))
                groups |= parent.groups
                # parents before the sweep's own layer, which is added last and wins
                layers += parent.layers
        else:
            raise ConfigError("unknown entry", key="defaults", value=entry, allowed=_FORMS, file=str(path))
    return SweepFile(path, groups, (*layers, Layer(str(path), data, groups)), describe(path))


def _beside(name: str, path: Path, search: ConfigPath) -> Path:
    # a sweep given by path inherits from its own folder first, whatever the search path has
    neighbour = path.parent / f"{name}.yaml"
    try:
        return neighbour if neighbour.is_file() else search.find_sweep(name)
    except ConfigError as error:
        raise ConfigError(
            "unknown sweep", key="defaults", value=name, allowed=_FORMS, hint=error.hint, file=str(path)
        ) from None


def _group_entry(entry: Mapping[Any, Any], path: Path, search: ConfigPath) -> tuple[str, Choice]:
    ((key, choice),) = entry.items()
    group = str(key).removeprefix("override ").strip().removeprefix("/")
    known = search.groups()
    if group not in known:
        hint = nearest(group, known)
        raise ConfigError(
            "unknown group", key="defaults", value=group, allowed=sorted(known), hint=hint, file=str(path)
        )
    if isinstance(choice, list) and group in ("controllers", *LISTED):
        return group, [str(name) for name in choice]
    if isinstance(choice, str) or choice is None:
        return group, choice
    raise ConfigError("names no unit", key=f"defaults.{group}", value=choice, allowed="a unit's name", file=str(path))
