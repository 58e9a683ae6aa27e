"""What the user typed, split by meaning before anything is composed, and the config that it is laid over.

Hydra's `compose` refuses search ranges and *merges* dictionaries (``space={}`` would change nothing), hence the split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, OverrideType, Sweep
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from rnnsweep.adapters.hydra.mistyped import COMMAND_LINE, mistyped
from rnnsweep.adapters.hydra.search import LISTED
from rnnsweep.adapters.hydra.yaml_files import DEEPEST, Choice
from rnnsweep.errors import ConfigError, printable
from rnnsweep.loader import NAME
from rnnsweep.sweep.fidelity import KEY as FIDELITY
from rnnsweep.sweep.fidelity import flat

TARGET = "_target_"
OPEN = ("space", "objective", "sampler.enqueue", FIDELITY)


@dataclass
class Overrides:
    """Overrides by meaning, each in the order typed.

    Attributes:
        groups: unit chosen per group.
        added, removed: controllers to add to, or to take from, the sweep's list.
        values: dotted key and plain value.
        searches: dotted key (or group) to a range in Hydra's own type, or a text in the range grammar.
        space: replaces the whole search space where given.
    """

    groups: dict[str, Choice] = field(default_factory=dict)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    values: list[tuple[str, Any]] = field(default_factory=list)
    searches: dict[str, Any] = field(default_factory=dict)
    space: Mapping[str, Any] | None = None


def parse_override(text: str, before: str = "", after: Sequence[str] = ()) -> Override:
    """One override by Hydra's grammar.

    Args:
        text: as typed.
        before: the override that was typed before it, which may be a piece of it.
        after: those after it, likewise.

    Raises:
        ConfigError: not in the grammar; says what is wrong and what was meant.
    """
    depth = deepest = 0
    for character in text:  # the parser recurses: refuse before it does
        depth += (character in "([{") - (character in ")]}")
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        allowed = f"at most {DEEPEST} levels of brackets"
        raise ConfigError("is nested too deep", key=text.partition("=")[0], allowed=allowed, file=COMMAND_LINE)
    try:
        override = OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise mistyped(text, str(error).splitlines()[0], before, after) from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        key, allowed = text.partition("=")[0], "numbers of at most 4300 digits"
        raise ConfigError("is no number that can be read", key=key, allowed=allowed, file=COMMAND_LINE) from None
    if not override.key_or_group:
        raise mistyped(text, "", before, after)
    return override


def split_overrides(texts: Sequence[str], groups: Iterable[str]) -> Overrides:
    """Sort overrides by meaning; later ones win.

    Raises:
        ConfigError: bad grammar, ``_target_`` in an override, a deletion of anything but a controller.
    """
    known, result = set(groups), Overrides()
    for index, text in enumerate(texts):
        override = parse_override(text, texts[index - 1] if index else "", texts[index + 1 : index + 3])
        key = str(override.key_or_group)
        if override.package is not None:
            raise ConfigError("packages cannot be chosen", key=text, allowed="family=NAME", file=COMMAND_LINE)
        if isinstance(override._value, Glob):
            raise ConfigError("patterns are not known here", key=text, allowed="choice(a,b)", file=COMMAND_LINE)
        # before anything is composed: `_target_` in an override would run any function by name
        _refuse_target(key, override._value)
        if override.type is OverrideType.DEL:
            _delete(result, key, override)
        # a mapping sets keys of the chosen unit; a word chooses another one
        elif key in known and not isinstance(override._value, dict):
            _choose(result, key, override)
        else:
            _assign(result, key, override)
    return result


def plain(value: Any) -> Any:
    """A parsed value as plain data; ranges inside dictionaries stay as they are."""
    if isinstance(value, Sweep):
        return value
    if isinstance(value, dict):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item) for item in value]
    return Override._convert_value(value)


def _refuse_target(key: str, value: Any) -> None:
    if names_code(key, value):
        raise ConfigError(
            "code cannot be named in an override",
            key=key,
            allowed=f"{TARGET} stands in a unit's yaml, in a directory given by --config-dir",
            file=COMMAND_LINE,
        )


def names_code(key: str, value: Any) -> bool:
    """Whether a dotted key, or a key somewhere inside its value, is a ``_target_``.

    Example:
        >>> names_code("task.dataset", {"of": [{"_target_": "os.system"}]}), names_code("task.path", "_target_")
        (True, False)
    """
    if isinstance(value, Mapping):
        return TARGET in key.split(".") or any(names_code(str(name), item) for name, item in value.items())
    return TARGET in key.split(".") or (isinstance(value, list) and any(names_code("", item) for item in value))


def _delete(result: Overrides, key: str, override: Override) -> None:
    if key.startswith("space."):
        result.searches[key.removeprefix("space.")] = None
        return
    name = key.removeprefix("controllers.") if key.startswith("controllers.") else ""
    if key == "controllers" and isinstance(override._value, str):
        name = override._value
    if not name or "." in name:
        allowed = "~controllers.NAME, ~space.KEY; other keys are switched off by their value"
        hint = None if "." in key else f"Is it ~controllers.{key}?"
        raise ConfigError("cannot be deleted", key=f"~{key}", allowed=allowed, hint=hint, file=COMMAND_LINE)
    result.removed.append(name)


def _choose(result: Overrides, group: str, override: Override) -> None:
    if override.is_sweep_override():
        if group == "controllers" and isinstance(override._value, ChoiceSweep) and override._value.simple_form:
            meant = f"controllers=[{','.join(str(plain(item)) for item in override._value.list)}]"
            raise ConfigError("is no list", key=group, hint=f"Is it {meant}?", file=COMMAND_LINE)
        result.searches[group] = override._value
        return
    choice = plain(override._value)
    if group != "controllers":
        result.groups[group] = _choice(group, choice)
        # the later word wins: a unit that is typed after a range ends the search
        result.searches.pop(group, None)
        return
    names = [str(name) for name in choice] if isinstance(choice, list) else [str(choice)] if choice is not None else []
    if override.is_add():
        result.added += names
    else:
        # a whole list replaces what was added and removed before it
        result.groups[group], result.added, result.removed = names, [], []


def _choice(group: str, choice: Any) -> Choice:
    """A unit's name; of groups that take several, a list of names too."""
    if isinstance(choice, list) and group in LISTED and all(isinstance(name, str) for name in choice):
        return list(dict.fromkeys(choice))
    if not isinstance(choice, str):
        allowed = f"{group}=NAME" + (f", {group}=[NAME,...]" if group in LISTED else "")
        raise ConfigError("names no unit", key=group, value=choice, allowed=allowed, file=COMMAND_LINE)
    return choice


