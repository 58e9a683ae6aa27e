"""Checks of machine, libraries and stores; each finding says what to do."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from rnnsweep.app import environment
from rnnsweep.app.stores import StorePlace, lost_sweeps, place
from rnnsweep.errors import RnnsweepError
from rnnsweep.wording import counted

LOW_DISK = 2 * 1024**3
LOW_SHARED = 128 * 1024**2
SKEW_S = 2.0
NETWORK = ("nfs", "cifs", "smb", "9p", "fuse.sshfs", "lustre", "afs")


@dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
        check: what was looked at.
        ok: whether all is well.
        detail: what was found.
        remedy: what to do; empty where all is well.
    """

    check: str
    ok: bool
    detail: str
    remedy: str = ""


def examine(named: StorePlace | str | None, with_ray: bool = True, repair: bool = False) -> Iterator[Finding]:
    """Run all checks, one after the other; a check that breaks is a finding too.

    Args:
        named: the store.
        with_ray: also start a private Ray.
        repair: also compare MLflow and Optuna's database with the ledger, and write what they have lost.
    """
    store_place = place(named)
    checks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("libraries", libraries),
        ("devices", devices),
        ("store", lambda: store(store_place)),
        ("databases", lambda: databases(store_place)),
        ("disk", lambda: disk(store_place)),
        ("clock", lambda: clock(store_place)),
    ]
    if repair:
        checks.append(("mirrors", lambda: mirrors(store_place)))
    if with_ray:
        checks.append(("ray", ray_starts))
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 - a doctor reports, whatever it meets
            yield Finding(name, False, f"{type(error).__name__}: {error}", "this check itself failed; see the message")


def libraries() -> Iterator[Finding]:
    """Installed versions against what this rnnsweep asks for."""
    from packaging.requirements import Requirement

    wrong = []
    for text in metadata.requires("rnnsweep") or []:
        wanted = Requirement(text)
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        try:
            have = metadata.version(wanted.name)
        except metadata.PackageNotFoundError:
            wrong.append(f"{wanted.name} is missing (wanted {wanted.specifier or 'any'})")
            continue
        if not wanted.specifier.contains(have, prereleases=True):
            wrong.append(f"{wanted.name} {have} (wanted {wanted.specifier})")
    if wrong:
        yield Finding("libraries", False, "; ".join(wrong), "install again: pip install --upgrade rnnsweep")
    else:
        installed = environment.versions()
        yield Finding(
            "libraries", True, " · ".join(f"{name} {installed[name]}" for name in ("torch", "ray", "optuna", "mlflow"))
        )


def devices() -> Iterator[Finding]:
    """Cores and GPUs; a GPU that torch cannot use is a finding."""
    yield Finding("cpu", True, f"{environment.processor()}, {counted(environment.cores(), 'core')}")
    names = environment.gpus()
    if not names:
        yield Finding("gpu", True, "none; the cpu engine is used")
        return
    import torch

    if torch.cuda.is_available():
        yield Finding("gpu", True, ", ".join(names))
    else:
        remedy = "install torch's CUDA build, and check that the driver is new enough for it (nvidia-smi)"
        yield Finding("gpu", False, f"{', '.join(names)}, but torch {torch.__version__} cannot use it", remedy)


def store(store_place: StorePlace) -> Iterator[Finding]:
    """The store's directory: there or can be made, writable, on a disk where SQLite's WAL works."""
    folder = _existing(store_place.root)
    if not os.access(folder, os.W_OK):
        yield Finding("store", False, f"{folder} is not writable", "choose another with --store or RNNSWEEP_STORE")
        return
    kind = _filesystem(folder)
    if kind.startswith(NETWORK):
        remedy = "SQLite's write-ahead log needs a local disk: choose another --store, or PostgreSQL (store.ledger=...)"
        yield Finding("store", False, f"{store_place.root} is on a network file system ({kind})", remedy)
        return
    state = "writable" if store_place.root.exists() else "not there yet; the first launch makes it"
    yield Finding("store", True, f"{store_place.root}: {state}")


