"""What is wrong with an override that Hydra's grammar refuses, in words for who typed it, and what was meant.

Hydra's own messages name tokens of its parser. The mistakes that people make are few: here each is a function that
looks for it, and the first that finds something speaks.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from rnnsweep.errors import ConfigError, nearest

COMMAND_LINE = "command line"
ALLOWED = "key=value, +controllers=NAME, ~controllers.NAME"

FORMS = {
    "interval": "interval(LOW,HIGH)",
    "choice": "choice(A,B,...)",
    "range": "range(FIRST,END,STEP)",
    "tag": "tag(log,interval(LOW,HIGH))",
    "int": "int(interval(LOW,HIGH))",
}
"""Functions of the override grammar that make a search range."""
_OTHER_NAMES = {
    "log": "tag",
    "loguniform": "tag",
    "log_uniform": "tag",
    "uniform": "interval",
    "float": "interval",
    "randint": "int",
    "integer": "int",
    "values": "choice",
    "grid": "choice",
}
"""What other programs call them."""

_KEY = re.compile(r"[+~]{0,2}[A-Za-z_]\w*([.@/:-]\w+)*")
_OTHER_SIGN = re.compile(rf"(?P<key>{_KEY.pattern}?)(\s*:=?\s*|\s+)(?P<value>\S.*)")
_TEXT = re.compile(r"""'(\\.|[^'\\])*'|"(\\.|[^"\\])*\"""")
_CALL = re.compile(r"while evaluating '([A-Za-z_]\w*)\(")
_PLAIN = re.compile(r"[A-Za-z0-9 /\\+.$%*@?|_,:()\[\]{}-]")
_SQUARE = re.compile(rf"\b({'|'.join(FORMS)})\[([^\]]*)\]")
_CLOSED_BY = {"(": ")", "[": "]", "{": "}"}


class Mistake(NamedTuple):
    """A mistake.

    Attributes:
        problem: what and where.
        meant: the form that was meant, if it can be told.
        allowed: what there is, where it cannot.
    """

    problem: str
    meant: str | None = None
    allowed: str = ALLOWED


def mistyped(text: str, complaint: str, before: str = "", after: Sequence[str] = ()) -> ConfigError:
    """The error for an override that the grammar refuses.

    Args:
        text: as typed.
        complaint: Hydra's, first line.
        before: the argument that was typed before it.
        after: those after it; blanks around ``=`` make three arguments of one.
    """
    looks: Sequence[Callable[[], Mistake | None]] = (
        lambda: _equals(text, before, after),
        lambda: _key(text),
        lambda: _doubled(text),
        lambda: _square(text),
        lambda: _brackets(text),
        lambda: _function(text, complaint),
    )
    mistake = next((mistake for look in looks if (mistake := look())), None) or _quotes_missing(text)
    allowed = None if mistake.meant else mistake.allowed
    return ConfigError(mistake.problem, key=text, allowed=allowed, hint=mistake.meant, file=COMMAND_LINE)


def _equals(text: str, before: str, after: Sequence[str]) -> Mistake | None:
    """No ``=`` at all: forgotten, another sign instead, or blanks around it that the shell has split at."""
    if "=" in text and text.strip("= "):
        return None
    key = text.strip("= ")
    following = next((word for word in after if word != "="), "")
    if before.endswith("="):
        return Mistake("blanks around =", f"{before}{key}")
    if after and after[0].startswith("="):
        return Mistake("blanks around =", f"{key}={following.strip('= ') or 'VALUE'}")
    if sign := _OTHER_SIGN.fullmatch(key):
        return Mistake("no = between key and value", f"{sign['key']}={sign['value']}")
    if not _KEY.fullmatch(key):
        return Mistake("no = between key and value")
    if following and "=" not in following:
        return Mistake("no = between key and value", f"{key}={following}")
    if "." in key:
        return Mistake("no = between key and value", f"{key}=VALUE")
    # a word alone: a key whose value is missing, or a name for the sweep, as other programs take one
    meant = f"Did you mean '{key}=VALUE', or 'name={key}' for a sweep of that name?"
    return Mistake("no = between key and value", meant)