def _assign(result: Overrides, key: str, override: Override) -> None:
    value = plain(override._value)
    if key == "space":
        result.space = _space(value)
        result.searches.clear()
    elif key.startswith("space."):
        result.searches[key.removeprefix("space.")] = value
    elif isinstance(value, Sweep) and key.startswith(f"{FIDELITY}."):
        raise ConfigError("is no list", key=key, allowed=f"{key}=[VALUE, ...]", file=COMMAND_LINE)
    elif isinstance(value, Sweep) or value == "default":
        result.searches[key] = value
        # the later word wins, also the other way round below
        result.values = [(other, fixed) for other, fixed in result.values if other != key]
    else:
        result.searches.pop(key, None)
        result.values.append((key, value))


def _space(value: Any) -> Mapping[str, Any]:
    if value in (None, ""):
        return {}
    if not isinstance(value, dict):
        allowed = "space={key:default,key:interval(a,b)}, space={} for none"
        raise ConfigError("is no mapping", key="space", value=value, allowed=allowed, file=COMMAND_LINE)
    return value


@dataclass
class ConfigTree:
    """One config under construction: units first, then values laid over them.

    Attributes:
        tree: nested data; interpolations unresolved.
        ranges: default search ranges, dotted key -> text, from the units' ``_search_`` blocks.
        origin: dotted key -> file or "command line" that set it last.
        inner: dotted keys that hold a unit within a unit: a word laid over one chooses another.
        unit: composes a unit of a group, by name.
    """

    tree: dict[str, Any]
    ranges: dict[str, str] = field(default_factory=dict)
    origin: dict[str, str] = field(default_factory=dict)
    inner: list[str] = field(default_factory=list)
    unit: Callable[[str, str], ConfigTree] | None = None

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
        if key == FIDELITY and isinstance(value, Mapping) and value:  # `{}` empties it
            value = {**flat(old), **flat(value)}
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
            assert self.unit is not None  # trees with such keys come from composed units
            chosen = self.unit(group, name)
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


def _paths(tree: Mapping[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, value in tree.items():
        path = (*above, str(name))
        yield path
        if isinstance(value, Mapping):
            yield from _paths(value, path)
