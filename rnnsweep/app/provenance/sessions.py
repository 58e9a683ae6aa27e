"""The ledger's record of what each session of a sweep trained under, and whether the next one may.

It stands beside the sweep's config as ``provenance``: fingerprints, each once, and the sessions in order, which name
theirs by number. A sweep of an older rnnsweep has none; what it was trained under is ``None``, unknown.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rnnsweep.app import environment
from rnnsweep.app.provenance.fingerprint import Fingerprint, differences, take
from rnnsweep.errors import ConfigError, ConfigWarning
from rnnsweep.version import __version__

if TYPE_CHECKING:
    from rnnsweep.app.config.load import SweepConfig

KEY = "provenance"
OTHERS = ("numpy", "scipy", "scikit-learn", "optuna", "cmaes")
"""Libraries whose version is noted, and warned about: they prepare data and propose points."""
UNKNOWN = "not known: an older rnnsweep wrote it"


@dataclass(frozen=True)
class Session:
    """What a driver trains under.

    Attributes:
        number: of its fingerprint, among those of the sweep.
        fingerprint: what workers must have; None trains unchecked.
        record: what the ledger keeps of this session and those before.
    """

    number: int = 0
    fingerprint: Fingerprint | None = None
    record: Mapping[str, Any] = field(default_factory=dict)


UNCHECKED = Session()
"""Of trainings without a ledger: they begin and end under the same."""


def first(config: SweepConfig) -> Session:
    """The session of a launch.

    Raises:
        ConfigError: see `fingerprint.take`.
    """
    fingerprint = take(config)
    return Session(0, fingerprint, {"fingerprints": [fingerprint.plain()], "sessions": [_note(0, [])]})


def following(config: SweepConfig, stored: Mapping[str, Any] | None, accept: bool) -> Session:
    """The session of a resume; what has changed since the last one is refused, or warned about where it is accepted.

    Args:
        config: the sweep's, as it goes on.
        stored: the record of before; None where an older rnnsweep left none.
        accept: train under what has changed.

    Raises:
        ConfigError: something that can change numbers has changed, and `accept` is False. Also see `fingerprint.take`.
    """
    record = stored or {"fingerprints": [None], "sessions": [{"fingerprint": 0}]}
    last = record["sessions"][-1]
    before = record["fingerprints"][last["fingerprint"]]
    now = take(config, before and before["data"])
    changed: list[str] = []
    if before is None:
        _warn(f"what sweep '{config.plan.name}' was trained with so far is {UNKNOWN}; from now on changes are noticed")
    else:
        changed = differences(Fingerprint(**before), now, config.cluster.py_paths)
        _warn_of(_others(last.get("others", {}), _versions()), "versions that should not change numbers differ: ")
    if changed and not accept:
        raise ConfigError(
            f"what its numbers depend on has changed: {'; '.join(changed)}",
            key="SWEEP",
            value=config.plan.name,
            hint="Put it back, or go on with --accept-changes: trials trained with both are marked then.",
        )
    fingerprints = [*record["fingerprints"]]
    number = _number(fingerprints, now)
    # also where it is an old one: times of data files may be newer, and spare the next resume the reading
    fingerprints[number:] = [now.plain(), *fingerprints[number + 1 :]]
    _warn_of(changed, f"goes on with changes (fingerprint {number}): ")
    sessions = [*record["sessions"], _note(number, changed)]
    return Session(number, now, {"fingerprints": fingerprints, "sessions": sessions})


def _number(fingerprints: Sequence[Mapping[str, Any] | None], now: Fingerprint) -> int:
    """The number of an equal one that the sweep knows, or the next."""
    for number, known in enumerate(fingerprints):
        if known is not None and Fingerprint(**known).identity == now.identity:
            return number
    return len(fingerprints)


def _note(number: int, changed: Sequence[str]) -> dict[str, Any]:
    return {
        "at": time.time(),
        "fingerprint": number,
        "changed": list(changed),
        "others": _versions(),
        "processor": environment.processor(),
    }


def _versions() -> dict[str, str]:
    return {"rnnsweep": __version__, **{name: environment.version_of(name) for name in OTHERS}}


def _others(before: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    changed = [(name, before[name], version) for name, version in now.items() if before.get(name, version) != version]
    return [f"{name} {old} -> {new}" for name, old, new in changed]


def _warn_of(changes: Sequence[str], head: str) -> None:
    if changes:
        _warn(head + "; ".join(changes))


def _warn(line: str) -> None:
    warnings.warn(line, ConfigWarning, stacklevel=4)


def warn_of_data(record: Mapping[str, Any] | None) -> None:
    """Warn where data files are no longer those of the last session.

    A network of before that is used now gets its alphabet, the names of its classes or its scale from them.
    """
    from rnnsweep.app.provenance.data_files import entry  # needs torch

    last = record["fingerprints"][record["sessions"][-1]["fingerprint"]] if record else None
    known: Mapping[str, Any] = last["data"] if last else {}
    now = {name: entry(name, kept) for name, kept in known.items()}
    changed = [name for name, kept in known.items() if now[name]["sha256"] != kept["sha256"]]
    if changed:
        _warn(f"data have changed since the network was trained with them: {', '.join(changed)}")


def history(record: Mapping[str, Any] | None) -> list[str]:
    """One line for each time that something changed: which fingerprint it led to, and what it was."""
    record = record or {"fingerprints": [], "sessions": []}
    lines = [f"{number}: {UNKNOWN}" for number, known in enumerate(record["fingerprints"]) if known is None]
    for session in record["sessions"]:
        if session.get("changed"):
            lines.append(f"{session['fingerprint']}: {'; '.join(session['changed'])}")
    return lines