def databases(store_place: StorePlace) -> Iterator[Finding]:
    """The ledger opens, is whole and knows what lies in its store; the embedded databases are in WAL mode."""
    if not store_place.exists:
        yield from _lost(store_place, [])
        return
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger

    try:
        ledger = open_ledger(store_place.ledger)
        known = [view.name for view in ledger.sweeps()]
        ledger.close()
    except RnnsweepError as error:
        yield Finding("ledger", False, str(error), "is the server up, and is the database one of this version?")
        return
    yield Finding("ledger", True, counted(len(known), "sweep"))
    yield from _lost(store_place, known)
    for name in ("ledger.db", "optuna.db", "mlflow.db"):
        file = store_place.root / name
        if file.is_file():
            yield _sqlite(file)


def _lost(store_place: StorePlace, known: Sequence[str]) -> Iterator[Finding]:
    lost = lost_sweeps(store_place, known)
    if lost:
        what = f"checkpoints of {', '.join(lost)} are in the store, but the ledger that knew them is gone"
        yield Finding("ledger", False, what, "put its ledger.db back; sweep.json beside them says what was asked for")


def mirrors(store_place: StorePlace) -> Iterator[Finding]:
    """What was lost in MLflow and Optuna's database, written again."""
    from rnnsweep.app.run.repair import repair

    for done in repair(store_place):
        name = f"{done.sweep}: {done.mirror} " if done.mirror else f"{done.sweep} "
        remedy = "" if done.ok else "see the message; 'rnnsweep logs' lists what was left out"
        yield Finding("mirror", done.ok, name + done.detail, remedy)


def _sqlite(file: Path) -> Finding:
    with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=5)) as connection:
        mode = str(connection.execute("PRAGMA journal_mode").fetchone()[0])
        whole = str(connection.execute("PRAGMA quick_check(1)").fetchone()[0])
    if whole != "ok":
        remedy = "restore it from a copy; optuna.db and mlflow.db may be removed: 'doctor --repair' writes them anew"
        return Finding(file.name, False, f"damaged: {whole}", remedy)
    if mode != "wal":
        remedy = f"while nothing runs: sqlite3 {file} 'PRAGMA journal_mode=WAL'"
        return Finding(file.name, False, f"journal mode {mode}: readers would block writers", remedy)
    return Finding(file.name, True, f"whole, WAL, {file.stat().st_size / 1024**2:.1f} MiB")


def disk(store_place: StorePlace) -> Iterator[Finding]:
    """Room for checkpoints, and for Ray's shared memory."""
    free = shutil.disk_usage(_existing(store_place.root)).free
    remedy = "" if free > LOW_DISK else "make room, or choose another disk with --store"
    yield Finding("disk", free > LOW_DISK, f"{free / 1024**3:.1f} GiB free for the store", remedy)
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        remedy = "" if free > LOW_SHARED else "Ray needs it: in a container, start it with --shm-size=1g"
        yield Finding("shared memory", free > LOW_SHARED, f"{free / 1024**2:.0f} MiB free", remedy)


def clock(store_place: StorePlace) -> Iterator[Finding]:
    """This machine's clock against the store's disk: times that are shown count on it."""
    with tempfile.NamedTemporaryFile(dir=_existing(store_place.root), prefix=".rnnsweep-clock-") as file:
        now = time.time()
        skew = os.stat(file.name).st_mtime - now
    if abs(skew) > SKEW_S:
        yield Finding("clock", False, f"differs by {skew:+.1f} s from the store's", "synchronise the clocks (NTP)")
    else:
        yield Finding("clock", True, time.strftime("%Y-%m-%d %H:%M:%S %Z"))


def ray_starts() -> Iterator[Finding]:
    """A private Ray with one core starts on loopback and ends again."""
    from rnnsweep.adapters.ray.cluster import RaySettings, connect, disconnect

    began = time.monotonic()
    connect(RaySettings(workers=1))
    disconnect()
    yield Finding("ray", True, f"starts in {time.monotonic() - began:.1f} s")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    return next(parent for parent in (folder, *folder.parents) if parent.exists())


def _filesystem(folder: Path) -> str:
    """Type of the file system that holds the folder; empty where the system does not tell."""
    import psutil

    mounts = [part for part in psutil.disk_partitions(all=True) if folder.is_relative_to(part.mountpoint)]
    return max(mounts, key=lambda part: len(part.mountpoint)).fstype if mounts else ""
