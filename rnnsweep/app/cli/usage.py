"""Options and arguments that a command does not take, as one line in the form of all other errors."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from typing import Any

import typer

from rnnsweep.errors import ConfigError, nearest

UsageError: type[Exception] = typer.BadParameter.__mro__[1]
"""Base of what the parser raises; typer has no name for it, and its class lies in another package in some versions."""

SURE, LIKELY = 0.75, 0.5
"""How alike an option must be to a word to be what was meant: more where it may also be an override with dashes."""
_OVERRIDES = ("overrides", "budget")


def unknown_command(name: str, commands: Sequence[str]) -> ConfigError:
    """The error for a command that there is not."""
    return ConfigError("unknown command", key="COMMAND", value=name, allowed=commands, hint=nearest(name, commands))


def usage_error(error: Any) -> ConfigError:
    """The parser's error in our words.

    Args:
        error: a `UsageError`; what kind it is shows by what it carries.
    """
    command = error.ctx.command if error.ctx is not None else None
    parameters = command.params if command is not None else []
    if getattr(error, "param", None) is not None:
        return _bad_value(error) if error.message else _missing(error, parameters)
    if hasattr(error, "possibilities"):
        return _unknown_option(error.option_name, parameters)
    problem = str(error.message).splitlines()[0].rstrip(".").replace("(s)", "s")
    if name := getattr(error, "option_name", None):  # a value is missing, or one is given to what takes none
        return ConfigError(problem.replace(f"Option '{name}' ", ""), key=name)
    return ConfigError(problem[:1].lower() + problem[1:], key=_name(error), hint=_usage(error, parameters))


def _unknown_option(name: str, parameters: Sequence[Any]) -> ConfigError:
    options = [option for parameter in parameters for option in parameter.opts if option.startswith("-")]
    takes_overrides = any(parameter.name in _OVERRIDES for parameter in parameters)
    matches = difflib.get_close_matches(name, options, n=1, cutoff=SURE if takes_overrides else LIKELY)
    hint = matches[0] if matches else None
    if hint is None and takes_overrides:
        hint = f"Overrides have no dashes: {name.lstrip('-')}=VALUE."
    return ConfigError("no such option", key=name, allowed=[*options, "--help"], hint=hint)


def _missing(error: Any, parameters: Sequence[Any]) -> ConfigError:
    return ConfigError("is missing", key=_label(error.param), hint=_usage(error, parameters))


def _bad_value(error: Any) -> ConfigError:
    cause = error.__cause__
    details = cause.errors()[0] if hasattr(cause, "errors") else {}
    kind, limits = str(details.get("type", "")), details.get("ctx", {})
    problem, allowed = str(error.message).splitlines()[0].rstrip("."), None
    if kind.startswith("int"):
        problem, allowed = "no whole number", "a whole number"
    elif "ge" in limits or "le" in limits:
        problem = "out of range"
        allowed = f"{limits['ge']} or more" if "ge" in limits else f"{limits['le']} or less"
    return ConfigError(problem, key=_label(error.param), value=details.get("input"), allowed=allowed)


def _label(parameter: Any) -> str:
    longest = max(parameter.opts, key=len)
    return longest if longest.startswith("-") else _metavar(parameter)


def _metavar(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _name(error: Any) -> str:
    return str(error.ctx.info_name) if error.ctx is not None else "rnnsweep"


def _usage(error: Any, parameters: Sequence[Any]) -> str:
    arguments = [_metavar(parameter) for parameter in parameters if not parameter.opts[0].startswith("-")]
    return f"Usage: {' '.join(['rnnsweep', _name(error), *arguments])}, see --help."
