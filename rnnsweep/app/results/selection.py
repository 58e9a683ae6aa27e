"""Which entries of a table are wanted, in which order, with which columns: `--where`, `--sort`, `--columns`.

An entry is a row of `rnnsweep table --json`; its columns are its own fields and its searched keys, by their full name
or by any end of it that only one of them has: ``threshold`` for ``controllers.clip.threshold``. Every head that the
printed table shows is such a name.
"""

from __future__ import annotations

import csv
import io
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.states import TrialState

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
RUN_ID = "mlflow_run_id"
HEADS = {"solved at": "solved_at", "diverged at": "diverged_at", "note": "reason"}
"""Heads of the printed table that are not the column's own name."""

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
_EQUALITIES = ("=", "==", "!=")
_EMPTY = ("", "none", "null", "–", "-")


def grown_keys(entries: Sequence[Entry]) -> list[str]:
    """Keys whose values change while trials train, see `sweep.fidelity`."""
    return list(dict.fromkeys(key for entry in entries for key in entry.get("fidelity", ())))


def searched_keys(entries: Sequence[Entry]) -> list[str]:
    """Searched keys of all entries, in the order of the space, behind `grown_keys`."""
    return list(dict.fromkeys([*grown_keys(entries), *(key for entry in entries for key in entry["params"])]))


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
    """The column that a name means: its own, any end of it, or the head that the printed table gives it.

    Raises:
        ConfigError: none, or more than one; `option` is to blame.
    """
    known = [*FIELDS, *searched_keys(entries), RUN_ID]
    plain = HEADS.get(name.lower(), name)
    if plain in known:
        return plain
    matches = _matches(plain, known) or [key for key in known if _matches(plain.lower(), [key.lower()])]
    if len(matches) == 1:
        return matches[0]
    problem = "means more than one column" if matches else "no such column"
    hint = None if matches else nearest(plain, [*known, *short_names(searched_keys(entries)).values()])
    raise ConfigError(problem, key=option, value=name, allowed=matches or known, hint=hint)


def value_of(entry: Entry, column: str) -> Any:
    """What an entry has in a column; None where it has nothing."""
    if column in FIELDS or column == RUN_ID:
        return entry[column]
    return {**entry["params"], **entry.get("fidelity", {})}.get(column)


def where(entries: Sequence[Entry], conditions: Sequence[str]) -> list[Entry]:
    """Entries that meet all conditions; one whose value is missing meets only ``=none``, and every ``!=``.

    Args:
        entries: rows of the table.
        conditions: each a column, a comparison and a value: ``state=COMPLETE``, ``objective<0.1``, ``solved_at!=none``.

    Raises:
        ConfigError: not of that form, no such column, or a value that the column's kind cannot be compared with.
    """
    kept = list(entries)
    for text in conditions:
        column, comparison, wanted = _condition(text, entries)
        _check_value(text, comparison, wanted, _words(column, entries), _numbers(column, entries))
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


def _words(column: str, entries: Sequence[Entry]) -> Sequence[str] | None:
    """The words that a column may have; none where it has numbers only, None where any word will do."""
    if column == "state":
        return [state.value for state in TrialState]
    if column in FIELDS or column == RUN_ID:
        return None if column in ("reason", RUN_ID) else []
    values = [value for entry in entries if (value := value_of(entry, column)) is not None]
    if any(isinstance(value, str) for value in values):
        return None
    return ["true", "false"] if any(isinstance(value, bool) for value in values) else []


def _numbers(column: str, entries: Sequence[Entry]) -> bool:
    """Whether a column has numbers; one of choices may have words as well."""
    if column in FIELDS or column == RUN_ID:
        return column not in ("state", "reason", RUN_ID)
    values = [value_of(entry, column) for entry in entries]
    return any(isinstance(value, int | float) and not isinstance(value, bool) for value in values)


def _check_value(text: str, comparison: str, wanted: str, words: Sequence[str] | None, numbers: bool) -> None:
    """Refuse what no value of the column could meet, whatever the trials had brought."""
    if comparison not in _EQUALITIES:
        if not numbers:
            raise ConfigError("words have no order", key="--where", value=text, allowed="=, !=")
        if _number(wanted) is None:
            raise ConfigError(f"'{wanted}' is no number", key="--where", value=text, allowed="a number")
        return
    if (
        words is None
        or wanted.lower() in (*_EMPTY, *map(str.lower, words))
        or (numbers and _number(wanted) is not None)
    ):
        return
    allowed = [*(["a number"] if numbers else []), *words, "none"]
    problem = f"'{wanted}' is nothing that this column has"
    raise ConfigError(problem, key="--where", value=text, allowed=allowed, hint=nearest(wanted.upper(), words))


def _number(text: str) -> float | None:
    """The number that a text says; NaN is none, as it is neither more nor less than anything."""
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _meets(value: Any, comparison: str, wanted: str) -> bool:
    missing, empty = value is None or value == "", wanted.lower() in _EMPTY
    if missing or empty:
        same = missing and empty
        return same if comparison in ("=", "==") else not same if comparison == "!=" else False
    compare, number = _COMPARISONS[comparison], _number(wanted)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        # among choices that are numbers and words, a number is no word
        return comparison == "!=" if number is None else compare(float(value), number)
    if comparison not in _EQUALITIES:  # and a word is neither more nor less than a number
        return False
    return compare(str(value).lower(), wanted.lower())


def sort(entries: Sequence[Entry], name: str | None, among: Sequence[Entry] | None = None) -> list[Entry]:
    """Entries by a column, ascending; a name with ``-`` in front sorts downwards. Missing values come last.

    Args:
        entries: rows of the table.
        name: the column; None: as they are.
        among: all rows, if `entries` are some of them, which may lack the column.

    Raises:
        ConfigError: no such column.
    """
    if name is None:
        return list(entries)
    downwards = name.startswith("-")
    column = column_of(name.removeprefix("-"), entries if among is None else among, "--sort")
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
    named = list(columns) or [*FIELDS, *searched_keys(entries), RUN_ID]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(named)
    for entry in entries:
        values = (value_of(entry, name) for name in named)
        writer.writerow(["" if value is None else value for value in values])
    return text.getvalue()
