"""Ray and its workers, started while the config is still being checked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnsweep.app.config.load import SweepConfig
from rnnsweep.app.provenance.sessions import Session
from rnnsweep.app.run import wiring

if TYPE_CHECKING:
    from rnnsweep.adapters.ray.executor import RayExecutor
    from rnnsweep.sweep.ports import Executor


class Ahead:
    """An executor that starts before it is known what it will train; use as a context manager.

    Units are checked by building them, for which torch is imported: a few seconds, as long as Ray and the same imports
    in its workers take. If the config is refused then, what was started is ended.
    """

    def __init__(self) -> None:
        self._started: RayExecutor | None = None
        self._place: wiring.WorkerPlace | None = None

    def __enter__(self) -> Ahead:
        return self

    def __exit__(self, *unused: object) -> None:
        started, self._started = self._started, None
        if started is not None:
            started.stop(graceful=False)

    def begin(self, config: SweepConfig) -> None:
        """Start what a sweep of this config will need, where that is a Ray of its own.

        Args:
            config: composed; its units need not have been checked.

        Raises:
            ConfigError: cluster settings out of range.
        """
        place = wiring.worker_place(config)
        if self._started is None and place.own_ray:
            started = wiring.ray_executor(place)
            started.connect()
            started.begin()
            self._started, self._place = started, place

    def executor(self, config: SweepConfig, session: Session) -> Executor:
        """See `wiring.executor`: the one that was started, or another one; either is the caller's from now on.

        After a graceful stop it is to be stopped once more: until then Ray lives on, so that results are shown first.
        """
        from rnnsweep.app.worker.factory import trainer_factory

        if self._started is None or self._place != wiring.worker_place(config):
            return wiring.executor(config, session)
        started, self._started = self._started, None
        started.lingers = True
        started.supply(trainer_factory(config, session))
        return started
