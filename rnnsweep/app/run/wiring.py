"""Composition root: from a checked config to the objects that run it. The only place that knows all adapters."""

from __future__ import annotations

import dataclasses
import functools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rnnsweep.app.config.blocks import ClusterConfig
from rnnsweep.app.config.load import SweepConfig, to_json
from rnnsweep.app.provenance import sessions
from rnnsweep.app.provenance.sessions import UNCHECKED, Session
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.schedulers.base import SchedulerUnit, build_scheduler

if TYPE_CHECKING:
    from rnnsweep.adapters.optuna.sampler import HistorySampler
    from rnnsweep.adapters.ray.executor import RayExecutor
    from rnnsweep.sweep.ports import Executor, Ledger, Mirror


def stored_plan(config: SweepConfig, session: Session = UNCHECKED) -> SweepPlan:
    """The plan whose `config` is what the ledger keeps: enough to rebuild the whole `SweepConfig` on resume."""
    record = {sessions.KEY: dict(session.record)} if session.record else {}
    return dataclasses.replace(config.plan, config={**to_json(config), **record}, fingerprint=session.number)


def open_ledger_of(config: SweepConfig) -> Ledger:
    """The ledger, made where there is none."""
    from rnnsweep.adapters.ledger.sql_ledger import open_ledger

    return open_ledger(config.store.ledger)


def sampler(config: SweepConfig) -> HistorySampler:
    """Sampler and pruner.

    Raises:
        ConfigError: they cannot serve this space or these objectives.
    """
    from rnnsweep.adapters.optuna.sampler import build_sampler

    return build_sampler(config.plan, config.sampler, config.pruner)


def scheduler(config: SweepConfig) -> SchedulerUnit:
    """What decides at rungs beside, or instead of, the pruner.

    Raises:
        ConfigError: it cannot serve these objectives, or a pruner judges already.
    """
    return build_scheduler(config.plan, config.scheduler, config.pruner)


@dataclass(frozen=True)
class WorkerPlace:
    """What decides where workers run and what they load first.

    Attributes:
        cluster: of the config. device: as of `TrainerSettings`.
    """

    cluster: ClusterConfig
    device: str

    @property
    def own_ray(self) -> bool:
        """Whether a Ray is started for the sweep alone."""
        return self.cluster.executor != "inline" and self.cluster.address is None


def worker_place(config: SweepConfig) -> WorkerPlace:
    """Of a sweep."""
    from rnnsweep.app.worker.factory import device

    return WorkerPlace(config.cluster, device(config))


def executor(config: SweepConfig, session: Session = UNCHECKED) -> Executor:
    """What trains; nothing is started yet.

    Args:
        config: the sweep's.
        session: what its workers must train under.

    Raises:
        ConfigError: cluster settings out of range.
    """
    from rnnsweep.app.worker.factory import trainer_factory

    factory = trainer_factory(config, session)
    if config.cluster.executor == "inline":
        from rnnsweep.adapters.inline import InlineExecutor

        return InlineExecutor(factory, config.cluster.cores_per_worker)
    made = ray_executor(worker_place(config))
    made.supply(factory)
    return made


def ray_executor(place: WorkerPlace) -> RayExecutor:
    """Workers of Ray, which are told by `supply` what they train; nothing is started yet.

    Raises:
        ConfigError: cluster settings out of range.
    """
    from rnnsweep.adapters.ray.cluster import RaySettings
    from rnnsweep.adapters.ray.executor import RayExecutor
    from rnnsweep.app.worker import prelude

    cluster = place.cluster
    settings = RaySettings(
        address=cluster.address,
        workers=cluster.workers,
        cores_per_worker=cluster.cores_per_worker,
        gpus_per_worker=cluster.gpus_per_worker,
        deadline_s=cluster.deadline_s,
        dashboard=cluster.dashboard,
        py_paths=cluster.py_paths,
    )
    return RayExecutor(None, settings, functools.partial(prelude.load, place.device))


def mirrors(config: SweepConfig, ledger: Ledger) -> list[Mirror]:
    """Trackers, Optuna's database and receivers of messages, as far as the config wants them."""
    from rnnsweep.app.run.chosen_mirrors import receivers, trackers

    wanted = trackers(config, ledger)
    if config.store.optuna is not None:
        from rnnsweep.adapters.optuna.glance import GlancingMirror

        view = ledger.sweep(config.plan.name)
        wanted.append(GlancingMirror(config.store.optuna, config.plan, view.identity if view else ""))
    return [*wanted, *receivers(config, ledger)]
