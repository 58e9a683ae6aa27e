"""Errors that users meet: they carry data, build their own message and survive pickling.

Exit codes of the command line hang on the class: see `RnnsweepError.exit_code`.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence

_LONGEST = 400
"""Characters of a key or value that an error repeats."""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class RnnsweepError(Exception):
    """Base of all errors that rnnsweep raises on purpose.

    Attributes:
        exit_code: what the command line returns for it.
    """

    exit_code = 1

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the constructor's arguments, whatever the message says."""
        # Exception's own would call the constructor with the message alone, which most of ours do not take: Ray and
        # process pools would lose the error.
        return (_rebuild, (type(self), dict(self.__dict__), self.args))


def _rebuild(kind: type[RnnsweepError], state: dict[str, object], args: tuple[object, ...]) -> RnnsweepError:
    # without __init__, which would build the message again
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that `name` was most likely meant to be, or None.

    Example:
        >>> nearest("tresh", ["threshold", "weight"])
        'threshold'
        >>> nearest("LSTM", ["gru", "lstm"])
        'lstm'
    """
    lower = {one.lower(): one for one in known}  # capitals are no mistake worth another name
    matches = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.5)
    return lower[matches[0]] if matches else None


def printable(text: str) -> str:
    """A text without characters that a terminal would obey: each is shown as its number.

    Example:
        >>> print(printable("red" + chr(27) + "[31m"))
        red<1b>[31m
    """
    return _CONTROL.sub(lambda match: f"<{ord(match.group()):02x}>", text)


def _short(text: str) -> str:
    """The text, its middle left out where it is too long for an error's line."""
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


class ConfigError(RnnsweepError):
    """Wrong input: names the file, the key, the value and what is allowed. Nothing was written.

    Attributes:
        problem: what is wrong, in a few words.
        key: dotted configuration key, if one is to blame.
        value: the offending value; None where there is none.
        allowed: what would be right, in words or as a list.
        file: where the value came from (a path, or "command line").
        hint: the nearest known name, or what to do.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        key: str | None = None,
        value: object = None,
        allowed: str | Sequence[object] | None = None,
        file: str | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem, self.key, self.value = problem, key, value
        self.allowed, self.file, self.hint = allowed, file, hint
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [f"{self.file}: " if self.file else ""]
        if self.key is not None:
            key = _short(self.key)
            parts.append(f"{key}={_short(repr(self.value))}: " if self.value is not None else f"{key}: ")
        parts.append(self.problem)
        if self.allowed is not None:
            words = self.allowed if isinstance(self.allowed, str) else ", ".join(map(str, self.allowed))
            parts.append(f"; allowed: {words}")
        if self.hint:
            parts.append(f". {self.hint}" if self.hint.endswith((".", "?")) else f". Did you mean '{self.hint}'?")
        # the whole line: value, key and file may all come from a file that somebody else wrote
        return printable("".join(parts))


def with_source(error: ConfigError, origin: Mapping[str, str], otherwise: str) -> ConfigError:
    """The same error with the file that its key was set in, or else `otherwise`."""
    if error.file:
        return error
    parts = (error.key or "").split(".")
    # the longest known prefix: a check may name a key below the one that was written
    keys = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    source = next((origin[key] for key in keys if key in origin), otherwise or None)
    renamed = ConfigError(
        error.problem, key=error.key, value=error.value, allowed=error.allowed, hint=error.hint, file=source
    )
    renamed.__cause__ = error.__cause__
    return renamed


class ConfigWarning(UserWarning):
    """Something in a config is allowed but does nothing: an arm without effect, a key that nobody reads."""


class HyperparameterError(ConfigError):
    """Some row's hyperparameter is out of its range; carries the rows.

    Attributes:
        rows: indices of the offending rows in their pack.
    """

    def __init__(self, key: str, value: object, allowed: str, rows: Sequence[int] = ()) -> None:
        self.rows = tuple(rows)
        suffix = f" (rows {', '.join(map(str, self.rows))})" if self.rows else ""
        super().__init__(f"out of range{suffix}", key=key, value=value, allowed=allowed)


class LockedError(RnnsweepError):
    """Another driver holds the sweep."""

    exit_code = 4

    def __init__(self, sweep: str, holder: str) -> None:
        self.sweep, self.holder = sweep, holder
        super().__init__(f"sweep '{sweep}' is held by another driver ({holder})")


class SweepInterrupted(KeyboardInterrupt):
    """Ctrl-C at a moment when no driver heeds it, in a sweep that the store has: it can be resumed.

    Attributes:
        command: what goes on with it.
    """

    def __init__(self, command: str) -> None:
        self.command = command
        super().__init__(f"interrupted; go on with: {command}")

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the command, not from the message."""
        return (type(self), (self.command,))


class StoreError(RnnsweepError):
    """A store (ledger, MLflow, Optuna mirror, checkpoints) cannot be reached or refuses a write."""

    def __init__(self, store: str, reason: str) -> None:
        self.store, self.reason = store, reason
        super().__init__(f"{store}: {reason}")


class FencedError(StoreError):
    """This driver's fencing token is no longer the newest: another driver has taken the sweep over."""

    exit_code = 4

    def __init__(self, sweep: str) -> None:
        self.sweep = sweep
        super().__init__("ledger", f"sweep '{sweep}' has been taken over by another driver; this one must stop")


class CheckpointError(RnnsweepError):
    """A checkpoint cannot be read: torn, of another layout, or absent."""

    def __init__(self, path: str, reason: str) -> None:
        self.path, self.reason = path, reason
        super().__init__(f"{path}: {reason}")


class SourceError(RnnsweepError):
    """The state that a row is to take over cannot be read: its checkpoint is gone or torn."""

    def __init__(self, trial: int, replica: int, rung: int) -> None:
        self.trial, self.replica, self.rung = trial, replica, rung
        super().__init__(f"no readable checkpoint of trial {trial}, replica {replica}, at rung {rung}")


class MismatchError(RnnsweepError):
    """A worker has other versions, code or data than its driver: what it trained would be of another kind.

    Attributes:
        worker: its id.
        changed: what differs, the driver's first.
    """

    def __init__(self, worker: str, changed: Sequence[str]) -> None:
        self.worker, self.changed = worker, tuple(changed)
        super().__init__(f"worker {worker} differs from its driver: {'; '.join(changed)}")


class IllegalTransition(RnnsweepError):
    """A life cycle was violated; carries the trial's own history.

    Attributes:
        history: what happened to the trial so far, oldest first.
    """

    def __init__(self, what: str, before: str, after: str, history: Sequence[str] = ()) -> None:
        self.what, self.before, self.after, self.history = what, before, after, tuple(history)
        tail = "".join(f"\n  {line}" for line in self.history)
        super().__init__(f"{what}: {before} -> {after} is not allowed{tail}")
