"""What may be asked over the network, where the command line of the service's own user may ask for more.

An account says what to train. Where it is stored, on what it runs, what code and which files of the machine are read,
and what the machine's environment holds is the service's matter: a request that names any of it is refused.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnsweep.adapters.hydra.overrides import Overrides, split_overrides
from rnnsweep.errors import ConfigError, printable
from rnnsweep.service.problems import RefusedError

_SHAPE = ("task", "family", "embedding", "readout", "init", "controllers", "learner", "optimizer", "training")
_SEARCH = ("scorers", "objective", "space", "budget", "sampler", "pruner", "scheduler", "racing", "fidelity")
OPEN_KEYS = ("name", "seed", "replicas", "seeds", *_SHAPE, *_SEARCH, "engine", "dtype")
"""Top-level keys that an override over the network may set. A key that is new is closed until it stands here."""
PLACES = ("path", "root")
"""Keys, wherever they stand, whose values are files or folders."""
_SWEEP = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,99}")
MOST, LONGEST = 200, 10_000
"""Overrides of a request, and characters of one."""


def check_sweep(sweep: str) -> None:
    """Refuse what is no sweep's name: a path would have the service read any file of its machine.

    Raises:
        ConfigError: it is none.
    """
    if not _SWEEP.fullmatch(sweep):
        allowed = "the name of a sweep that the service knows; a path to a yaml is for its own command line"
        raise ConfigError("is no sweep's name", key="sweep", value=sweep, allowed=allowed)


def check_overrides(texts: Sequence[str], data_dirs: Sequence[Path] = ()) -> Overrides:
    """Refuse overrides that reach beyond the sweep.

    Args:
        texts: as on the command line.
        data_dirs: folders of the service's machine whose files may be trained on.

    Raises:
        ConfigError: bad grammar.
        RefusedError: code, a closed key, an interpolation, or a file elsewhere.
    """
    if len(texts) > MOST or any(len(text) > LONGEST for text in texts):
        raise ConfigError("are too many or too long", key="overrides", allowed=f"{MOST} of {LONGEST} characters each")
    for text in texts:
        # any dollar: escapes of Hydra's grammar can put one together with what follows it
        if "$" in text:
            raise _refused(text, "an interpolation would read what the service knows")
        if "_target_" in text:
            raise _refused(text, "code cannot be named in an override")
        if not text.isprintable():
            raise ConfigError("holds a character that is none", key="overrides", value=text)
    typed = split_overrides(texts, ())
    for key, value in _settings(typed):
        _check_key(key)
        for place, word in _places(key, value):
            _check_place(place, word, data_dirs)
    return typed


def warm_start(typed: Overrides) -> str | None:
    """The sweep that overrides name as a teacher.

    Raises:
        RefusedError: they name another store, which the service would have to read.
    """
    found = None
    for key, value in _settings(typed):
        if key == "sampler" and isinstance(value, Mapping) and "warm_start" in value:
            found = value["warm_start"]
        elif key == "sampler.warm_start":
            found = value
    if found is not None and not isinstance(found, str):
        raise RefusedError("sampler.warm_start: names another store; allowed: the name of a sweep of this service")
    return found


def _settings(typed: Overrides) -> Iterator[tuple[str, Any]]:
    """Every key that overrides touch, with what they say about it; a range's value is itself."""
    yield from typed.values
    yield from typed.searches.items()
    yield from (typed.space or {}).items()
    yield from typed.groups.items()
    yield from ((f"controllers.{name}", None) for name in (*typed.added, *typed.removed))


def _check_key(key: str) -> None:
    top = key.partition(".")[0].lstrip("+~")
    if top not in OPEN_KEYS:
        raise RefusedError(
            f"{printable(key)}: cannot be set over the network; allowed: {', '.join(OPEN_KEYS)}. "
            "Where a sweep is stored and runs is settled where the service is started."
        )


def _places(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    """Values, at any depth, below a key that says that they are places."""
    if key.split(".")[-1] in PLACES and not isinstance(value, Mapping):
        yield key, value
    elif isinstance(value, Mapping):
        for name, item in value.items():
            yield from _places(f"{key}.{name}", item)
    elif isinstance(value, list):
        for item in value:
            yield from _places(key, item)


def _check_place(key: str, value: Any, data_dirs: Sequence[Path]) -> None:
    if value is None or (isinstance(value, str) and value.startswith("samples:") and "/" not in value):
        return
    folders = [folder.resolve() for folder in data_dirs]
    if isinstance(value, str) and os.path.isabs(value) and "\0" not in value:
        real = Path(os.path.realpath(value))
        if any(real == folder or folder in real.parents for folder in folders):
            return
    allowed = ", ".join(["null", "samples:NAME", *(f"a file below {folder}" for folder in folders)])
    raise RefusedError(f"{printable(key)}={printable(str(value))}: reads a file of the service; allowed: {allowed}")


def _refused(text: str, why: str) -> RefusedError:
    key = printable(text.partition("=")[0])
    return RefusedError(f"{key}: {why}; allowed: plain values and ranges")


def check_text(data: Any, key: str) -> None:
    """Refuse, in plain nested data, what no store can keep: half characters, zeros, and numbers without bounds.

    Raises:
        ConfigError: it has some.
    """
    if isinstance(data, Mapping):
        for name, item in data.items():
            check_text(name, key)
            check_text(item, f"{key}.{name}")
    elif isinstance(data, list | tuple):
        for index, item in enumerate(data):
            check_text(item, f"{key}.{index}")
    elif isinstance(data, str) and ("\0" in data or (not data.isascii() and _broken(data))):
        raise ConfigError("holds a character that is none", key=printable(key), allowed="text")
    elif isinstance(data, int) and abs(data) >= 1 << 63:
        raise ConfigError("is too large", key=printable(key), allowed="a number of 64 bits")


def _broken(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
