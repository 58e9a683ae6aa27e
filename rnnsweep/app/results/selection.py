"""Which entries of a table are wanted, in which order, with which columns: `--where`, `--sort`, `--columns`.

An entry is a row of `rnnsweep table --json`; its columns are its own fields and its searched keys, by their full name
or by any end of it that only one of them has: ``threshold`` for ``controllers.clip.threshold``.
"""

from __future__ import annotations

import csv
import io
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnsweep.errors import ConfigError, nearest

Entry = Mapping[str, Any]

FIELDS = (
    "trial",
    "state",
    "step",
    "objective",
    "value",
    "solved_at",
    "diverged_at",
    "attempts",
    "reason",
    "fingerprints",
)

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "==": operator.eq,
    "=": operator.eq,
    "<": operator.lt,
    ">": operator.gt,
}
"""Longer ones first: ``<=`` is not ``<`` with a value that begins with ``=``."""
_EMPTY = ("", "none", "null", "–")


def searched_keys(entries: Sequence[Entry]) -> list[str]:
    """Searched keys of all entries, in the order of the space."""
    return list(dict.fromkeys(key for entry in entries for key in entry["params"]))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Each key's shortest end, in whole words, that no other key or field has.

    Example:
        >>> short_names(["controllers.clip.threshold", "init.sigma", "controllers.l1.weight", "controllers.l2.weight"])
        {'controllers.clip.threshold': 'threshold', 'init.sigma': 'sigma',
         'controllers.l1.weight': 'l1.weight', 'controllers.l2.weight': 'l2.weight'}
    """
    return {key: next((end for end in _ends(key) if _matches(end, [*FIELDS, *keys]) == [key]), key) for key in keys}


def _ends(key: str) -> list[str]:
    words = key.split(".")
    return [".".join(words[-count:]) for count in range(1, len(words) + 1)]


def _matches(name: str, known: Sequence[str]) -> list[str]:
    return [key for key in known if key == name or key.endswith(f".{name}")]


def column_of(name: str, entries: Sequence[Entry], option: str) -> str:
    """The column that a name means.

    Raises:
        ConfigError: none, or more than one; `option` is to blame.
    """
    known = [*FIELDS, *searched_keys(entries)]
    if name in known:
        return name
    matches = _matches(name, known)
    if len(matches) == 1:
        return matches[0]
    problem = "means more than one column" if matches else "no such column"
    raise ConfigError(problem, key=option, value=name, allowed=matches or known, hint=nearest(name, known))


def value_of(entry: Entry, column: str) -> Any:
    """What an entry has in a column; None where it has nothing."""
    return entry[column] if column in FIELDS else entry["params"].get(column)


def where(entries: Sequence[Entry], conditions: Sequence[str]) -> list[Entry]:
    """Entries that meet all conditions; one whose value is missing meets only ``=none``, and every ``!=``.

    Args:
        entries: rows of the table.
        conditions: each a column, a comparison and a value: ``state=COMPLETE``, ``objective<0.1``, ``solved_at!=none``.

    Raises:
        ConfigError: not of that form, or no such column.
    """
    kept = list(entries)
    for text in conditions:
        column, comparison, wanted = _condition(text, entries)
        kept = [entry for entry in kept if _meets(value_of(entry, column), comparison, wanted)]
    return kept


def _condition(text: str, entries: Sequence[Entry]) -> tuple[str, str, str]:
    places = [(text.find(sign), -len(sign), sign) for sign in _COMPARISONS if sign in text]
    if not places:
        allowed = "COLUMN=VALUE, or one of != < <= > >= in between"
        raise ConfigError("no condition", key="--where", value=text, allowed=allowed)
    start, _, sign = min(places)
    column = column_of(text[:start].strip(), entries, "--where")
    return column, sign, text[start + len(sign) :].strip()


def _meets(value: Any, comparison: str, wanted: str) -> bool:
    if value is None or wanted.lower() in _EMPTY:
        same = value is None and wanted.lower() in _EMPTY
        return same if comparison in ("=", "==") else not same if comparison == "!=" else False
    compare = _COMPARISONS[comparison]
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return compare(float(value), float(wanted))
        except ValueError:  # a number is no word, neither more nor less than it
            return comparison == "!="
    return compare(str(value).lower(), wanted.lower())


def sort(entries: Sequence[Entry], name: str | None) -> list[Entry]:
    """Entries by a column, ascending; a name with ``-`` in front sorts downwards. Missing values come last.

    Raises:
        ConfigError: no such column.
    """
    if not name:
        return list(entries)
    downwards, column = name.startswith("-"), column_of(name.removeprefix("-"), entries, "--sort")
    have = [entry for entry in entries if _comparable(value_of(entry, column)) is not None]
    rest = [entry for entry in entries if _comparable(value_of(entry, column)) is None]
    # Numbers stand before words: a column of choices may mix them.
    have.sort(key=lambda entry: _comparable(value_of(entry, column)) or (0, 0.0, ""), reverse=downwards)
    return [*have, *rest]


def _comparable(value: Any) -> tuple[int, float, str] | None:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, (int, float)):
        return (0, float(value), "")
    return (1, 0.0, str(value))


def as_csv(entries: Sequence[Entry], columns: Sequence[str] = ()) -> str:
    """Entries as comma-separated values, numbers in full; all columns where none are named."""
    named = list(columns) or [*FIELDS, *searched_keys(entries), "mlflow_run_id"]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(named)
    for entry in entries:
        values = (entry.get(name) if name == "mlflow_run_id" else value_of(entry, name) for name in named)
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()