def _key(text: str) -> Mistake | None:
    key, _, value = text.partition("=")
    if not key.strip():
        return Mistake("no key before the =")
    if _KEY.fullmatch(key):
        return None
    tidy = re.sub(r"\.{2,}", ".", re.sub(r"^([+~]*)\s*", r"\1", key.strip().lstrip("-")).strip("."))
    problem = "an override has no dashes" if key.startswith("-") else "blanks around ="
    if key.strip() == key and not key.startswith("-"):
        bad = next((at for at, char in enumerate(key) if not (char.isalnum() or char in "_+~")), 0)
        problem = f"no key is written like this (see character {bad + 1})"
    return Mistake(problem, f"{tidy}={value.strip() or 'VALUE'}" if _KEY.fullmatch(tidy) else None)


def _doubled(text: str) -> Mistake | None:
    key, _, value = text.partition("=")
    return Mistake("= stands twice", f"{key}={value.lstrip('= ')}") if value.startswith("=") else None


def _square(text: str) -> Mistake | None:
    if not _SQUARE.search(text):
        return None
    return Mistake("a range has round brackets", _SQUARE.sub(r"\1(\2)", text))


def _brackets(text: str) -> Mistake | None:
    """Brackets and quotes that do not pair; characters count from 1."""
    bare = _TEXT.sub(lambda quoted: "_" * len(quoted[0]), text)
    if quote := re.search("['\"]", bare):
        problem = f"the {quote[0]} at character {quote.start() + 1} begins a text that never ends"
        return Mistake(problem, text + quote[0] if text[quote.start() - 1] in "=,([{ " else _quoted(text))
    opened: list[int] = []
    for at, char in enumerate(bare):
        if char in _CLOSED_BY:
            opened.append(at)
        elif char in _CLOSED_BY.values():
            if not opened:
                return Mistake(f"nothing opens the {char} at character {at + 1}", text[:at] + text[at + 1 :])
            start = opened.pop()
            right = _CLOSED_BY[bare[start]]
            if char != right:
                problem = f"the {char} at character {at + 1} cannot close the {bare[start]} at character {start + 1}"
                return Mistake(problem, text[:at] + right + text[at + 1 :])
    if not opened:
        return None
    closing = "".join(_CLOSED_BY[bare[at]] for at in reversed(opened))
    return Mistake(f"the {bare[opened[-1]]} at character {opened[-1] + 1} is never closed", text + closing)


def _function(text: str, complaint: str) -> Mistake | None:
    """A function that does not exist or takes other arguments."""
    call = _CALL.search(complaint)
    if call is None:
        return None
    name, at = call[1], text.find(f"{call[1]}(", text.find("=")) + 1
    if "Unknown function" not in complaint and name in FORMS:
        return Mistake(f"{name} takes other arguments (see character {at})", FORMS[name])
    known = _OTHER_NAMES.get(name.lower()) or nearest(name.lower(), FORMS)
    problem = f"there is no function '{name}' (see character {at})"
    return Mistake(problem, FORMS[known] if known else None, ", ".join(FORMS.values()))


def _quotes_missing(text: str) -> Mistake:
    """What is left: a character that only stands in quotes."""
    start = text.find("=") + 1
    at = next((at for at, char in enumerate(text) if at >= start and not _PLAIN.fullmatch(char)), None)
    where = "" if at is None else f" (see {text[at]!r} at character {at + 1})"
    if ";" in where and "(" in text[start:]:
        return Mistake(f"commas stand between values{where}", text.replace(";", ","))
    return Mistake(f"its value needs quotes{where}", _quoted(text))


def _quoted(text: str) -> str:
    """The override with its value in quotes; of a list without quotes, those of its entries that need them."""
    key, _, value = text.partition("=")
    if value.startswith("[") and value.endswith("]") and not set(value[1:-1]) & set("[](){}\"'"):
        entries = [entry.strip() for entry in value[1:-1].split(",")]
        marked = [entry if all(map(_PLAIN.fullmatch, entry)) else f'"{entry}"' for entry in entries]
        return f"{key}=[{','.join(marked)}]"
    mark = "'" if '"' in value else '"'
    return f"{key}={mark}{value}{mark}"
