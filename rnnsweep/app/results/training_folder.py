"""What `train --out` keeps while it trains, so that the same command goes on where it was interrupted.

`trial.yaml` holds the config and what the numbers depend on besides it; `reports.jsonl` grows by every rung; when the
trial has ended, `reports.json` takes its place. Checkpoints lie below `checkpoints`.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rnnsweep.errors import ConfigError
from rnnsweep.report.atomic_files import left_drafts, remove_drafts, write
from rnnsweep.sweep.rows import RowReport
from rnnsweep.sweep.states import RowState

try:
    import fcntl
except ImportError:  # Windows: nobody else is kept out
    fcntl = None

CONFIG, REPORTS, CHECKPOINTS = "trial.yaml", "reports.json", "checkpoints"
_SO_FAR = "reports.jsonl"
_FINGERPRINT = "fingerprint"
_OPTION = "--out"
_FREE = "a new or an empty folder"
_SEARCH = ("sampler", "pruner", "scheduler", "racing", "space", "objective")
_ELSEWHERE = ("name", "store", "cluster", "tracker", "notify", *_SEARCH)
"""Blocks that one training does not heed."""
_UPDATES = "budget.updates"
"""All that it heeds of its block."""


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Make the folder and keep other processes out of it, until this one ends, however it does.

    Raises:
        ConfigError: it cannot be written, or another process trains there.
    """
    above = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if not above.is_dir():
        raise ConfigError("is there already", key=_OPTION, value=str(folder), allowed=_FREE)
    if not os.access(above, os.W_OK):
        raise ConfigError("cannot be written", key=_OPTION, value=str(folder), allowed="a folder of your own")
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, folder: Path) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        allowed = "a folder of its own"
        raise ConfigError("another process trains there", key=_OPTION, value=str(folder), allowed=allowed) from None
    except OSError:  # a file system without such locks
        return


def begin(folder: Path, config: Mapping[str, Any], fingerprint: Mapping[str, Any]) -> None:
    """Write what is to be trained there, or find that just this has been begun there.

    Args:
        folder: a `held` one.
        config: as `to_json` gives it.
        fingerprint: what the numbers depend on besides, as plain data.

    Raises:
        ConfigError: it holds something else.
    """
    import yaml

    if begun(folder):
        _compare(folder, json.loads(json.dumps(dict(config))))
        return
    drafts = {draft.name for draft in left_drafts(folder)}  # of one that was killed in its first moments
    if any(path.name not in drafts for path in folder.iterdir()):
        raise ConfigError("is there already", key=_OPTION, value=str(folder), allowed=_FREE)
    remove_drafts(folder)
    plain = json.loads(json.dumps({**config, _FINGERPRINT: fingerprint}))  # tuples become lists, which yaml can say
    write(folder / CONFIG, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True).encode())


def begun(folder: Path) -> bool:
    """Whether a training was begun there."""
    return (folder / CONFIG).is_file()


def ended(folder: Path) -> bool:
    """Whether the training there came to its end."""
    return (folder / REPORTS).is_file()


def fingerprint_of(folder: Path) -> Mapping[str, Any] | None:
    """What a training that was begun there depends on; None where an older rnnsweep did not say."""
    return read_config(folder).get(_FINGERPRINT)


def read_config(folder: Path) -> dict[str, Any]:
    """The config that was begun there, as `to_json` gave it.

    Raises:
        ConfigError: there is none.
    """
    import yaml

    with _readable(folder):
        config = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise TypeError
        return config


def _compare(folder: Path, config: Mapping[str, Any]) -> None:
    """Refuse another config than the one that was begun there; the first key that differs is named."""
    there, here = (_decisive(one) for one in (read_config(folder), config))
    for key in {**there, **here}:
        if there.get(key) != here.get(key):
            problem = f"holds a training with {key}={there.get(key)}, not {here.get(key)}"
            allowed = f"{_FREE}, or the config that it was begun with"
            raise ConfigError(problem, key=_OPTION, value=str(folder), allowed=allowed)


def _decisive(config: Mapping[str, Any]) -> dict[str, Any]:
    """Dotted key -> value of all that the training of the base point heeds."""
    try:
        resolved = config["variants"][0]["resolved"]
        keys = dict(_flat({key: value for key, value in resolved.items() if key not in _ELSEWHERE}))
        return {key: value for key, value in keys.items() if not key.startswith("budget.") or key == _UPDATES}
    except (KeyError, IndexError, TypeError, AttributeError):
        return {}


def _flat(tree: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and value:
            yield from _flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value


def refuse_changes(folder: Path, changes: Sequence[str]) -> None:
    """Refuse to mix what was trained with something else.

    Raises:
        ConfigError: there are `changes`.
    """
    if changes:
        problem = f"what its numbers depend on has changed since it was begun: {'; '.join(changes)}"
        raise ConfigError(problem, key=_OPTION, value=str(folder), allowed=_FREE)


class ReportFile:
    """The reports of a folder, by rung and replica; it grows with the training."""

    def __init__(self, folder: Path) -> None:
        """Read what is there."""
        self._folder, self._reports = folder, dict[tuple[int, int], RowReport]()
        file = folder / _SO_FAR
        whole: list[str] = []
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines() if file.is_file() else []
        for line in lines:
            try:
                self._take(_report(json.loads(line)))
            except (ValueError, TypeError, KeyError):  # torn: its process was killed, and its rung is trained again
                break
            whole.append(line + "\n")
        if len(whole) < len(lines):
            write(file, "".join(whole).encode())  # what is appended to a torn line would be lost with it

    def __iter__(self) -> Iterator[RowReport]:
        return iter([self._reports[key] for key in sorted(self._reports)])

    def __len__(self) -> int:
        return len(self._reports)

    def _take(self, report: RowReport) -> None:
        self._reports[report.rung, report.replica] = report

    def add(self, reports: Iterable[RowReport]) -> list[RowReport]:
        """Keep those that are new; returns them."""
        new = [report for report in reports if (report.rung, report.replica) not in self._reports]
        with (self._folder / _SO_FAR).open("a", encoding="utf-8") as file:
            for report in new:
                self._take(report)
                file.write(json.dumps(_plain(report), allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())  # a checkpoint carries its own rung's report only, none of those before
        return new

    def finish(self) -> None:
        """Nothing follows any more."""
        save_reports(self, self._folder)
        (self._folder / _SO_FAR).unlink(missing_ok=True)


def save_reports(reports: Iterable[RowReport], folder: Path) -> None:
    """Write them as JSON; metrics are finite, so that every reader takes them."""
    data = [_plain(report) for report in reports]
    write(folder / REPORTS, json.dumps(data, indent=1, allow_nan=False).encode())


def read_reports(folder: Path) -> list[RowReport]:
    """The reports of a training that came to its end.

    Raises:
        ConfigError: there are none.
    """
    with _readable(folder):
        return [_report(data) for data in json.loads((folder / REPORTS).read_text(encoding="utf-8"))]


def _plain(report: RowReport) -> dict[str, Any]:
    return {**dataclasses.asdict(report), "state": report.state.value}


def _report(data: Mapping[str, Any]) -> RowReport:
    return RowReport(**{**data, "state": RowState(data["state"])})


@contextmanager
def _readable(folder: Path) -> Iterator[None]:
    """Say in one line why a folder cannot be read as one of a training."""
    import yaml

    try:
        yield
    except (OSError, ValueError, TypeError, KeyError, yaml.YAMLError) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        hint = "It is made by rnnsweep train --out FOLDER."
        raise ConfigError(f"holds no trained trial: {reason}", key="folder", value=str(folder), hint=hint) from None
