"""Where a sweep's stores are, for commands that only read or leave a request: no configuration needed."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rnnsweep.adapters import sqlite
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.loader import refuse

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import Ledger, SweepView

ENVIRONMENT = "RNNSWEEP_STORE"
DEFAULT = "mlruns"
TRUST = "RNNSWEEP_TRUST_CODE"
"""Set to 1, it says what `rnnsweep resume --trust-code` says, to all commands."""


@dataclass(frozen=True)
class StorePlace:
    """The store as the user named it.

    Attributes:
        root: directory of the embedded stores, reports and spool.
        ledger: database URL of the ledger.
        named: whether somebody named it; commands that we suggest then name it too.
        urls: the stores' URLs by their keys, as they have just been given; the ledger keeps no passwords.
        trusted: code that the ledger names is imported even where others than its owner may write the ledger.
    """

    root: Path
    ledger: str = field(repr=False)
    named: bool = False
    trusted: bool = False
    urls: Mapping[str, str | None] = field(default_factory=dict[str, "str | None"], repr=False, hash=False)

    @property
    def option(self) -> tuple[str, ...]:
        """The words that name this store on a command line; none where it is found without."""
        return ("--store", str(self.root)) if self.named else ()

    @property
    def shown(self) -> str:
        """The store for messages: its directory, or the server's URL without its secrets."""
        if self.ledger.startswith("sqlite:"):
            return str(self.root)
        from rnnsweep.adapters.ledger.secrets import without_secrets

        return without_secrets(self.ledger)

    @property
    def own_root(self) -> Path | None:
        """Root of all stores; None where a database server was named and the sweep's config knows the root."""
        return self.root if self.ledger.startswith("sqlite:") else None

    @property
    def server(self) -> str:
        """URL of the database server that was named as the ledger; empty where it is a file."""
        return "" if self.ledger.startswith("sqlite:") else self.ledger

    @property
    def strangers(self) -> str:
        """Who else may write the ledger's file, in words; empty where nobody does, or where that is said to be well.

        Of a server only its administrators know.
        """
        file = sqlite.path_of(self.ledger)
        return "" if file is None or self.trusted or os.environ.get(TRUST) == "1" else sqlite.writers(file)

    @property
    def exists(self) -> bool:
        """Whether there is a ledger; a server is only known by asking it."""
        file = sqlite.path_of(self.ledger)
        return file is None or file.is_file()


def place(store: str | Path | StorePlace | None = None) -> StorePlace:
    """The store to use: the argument, else RNNSWEEP_STORE, else `mlruns/` below the working directory.

    A database URL instead of a directory names a cluster's ledger; reports then go below `mlruns/`.

    Raises:
        ConfigError: a file; what looks in it would say that it is empty.
    """
    if isinstance(store, StorePlace):
        return store
    chosen = str(store or os.environ.get(ENVIRONMENT) or DEFAULT)
    if "://" in chosen:
        return StorePlace(Path(DEFAULT).resolve(), chosen, named=False)  # never repeated: it may hold a password
    root = Path(chosen).expanduser().resolve()
    if root.is_file():
        raise ConfigError("is a file", key="--store", value=chosen, allowed="a directory", hint=str(root.parent))
    # A store from the environment is found again without being named.
    return StorePlace(
        root, sqlite.url_of(root / "ledger.db"), named=chosen not in (DEFAULT, os.environ.get(ENVIRONMENT))
    )


def place_of(root: Path, ledger: str, urls: Mapping[str, str | None] | None = None) -> StorePlace:
    """The store that a configuration names; with its URLs, where a sweep of it is to go on."""
    named = root != Path(os.environ.get(ENVIRONMENT) or DEFAULT).expanduser().resolve()
    return StorePlace(root, ledger, named=named, urls=urls or {})


_kept: dict[str, Ledger] = {}
"""Ledgers that stay open, by URL: a server is asked many times a second, and to open one takes several queries."""


@contextmanager
def kept_open(store_place: StorePlace) -> Iterator[Ledger]:
    """Let everything in this process that reads the store use one ledger, which is made if need be."""
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger

    ledger = open_ledger(store_place.ledger)
    _kept[store_place.ledger] = ledger
    try:
        yield ledger
    finally:
        _kept.pop(store_place.ledger, None)
        ledger.close()


@contextmanager
def reading(store_place: StorePlace) -> Iterator[Ledger | None]:
    """The ledger, or None where there is none yet: reading never creates a store."""
    if store_place.ledger in _kept:
        yield _kept[store_place.ledger]
        return
    if not store_place.exists:
        yield None
        return
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger

    ledger = open_ledger(store_place.ledger)
    try:
        yield ledger
    finally:
        ledger.close()


@contextmanager
def reading_sweep(store_place: StorePlace, name: str) -> Iterator[tuple[Ledger, SweepView]]:
    """The ledger and one sweep of it.

    Raises:
        ConfigError: the store has no such sweep; names the nearest one.
    """
    with reading(store_place) as ledger:
        view = ledger.sweep(name) if ledger else None
        if ledger is None or view is None:
            raise unknown_sweep(store_place, name, [known.name for known in ledger.sweeps()] if ledger else [])
        guard_imports(store_place, view)
        yield ledger, view


def guard_imports(store_place: StorePlace, view: SweepView) -> None:
    """Before anything of a sweep is imported: code of users is not where others may write the ledger that names it."""
    strangers = store_place.strangers
    hint = f"Others may write the ledger that names it ({strangers}). {TRUST}=1 imports it all the same."
    refuse(view.config, hint if strangers else "")


def unknown_sweep(store_place: StorePlace, name: str, known: list[str]) -> ConfigError:
    """The error for a sweep that the store does not have."""
    near, lost = nearest(name, known), lost_sweeps(store_place, known)
    if lost and not near:
        near = (
            f"Checkpoints of {', '.join(lost)} are in {store_place.root / 'checkpoints'}, but the ledger that knew "
            "them is gone: they are kept; sweep.json beside them says what was asked for."
        )
    return ConfigError(
        f"no such sweep in the store {store_place.shown}",
        key="SWEEP",
        value=name,
        allowed=known or "none yet: start one with 'rnnsweep launch'",
        hint=near if near else None,
    )


def lost_sweeps(store_place: StorePlace, known: Sequence[str]) -> list[str]:
    """Names of sweeps whose checkpoints are in the store while its ledger, removed or emptied, knows none of them."""
    folder = store_place.root / "checkpoints"
    names = sorted(path.name for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    return [name for name in names if name not in known]
