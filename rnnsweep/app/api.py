"""The Python API: `rnnsweep.launch`, `resume`, `open_sweep`, `train`, and what they return."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.load import from_json, load
from rnnsweep.app.run import launch as runs
from rnnsweep.app.stores import StorePlace, place, place_of, reading_sweep
from rnnsweep.errors import ConfigError, RnnsweepError, nearest
from rnnsweep.sweep.rebuild import Reopen

if TYPE_CHECKING:
    import torch

    from rnnsweep.app.run.launch import Observer
    from rnnsweep.sweep.driver import Outcome
    from rnnsweep.sweep.ports import TrialView
    from rnnsweep.sweep.rows import RowReport

    Frame = Any  # a pandas frame, see `report.data`


@dataclass(frozen=True)
class Trial:
    """A trial of a sweep, as it was when it was asked for.

    Attributes:
        sweep: whose it is.
        view: all that the ledger holds about it.
    """

    sweep: Sweep
    view: TrialView

    @property
    def number(self) -> int:
        """Trial number."""
        return self.view.number

    @property
    def state(self) -> str:
        """Upper-case state."""
        return self.view.state.value

    @property
    def params(self) -> Mapping[str, Any]:
        """Searched keys -> values."""
        return self.view.params

    @property
    def objective(self) -> float | None:
        """The first objective, None without a result."""
        return self.view.values[0] if self.view.values else None

    @property
    def solved_at(self) -> int | None:
        """Median over replicas of the updates to solve; None while fewer than half have."""
        return self.view.solved_at

    def load(self, replica: int | None = None) -> torch.nn.Module:
        """The trained network for inference, from the checkpoint with the smallest validation loss.

        Args:
            replica: which replica; None takes the best of all.

        Raises:
            CheckpointError: there is no checkpoint (left).
        """
        from rnnsweep.app.config.point import resolve_point
        from rnnsweep.app.results.inference import load_network

        with reading_sweep(self.sweep.place, self.sweep.name) as (ledger, view):
            attempts = ledger.attempts(view.name, self.number)
            config = from_json(view.config, store=self.sweep.place.own_root)
        replicas = range(config.plan.replicas) if replica is None else (replica,)
        rows = [(self.number, index) for index in replicas]
        tokens = {self.number: [attempt.token for attempt in reversed(attempts)]}
        return load_network(resolve_point(config.variants, self.params), config.checkpoints, rows, tokens)


@dataclass(frozen=True)
class Sweep:
    """A sweep in a store. Every call reads the ledger anew, so it works while the sweep runs.

    Attributes:
        name: the sweep's name.
        place: where its stores are.
        outcome: how the `launch` or `resume` that returned this object ended; None for a sweep that was only opened.

    Example:
        sweep = rnnsweep.open_sweep("quickstart")
        sweep.trials().sort_values("objective").head()
    """

    name: str
    place: StorePlace
    outcome: Outcome | None = field(default=None, compare=False, repr=False)

    def status(self) -> dict[str, Any]:
        """What `rnnsweep status --json` prints."""
        from rnnsweep.app.results.tables import standing, status

        with reading_sweep(self.place, self.name) as (ledger, view):
            return status(standing(ledger, view), ledger.trials(self.name))

    def trials(self) -> Frame:
        """One row per trial: state, objective, solved_at, ... and one column per searched key."""
        from rnnsweep.app.config.load import plan_of
        from rnnsweep.app.results.frames import trials_frame

        with reading_sweep(self.place, self.name) as (ledger, view):
            return trials_frame(ledger.trials(self.name), plan_of(view).space.keys)

    def replicas(self) -> Frame:
        """One row per (trial, replica): state, step, value, solved_at, device time."""
        from rnnsweep.app.config.load import plan_of
        from rnnsweep.app.results.frames import replicas_frame

        with reading_sweep(self.place, self.name) as (ledger, view):
            return replicas_frame(ledger.reports(self.name), plan_of(view))

    def curves(self, *keys: str, trial: int | None = None) -> Frame:
        """Long form: trial, replica, rung, step, key, value; all metric keys where none are named."""
        from rnnsweep.app.results.frames import curves_frame

        with reading_sweep(self.place, self.name) as (ledger, _):
            return curves_frame(ledger.reports(self.name, trial), keys)

    @property
    def best(self) -> Trial:
        """The best complete trial.

        Raises:
            RnnsweepError: none is complete yet.
        """
        from rnnsweep.app.results.tables import ranked

        with reading_sweep(self.place, self.name) as (ledger, view):
            found = ranked(view, ledger.trials(self.name))
        if not found:
            raise RnnsweepError(f"sweep '{self.name}' has no complete trial yet")
        return Trial(self, found[0])

    def trial(self, number: int) -> Trial:
        """One trial by number.

        Raises:
            ConfigError: there is none.
        """
        from rnnsweep.app.results.tables import find

        with reading_sweep(self.place, self.name) as (ledger, view):
            return Trial(self, find(view, ledger.trials(self.name), number))

    def enqueue(self, *points: Mapping[str, Any]) -> None:
        """Ask the driver to try these points next; searched keys that a point leaves open are drawn.

        They count towards ``budget.trials``. A sweep that does not run takes them up at its next resume.

        Raises:
            ConfigError: a point names a key that is not searched.
        """
        from rnnsweep.app.config.load import plan_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            known = plan_of(view).space.keys
            for key in (key for point in points for key in point):
                if key not in known:
                    raise ConfigError("is not searched", key=key, allowed=known or "none", hint=nearest(key, known))
            ledger.post(self.name, "enqueue", {"points": [dict(point) for point in points]})

    def report(self, out: Path | None = None) -> Path:
        """Write figures, tables and one page; returns the page's path."""
        from rnnsweep.app.results.report_data import report_sweep

        return report_sweep(self.place, self.name, out)


