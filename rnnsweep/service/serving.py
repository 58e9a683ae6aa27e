"""What `rnnsweep serve` runs: the store, the pool, the service, and the doors by which callers come in."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from rnnsweep.app.config.load import load
from rnnsweep.app.provenance import sessions
from rnnsweep.app.run import wiring
from rnnsweep.app.run.launch import root_argument
from rnnsweep.app.stores import place
from rnnsweep.service.doors import Door
from rnnsweep.service.service import Rules, Service
from rnnsweep.sweep.fair_slots import Limits
from rnnsweep.sweep.pool import Pool
from rnnsweep.sweep.session import signals

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PoolOptions:
    """The workers, as the user wants them; see `conf/cluster`.

    Attributes:
        executor: ``ray`` or ``inline``. address: of a Ray cluster; None: a Ray of the service's own.
        workers, cores, gpus, rows: upper limit on workers; CPU cores, GPUs and most rows of each; None: as many as fit.
    """

    executor: str = "ray"
    address: str | None = None
    workers: int | None = None
    cores: int | None = None
    gpus: int | None = None
    rows: int | None = None

    def overrides(self) -> list[str]:
        """The same as overrides of a config."""
        cluster = "inline" if self.executor == "inline" else "local" if self.address is None else "ray"
        given = {
            "address": self.address,
            "workers": self.workers,
            "cores_per_worker": self.cores,
            "gpus_per_worker": self.gpus,
            "rows": self.rows,
        }
        return [
            f"cluster={cluster}",
            *(f"cluster.{key}={value}" for key, value in given.items() if value is not None),
        ]


def serve(  # noqa: PLR0913 - what `rnnsweep serve` takes
    store: str | None,
    config_dirs: Sequence[Path],
    options: PoolOptions,
    rules: Rules,
    limits: Limits,
    *,
    doors: Sequence[Door] = (),
    say: Callable[[str], None] = log.info,
) -> None:
    """Serve the sweeps of a store until a signal ends it.

    Raises:
        ConfigError: wrong input; nothing was written.
        ServiceRunningError: the store has a service already.
    """
    store_place = place(store)
    # a config without a sweep: its program says how many rows fit, its fingerprint which code workers must have
    base = load(None, options.overrides(), config_dirs=list(config_dirs), store=root_argument(store_place.own_root))
    pool = Pool(wiring.executor(base, sessions.first(base)), limits)
    service = Service(store_place, pool, rules, config_dirs)
    with ExitStack() as stack:
        stack.callback(service.close)
        service.hold()
        for door in doors:
            say(stack.enter_context(door(service)))
        say(f"Serving the store {store_place.shown}; Ctrl-C ends it, and its sweeps go on with the next start.")
        with signals(service.interrupt):
            service.run()
