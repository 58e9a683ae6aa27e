"""What numbers depend on besides the config: versions, code, data; taken now, and compared with another time."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app import environment
from rnnsweep.app.provenance.sources import DECISIVE, SourceFiles, digest_of, own_code, targets
from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.app.config.load import SweepConfig

SEARCHING = ("sampler", "pruner", "scheduler")
"""Groups that decide what is trained and how far, in the driver alone; the others take part in training."""
IDLE = ("tracker", "notify", "store", "cluster", "space", *SEARCHING)
"""Blocks without a unit that trains."""

Names = Mapping[str, str]
ABSENT = "absent"


@dataclass(frozen=True)
class Fingerprint:
    """What can change numbers.

    Attributes:
        versions: of the interpreter (minor) and of the libraries that compute.
        code: digest of rnnsweep's own code that makes numbers.
        units: digests of the source of the units that train, and of what they import, by module.
        search: the same of sampler, pruner and scheduler.
        data: what is known of each data file, see `data_files.Entry`.
    """

    versions: Names
    code: str
    units: Names
    search: Names
    data: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As the ledger keeps it."""
        return asdict(self)

    @property
    def identity(self) -> tuple[Any, ...]:
        """What two fingerprints under which numbers are the same have in common."""
        public = {name: _public(version) for name, version in self.versions.items()}
        data = {name: entry["sha256"] for name, entry in self.data.items()}
        return public, self.code, dict(self.units), dict(self.search), data


def take(config: SweepConfig, known: Mapping[str, Mapping[str, Any]] | None = None) -> Fingerprint:
    """The fingerprint that a sweep would be trained under now.

    Args:
        config: the sweep's.
        known: entries of its data files from before, see `data_files.entries`.

    Raises:
        ConfigError: a task's files are gone or broken; something has changed after this process imported or read it.
    """
    from rnnsweep.app.provenance.data_files import entries, tasks_of  # needs torch

    sources = SourceFiles(config.cluster.py_paths)
    training: set[str] = set()
    searching: set[str] = set()
    for variant in config.variants:
        training |= targets(variant.resolved, set(variant.resolved) - set(IDLE))
        searching |= targets(variant.resolved, SEARCHING)
    data = entries(tasks_of(config.variants, config.plan.space, config.plan.enqueue), known or {})
    for name, entry in data.items():
        _check_unmoved(name, name, entry["sha256"], "read")
    return Fingerprint(versions(), own_code(), _digests(sources, training), _digests(sources, searching), data)


def here(expected: Fingerprint, py_paths: Sequence[str]) -> Fingerprint:
    """What a worker that was sent `expected` would train under: the same modules and files as they are here."""
    from rnnsweep.app.provenance.data_files import entry

    sources, units = SourceFiles(py_paths), {}
    for module in expected.units:
        sources.admit(module)
        file = sources.file_of(module)
        # one that another sweep of this worker has imported under the same name has no digest that is expected
        units[module] = ABSENT if file is None else imported_from(module, file) or digest_of(file)
    data = {name: entry(name, kept) for name, kept in expected.data.items()}
    return replace(expected, versions=versions(), code=own_code(), units=units, data=data)


def versions() -> dict[str, str]:
    """Versions of what computes."""
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return {"python": python, **{name: environment.version_of(name) for name in DECISIVE}}


_MET: dict[tuple[str, str], str] = {}
"""(module or file, file) -> digest, as this process first met them."""


def _digests(sources: SourceFiles, roots: set[str]) -> dict[str, str]:
    found = {}
    for module, file in sources.closure(roots).items():
        found[module] = digest_of(file)
        if module in sys.modules:
            _check_unmoved(module, str(file), found[module], "imported")
            if other := imported_from(module, file):
                hint = "Name one of them otherwise: a process has one module of a name."
                raise ConfigError(f"is another file in this process: {other}", key=module, file=str(file), hint=hint)
    return found


def imported_from(module: str, file: Path) -> str:
    """The file that this process has imported a module from, where that is not `file`; empty where it is."""
    there = getattr(sys.modules.get(module), "__file__", None)
    return there if there and Path(there).resolve() != file.resolve() else ""


def _check_unmoved(name: str, file: str, digest: str, how: str) -> None:
    """A process imports and reads once: it would train with the old under the name of the new."""
    if _MET.setdefault((name, file), digest) != digest:
        hint = "Start Python anew to train with it."
        raise ConfigError(f"has changed since this process {how} it", key=name, file=file, hint=hint)


def differences(before: Fingerprint, now: Fingerprint, py_paths: Sequence[str] = ()) -> list[str]:
    """What differs, a few words each; empty where numbers are the same."""
    sources = SourceFiles(py_paths)
    lines = [
        f"{name} {before.versions.get(name, ABSENT)} -> {now.versions.get(name, ABSENT)}"
        for name in {**before.versions, **now.versions}
        if _public(before.versions.get(name, ABSENT)) != _public(now.versions.get(name, ABSENT))
    ]
    if before.code != now.code:
        lines.append(f"rnnsweep's own code {_short(before.code)} -> {_short(now.code)}")
    for old, new in ((before.units, now.units), (before.search, now.search)):
        lines += [f"{sources.file_of(name) or name} {change}" for name, change in _changed(old, new)]
    old, new = ({name: entry["sha256"] for name, entry in one.data.items()} for one in (before, now))
    return lines + [f"{name} {change}" for name, change in _changed(old, new)]


def _changed(old: Names, new: Names) -> list[tuple[str, str]]:
    """(name, old digest -> new one) of what is not the same, in alphabetical order."""
    pairs = [(name, old.get(name, ABSENT), new.get(name, ABSENT)) for name in sorted({**old, **new})]
    return [(name, f"{_short(one)} -> {_short(two)}") for name, one, two in pairs if one != two]


def _short(digest: str) -> str:
    return digest[:8]


def _public(version: str) -> str:
    """A version without the label of its build: ``2.9.0+cpu`` and ``2.9.0+cu128`` are one source."""
    return version.partition("+")[0]
