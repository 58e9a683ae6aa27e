"""Where the commands that look and steer find sweeps: in a store, or at a service that ``--service`` names."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rnnsweep.errors import ConfigError

if TYPE_CHECKING:
    from rnnsweep.app.remote.remote_sweep import RemoteSweep
    from rnnsweep.app.remote.service_client import Service
    from rnnsweep.app.results.sweep import Sweep

OPTION, VARIABLE = "--service", "RNNSWEEP_SERVICE"
HELP = "Ask the service at URL in place of a store; may stand anywhere; else RNNSWEEP_SERVICE."
SERVED = (
    "launch",
    "resume",
    "stop",
    "pause",
    "unpause",
    "edit",
    "list",
    "status",
    "table",
    "best",
    "show",
    "logs",
    "report",
    "watch",
)
"""Commands that a service answers."""
_STORE = "--store"


@dataclass
class _Chosen:
    """What the command line that is carried out says.

    Attributes:
        url: of the service; empty for none.
    """

    url: str = ""


_chosen = _Chosen()


def take_service(words: Sequence[str]) -> list[str]:
    """The words without ``--service URL``, which counts from now on; a store that was typed wins over the environment.

    Raises:
        ConfigError: no URL follows; the command knows no service; a store is named as well.
    """
    url, rest = "", list[str]()
    waiting = iter(words)
    for word in waiting:
        if word == "--":
            rest += [word, *waiting]
        elif word == OPTION:
            url = next(waiting, "")
            if not url or url.startswith("-"):
                raise ConfigError("needs a URL", key=OPTION, allowed="http://127.0.0.1:PORT or https://HOST[:PORT]")
        elif word.startswith(f"{OPTION}="):
            url = word.removeprefix(f"{OPTION}=")
        else:
            rest.append(word)
    command = next((word for word in rest if not word.startswith("-")), "")
    stored = any(word == _STORE or word.startswith(f"{_STORE}=") for word in rest)
    if url and command and command not in SERVED:
        raise ConfigError("is not for this command", key=OPTION, value=command, allowed=SERVED)
    if url and stored:
        raise ConfigError("choose one of them", key=f"{OPTION} {_STORE}")
    inherited = "" if stored or command not in SERVED else os.environ.get(VARIABLE, "")
    _chosen.url = url or inherited
    return rest


def service(store: str | None) -> Service | None:
    """The service that is asked, None where it is a store."""
    del store  # a store that was typed has been preferred to the environment's service already
    if not _chosen.url:
        return None
    from rnnsweep.app.remote.connection import Connection
    from rnnsweep.app.remote.service_client import Service

    connection = Connection(_chosen.url)
    if not connection.safe:
        import warnings

        from rnnsweep.errors import ConfigWarning

        line = f"{connection.url}: the token crosses the network in clear; https, or a tunnel to 127.0.0.1, hides it"
        warnings.warn(ConfigWarning(line), stacklevel=2)
    return Service(connection)


def option() -> tuple[str, ...]:
    """The words that name the service on a command line; none where it is found without."""
    return () if _chosen.url == os.environ.get(VARIABLE) else (OPTION, _chosen.url)


def opened(name: str, store: str | None) -> Sweep | RemoteSweep:
    """A sweep of the service or of the store.

    Raises:
        ConfigError: there is none of this name; names the nearest.
    """
    if chosen := service(store):
        return chosen.open_sweep(name)
    from rnnsweep.app.results.sweep import open_sweep

    return open_sweep(name, store=store)


def statuses(store: str | None) -> tuple[list[dict[str, Any]], str]:
    """`status` of all sweeps, and where they are."""
    if chosen := service(store):
        return chosen.statuses(), chosen.connection.url
    from rnnsweep.app.results.sweep import place, statuses

    return statuses(store), place(store).shown


def refuse_options(chosen: Service, given: Mapping[str, bool]) -> None:
    """Refuse what only the command line beside the store can do.

    Raises:
        ConfigError: some option is given.
    """
    for name, present in given.items():
        if present:
            hint = "It is for the machine that has the store."
            raise ConfigError(f"is not for the service {chosen.connection.url}", key=name, hint=hint)
