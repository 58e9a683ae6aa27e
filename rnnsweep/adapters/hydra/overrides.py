"""What the user typed: Hydra's override grammar, split by meaning before anything is composed.

Hydra's `compose` refuses search ranges and *merges* dictionaries (``space={}`` would change nothing), hence the split.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, OverrideType, Sweep
from hydra.errors import HydraException

from rnnsweep.adapters.hydra.mistyped import COMMAND_LINE, mistyped
from rnnsweep.adapters.hydra.yaml_files import DEEPEST, Choice
from rnnsweep.errors import ConfigError

TARGET = "_target_"


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
        if not isinstance(choice, str):
            raise ConfigError("names no unit", key=group, value=choice, allowed=f"{group}=NAME", file=COMMAND_LINE)
        result.groups[group] = choice
        # the later word wins: a unit that is typed after a range ends the search
        result.searches.pop(group, None)
        return
    names = [str(name) for name in choice] if isinstance(choice, list) else [str(choice)] if choice is not None else []
    if override.is_add():
        result.added += names
    else:
        # a whole list replaces what was added and removed before it
        result.groups[group], result.added, result.removed = names, [], []


def _assign(result: Overrides, key: str, override: Override) -> None:
    value = plain(override._value)
    if key == "space":
        result.space = _space(value)
        result.searches.clear()
    elif key.startswith("space."):
        result.searches[key.removeprefix("space.")] = value
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
