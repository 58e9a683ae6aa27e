"""Composition of a sweep's config: units by Hydra, then the sweep's files and what was typed laid over them.

    base, sweep files, overrides ─► which unit per group ─► one tree of values per combination of searched units
                                └─► what is searched        └─ each layer of values laid over it, the typed one last

Values are laid over strictly: no key can be invented.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnsweep.adapters.hydra.composed_units import compose_units
from rnnsweep.adapters.hydra.key_hints import key_meant
from rnnsweep.adapters.hydra.overrides import COMMAND_LINE, OPEN, TARGET, ConfigTree, Overrides
from rnnsweep.adapters.hydra.search import LISTED, ConfigPath
from rnnsweep.adapters.hydra.space_block import SearchedKey, group_dimension, specs
from rnnsweep.adapters.hydra.yaml_files import Choice, Layer, SweepFile, read_yaml
from rnnsweep.errors import ConfigError, nearest, with_source
from rnnsweep.loader import NAME
from rnnsweep.sweep.fidelity import KEY as FIDELITY
from rnnsweep.sweep.space import Dimension

OWNERS = 3
"""Units that are named as those which have a key."""


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
        path: where units are looked for.
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
    path: ConfigPath
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
        if layer is not None and self._replaced(key, source):
            return True
        group, *below = key.split(".")
        if layer is None or group not in layer.groups or not below or self.origin[group] == source:
            return False
        if group in LISTED and isinstance(layer.groups[group], list) != isinstance(self.choices[group], list):
            return True  # keys of one unit stand elsewhere than those of several
        meant, now = _names(layer.groups[group]), _names(self.choices[group])
        if group in self.dimensions:
            now = self.dimensions[group].choices
        return (
            below[0] in meant and below[0] not in now
            if isinstance(self.choices[group], list)
            else not set(meant) & set(now)
        )

    def _replaced(self, key: str, source: str) -> bool:
        """Whether the unit within a unit that a key was written for was replaced by something later."""
        order = {layer.source: place for place, layer in enumerate(self.layers)}
        chosen = (
            tree.origin[inner]
            for _, tree in self.variants
            for inner in tree.inner
            if inner in tree.origin and key.startswith(f"{inner}.")
        )
        return any(order.get(later, -1) > order[source] for later in chosen)


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
    origin = _origin(base, files, typed)
    idle = _spare_default_pruner(
        choices, origin, str(base.path), [*(sweep.layers if sweep else ()), *_typed_layers(typed)]
    )
    dimensions = {
        key: group_dimension(key, item) for key, item in searched.items() if key in choices and item.spec is not None
    }
    origin |= {group: searched[group].source for group in dimensions}
    variants: list[tuple[dict[str, str], ConfigTree]] = []
    (plain,) = base.layers
    # every combination: a key may exist beside one unit only, and mistakes must show before the first trial
    for values in itertools.product(*(dim.choices for dim in dimensions.values())):
        combination = dict(zip(dimensions, map(str, values), strict=True))
        try:
            variants.append((combination, compose_units(plain.values, {**choices, **combination}, path.units)))
        except ConfigError as error:
            raise with_source(error, origin, "") from None
    inner = {key for _, tree in variants for key in tree.inner}
    layers = [*files, *_typed_layers(typed, inner)]
    # a searched group stands at its first choice wherever one unit must do
    choices.update(variants[0][0])
    known = tuple(path.options("controllers"))
    composition = Composition(
        choices, searched, dimensions, tuple(variants), origin, tuple(layers), known, path, str(base.path), idle
    )
    apply_overrides(composition)
    return composition


def _typed_layers(typed: Overrides, inner: Collection[str] = ()) -> list[Layer]:
    """A layer per typed value, in any order: what is typed below a unit is meant for that which is typed."""
    values = sorted(typed.values, key=lambda item: item[0] not in inner or isinstance(item[1], Mapping))
    return [Layer(COMMAND_LINE, _nest(key, value)) for key, value in values]


def _spare_default_pruner(
    choices: dict[str, Choice], origin: Mapping[str, str], base: str, layers: Sequence[Layer]
) -> list[str]:
    """Whoever chooses a scheduler has chosen who judges: a pruner that nobody wrote goes, and a line says so."""
    pruner, scheduler = choices.get("pruner"), choices.get("scheduler", "none")
    written = any(layer.values.get("pruner") or "pruner" in layer.groups for layer in layers)
    grows = any(layer.values.get(FIDELITY) for layer in layers)
    if pruner in (None, "none") or not (scheduler != "none" or grows) or written or origin["pruner"] != base:
        return []
    choices["pruner"] = "none"
    why = "values of different fidelity do not compare" if scheduler == "none" else f"scheduler={scheduler} judges"
    return [f"pruner={pruner}, the default, is off: {why}"]


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
    known = [name for name in known if NAME not in name]
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
    if not siblings and isinstance(composition.choices.get(parent), str):
        unit = f"{parent}={composition.choices[parent]}"
        hint = f"Is {parent}=NAME missing? {unit} has no keys."
        return ConfigError("unknown key", key=prefix + key, allowed="none", hint=hint, file=source)
    # exactly as another unit has it, before what looks like it
    hint = _of_another_unit(composition, parent, parts[-1]) or key_meant(whole or key, parts, known)
    return ConfigError("unknown key", key=prefix + key, allowed=siblings, hint=hint, file=source)


def _of_another_unit(composition: Composition, group: str, key: str) -> str | None:
    """A question where other units of a group have the key that the chosen one lacks."""
    if not isinstance(composition.choices.get(group), str):
        return None
    owners = [name for name in composition.path.options(group) if key in _keys(composition.path.unit_file(group, name))]
    if not owners:
        return None
    named, more = ", ".join(f"{group}={name}" for name in owners[:OWNERS]), len(owners) - OWNERS
    return f"Is {group}=NAME missing? The key is one of {named}{f' and {more} more' if more > 0 else ''}."


def _keys(file: Path | None) -> Mapping[str, Any]:
    try:
        return {} if file is None else read_yaml(file)
    except ConfigError:  # a broken file is told where it is asked for
        return {}


def base_keys(composition: Composition) -> dict[str, str]:
    """Dotted key of the base config's own values -> its file, unless something laid over it does."""
    tree = composition.variants[0][1]
    blocks = {key: value for key, value in tree.tree.items() if key not in composition.choices and key != "name"}
    leaves = (leaf for key, value in blocks.items() for leaf in ([key] if key in OPEN else _leaves(key, value)))
    return dict.fromkeys(leaves, composition.base)


def unit_files(composition: Composition, path: ConfigPath) -> dict[str, str]:
    """Dotted key -> the unit file that sets it, unless something laid over it does."""
    files: dict[str, str] = {}
    tree = composition.variants[0][1].tree
    for group, choice in composition.choices.items():
        for name in choice if isinstance(choice, list) else tree.get(group, {}):
            file = path.unit_file(group, name if isinstance(choice, list) else str(choice))
            files[f"{group}.{name}"] = str(file)
    for key in composition.variants[0][1].inner:
        block = composition.variants[0][1].get(key)
        if isinstance(block, Mapping) and NAME in block:
            file = path.unit_file(key.partition(".")[0], str(block[NAME]))
            files |= {f"{key}.{name}": str(file) for name in block}
    return files
