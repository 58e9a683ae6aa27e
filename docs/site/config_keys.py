"""The reference of all config keys, read from the yamls: keys, defaults, search ranges, and what their comments say."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

BASE = "config.yaml"
HIDDEN = ("defaults", "_target_", "_search_", "_units_")
"""Of the yamls' own machinery; `_search_` is shown as a column."""


@dataclass(frozen=True)
class Key:
    """One key of a yaml.

    Attributes:
        name: dotted, from the file's top.
        default: as written.
        meaning: its comment.
        search: what `default` means for it in a search space; empty where it has no range.
    """

    name: str
    default: str
    meaning: str
    search: str = ""


def headline(text: str) -> str:
    """The comment at the top of a yaml, in one line; empty where it has none."""
    lines = []
    for line in text.splitlines():
        if not line.startswith("#"):
            break
        lines.append(line.lstrip("# "))
    return " ".join(lines)


def keys(text: str) -> list[Key]:
    """All keys of a yaml with their comments, in its order; blocks of keys are flattened."""
    root = yaml.compose(text)
    if not isinstance(root, yaml.MappingNode):
        return []
    ranges = next((_ranges(value) for key, value in root.value if key.value == "_search_"), {})
    lines = text.splitlines()
    return [Key(key.name, key.default, key.meaning, ranges.get(key.name, "")) for key in _walk(root, "", lines)]


def _walk(node: yaml.MappingNode, prefix: str, lines: list[str]) -> Iterator[Key]:
    for key, value in node.value:
        if key.value in HIDDEN:
            continue
        name = prefix + key.value
        block = isinstance(value, yaml.MappingNode) and not value.flow_style
        comment = _comment(lines[(key if block else value).end_mark.line], (key if block else value).end_mark.column)
        if not isinstance(value, yaml.MappingNode) or not value.value:  # {} is a value
            yield Key(name, _source(value, lines), comment)
        elif value.flow_style:  # {a: 1, b: 2} # one comment for all of them
            for inner, default in value.value:
                yield Key(f"{name}.{inner.value}", _source(default, lines), comment)
        else:  # a block of keys: its comment stands behind its name
            if comment:
                yield Key(name, "", comment)
            yield from _walk(value, f"{name}.", lines)


def _source(value: yaml.Node, lines: list[str]) -> str:
    """A value as it is written; values end on the line where they begin."""
    line = lines[value.start_mark.line]
    return line[value.start_mark.column : value.end_mark.column].strip()


def _comment(line: str, start: int) -> str:
    return line[start:].partition("#")[2].strip()


def _ranges(node: yaml.Node) -> dict[str, str]:
    assert isinstance(node, yaml.MappingNode)
    return {key.value: value.value if isinstance(value, yaml.ScalarNode) else "" for key, value in node.value}


def page(conf: Path) -> str:
    """The page: the base config, then each group with its units."""
    parts = [
        "# Config keys",
        "Made from the comments in `conf/`. `rnnsweep config SWEEP` prints a sweep with everything filled in.",
        "## Every sweep",
        headline((conf / BASE).read_text(encoding="utf-8")),
        _table(keys((conf / BASE).read_text(encoding="utf-8"))),
    ]
    for folder in sorted(path for path in conf.iterdir() if path.is_dir()):
        parts.append(f"## {folder.name}")
        for file in sorted(folder.glob("*.yaml")):
            text = file.read_text(encoding="utf-8")
            parts += [f"### {folder.name}: {file.stem}", headline(text), _table(keys(text), _prefix(folder, file))]
    return "\n\n".join(part for part in parts if part) + "\n"


def _prefix(folder: Path, file: Path) -> str:
    """Controllers stand side by side, each below its own name; of every other group one unit is chosen."""
    return f"{folder.name}.{file.stem}." if folder.name == "controllers" else f"{folder.name}."


def _table(found: list[Key], prefix: str = "") -> str:
    if not found:
        return "No keys of its own."
    search = any(key.search for key in found)
    head = ["key", "default", *(["`default` in a space"] if search else []), "meaning"]
    rows = [head, ["---"] * len(head)]
    for key in found:
        middle = [_code(key.search)] if search else []
        rows.append([_code(prefix + key.name), _code(key.default), *middle, _escaped(key.meaning)])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _code(text: str) -> str:
    return "`" + text.replace("|", "\\|") + "`" if text else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_") if "`" not in text else text