def launch(
    name: str,
    overrides: Sequence[str] = (),
    *,
    store: Path | str | None = None,
    config_dirs: Sequence[Path | str] = (),
    progress: bool = True,
) -> Sweep:
    """Run a sweep to its end or to a stop; see `Sweep.status` for which.

    Args:
        name: a sweep's name, or a path to a yaml.
        overrides: as on the command line.
        store: directory of the stores; else RNNSWEEP_STORE, else the config's.
        config_dirs: your own units and sweeps.
        progress: show it on standard error.

    Raises:
        ConfigError: wrong input; nothing was written.
    """
    config, where = runs.prepare(name, overrides, config_dirs, store)
    return _run(config.plan.name, where, progress, lambda observer: runs.launch(config, observer))


def submit(
    name: str,
    overrides: Sequence[str] = (),
    *,
    store: Path | str | None = None,
    config_dirs: Sequence[Path | str] = (),
) -> str:
    """Check a sweep here and hand its launch to the Ray cluster at ``cluster.address`` as a job; see `launch`.

    Returns:
        What to tell the user: the job and how to read its log.

    Raises:
        ConfigError: wrong input, or no cluster that takes jobs; nothing was written.
        StoreError: the cluster does not take the job.
    """
    from rnnsweep.app.run.submit import submit_launch

    config, _ = runs.prepare(name, overrides, config_dirs, store)
    return submit_launch(config, name, list(overrides), runs.root_argument(store))


def fresh(
    name: str,
    overrides: Sequence[str] = (),
    *,
    store: Path | str | None = None,
    config_dirs: Sequence[Path | str] = (),
) -> tuple[str, StorePlace | None]:
    """What a fresh launch runs: the name, and the store where a sweep of that name waits unfinished, or None."""
    folders = [Path(folder) for folder in config_dirs]
    config = load(name, list(overrides), config_dirs=folders, store=runs.root_argument(store), check_units=False)
    where = place_of(config.store.root, config.store.ledger)
    chosen, unfinished = runs.fresh_name(where, config.plan.name)
    return chosen, where if unfinished else None


def resume(  # noqa: PLR0913 - the wishes of `rnnsweep resume`, by keyword only
    name: str,
    overrides: Sequence[str] = (),
    *,
    failed: bool = False,
    trials: Sequence[int] = (),
    extend: bool = False,
    store: Path | str | StorePlace | None = None,
    progress: bool = True,
) -> Sweep:
    """Go on with a sweep of the store; `overrides` may raise ``budget.*``."""
    where = store if isinstance(store, StorePlace) else place(store)
    config = runs.stored_config(where, name, list(overrides))
    reopen = Reopen(failed=failed, trials=tuple(trials), extend=extend)
    return _run(name, where, progress, lambda observer: runs.resume(config, reopen, observer))


def open_sweep(name: str, *, store: Path | str | None = None) -> Sweep:
    """A sweep that is in the store.

    Raises:
        ConfigError: it is not; names the nearest.
    """
    where = place(store)
    with reading_sweep(where, name):
        return Sweep(name, where)


def _run(name: str, where: StorePlace, progress: bool, work: Callable[[Observer | None], Outcome]) -> Sweep:
    """Run a sweep, under live progress where that is wanted."""
    if not progress:
        return Sweep(name, where, work(None))
    from rnnsweep.app.progress import LiveProgress

    with LiveProgress(name) as live:
        return Sweep(name, where, work(live.update))


def train(
    overrides: Sequence[str] = (),
    *,
    sweep: str | None = None,
    config_dirs: Sequence[Path | str] = (),
    observer: Callable[[RowReport], None] | None = None,
) -> list[RowReport]:
    """Train one trial here: no Ray, no Optuna, no store.

    Args:
        overrides: as on the command line; searched keys stand at their defaults.
        sweep: whose config to start from; None takes the base config.
        config_dirs: your own units and sweeps.
        observer: called with every report as it comes.

    Returns:
        All reports, by rung and replica.
    """
    from rnnsweep.app.worker.single import train_one

    return train_one(load(sweep, list(overrides), config_dirs=[Path(folder) for folder in config_dirs]), observer)
