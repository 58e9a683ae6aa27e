"""The Python API: `rnnsweep.launch`, `resume`, `open_sweep`, `train`, and what they return."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app import running
from rnnsweep.app.config import from_json, load
from rnnsweep.app.stores import StorePlace, place, place_of, reading_sweep
from rnnsweep.errors import ConfigError, RnnsweepError, nearest
from rnnsweep.sweep.rebuild import Reopen

if TYPE_CHECKING:
    import torch

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
        from rnnsweep.app.inference import load_network
        from rnnsweep.app.point import resolve_point
        from rnnsweep.app.training import checkpoint_root

        with reading_sweep(self.sweep.place, self.sweep.name) as (ledger, view):
            attempts = ledger.attempts(view.name, self.number)
            config = from_json(view.config, store=self.sweep.place.own_root)
        replicas = range(config.plan.replicas) if replica is None else (replica,)
        rows = [(self.number, index) for index in replicas]
        tokens = {self.number: [attempt.token for attempt in reversed(attempts)]}
        return load_network(resolve_point(config.variants, self.params), checkpoint_root(config), rows, tokens)


@dataclass(frozen=True)
class Sweep:
    """A sweep in a store. Every call reads the ledger anew, so it works while the sweep runs.

    Attributes:
        name: the sweep's name.
        place: where its stores are.

    Example:
        sweep = rnnsweep.open_sweep("quickstart")
        sweep.trials().sort_values("objective").head()
    """

    name: str
    place: StorePlace

    def status(self) -> dict[str, Any]:
        """What `rnnsweep status --json` prints."""
        from rnnsweep.app.views import standing, status

        with reading_sweep(self.place, self.name) as (ledger, view):
            return status(standing(ledger, view), ledger.trials(self.name))

    def trials(self) -> Frame:
        """One row per trial: state, objective, solved_at, ... and one column per searched key."""
        from rnnsweep.app.frames import trials_frame
        from rnnsweep.app.plans import plan_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            return trials_frame(ledger.trials(self.name), plan_of(view).space.keys)

    def replicas(self) -> Frame:
        """One row per (trial, replica): state, step, value, solved_at, device time."""
        from rnnsweep.app.frames import replicas_frame
        from rnnsweep.app.plans import plan_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            return replicas_frame(ledger.reports(self.name), plan_of(view))

    def curves(self, *keys: str, trial: int | None = None) -> Frame:
        """Long form: trial, replica, rung, step, key, value; all metric keys where none are named."""
        from rnnsweep.app.frames import curves_frame

        with reading_sweep(self.place, self.name) as (ledger, _):
            return curves_frame(ledger.reports(self.name, trial), keys)

    @property
    def best(self) -> Trial:
        """The best complete trial.

        Raises:
            RnnsweepError: none is complete yet.
        """
        from rnnsweep.app.views import ranked

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
        from rnnsweep.app.views import find

        with reading_sweep(self.place, self.name) as (ledger, view):
            return Trial(self, find(view, ledger.trials(self.name), number))

    def enqueue(self, *points: Mapping[str, Any]) -> None:
        """Ask the driver to try these points next; searched keys that a point leaves open are drawn.

        They count towards ``budget.trials``. A sweep that does not run takes them up at its next resume.

        Raises:
            ConfigError: a point names a key that is not searched.
        """
        from rnnsweep.app.plans import plan_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            known = plan_of(view).space.keys
            for key in (key for point in points for key in point):
                if key not in known:
                    raise ConfigError("is not searched", key=key, allowed=known or "none", hint=nearest(key, known))
            ledger.post(self.name, "enqueue", {"points": [dict(point) for point in points]})

    def report(self, out: Path | None = None) -> Path:
        """Write figures, tables and one page; returns the page's path."""
        from rnnsweep.app.reporting import report_sweep

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
    folders = [Path(folder) for folder in config_dirs]
    config = load(name, list(overrides), config_dirs=folders, store=running.root_argument(store))
    where = place_of(config.store.root, config.store.ledger)
    running.check_new(where, config.plan.name)
    with _shown(config.plan.name, progress) as observer:
        running.launch(config, observer)
    return Sweep(config.plan.name, where)


def resume(  # noqa: PLR0913 - the wishes of `rnnsweep resume`, by keyword only
    name: str,
    overrides: Sequence[str] = (),
    *,
    failed: bool = False,
    trials: Sequence[int] = (),
    extend: bool = False,
    store: Path | str | None = None,
    progress: bool = True,
) -> Sweep:
    """Go on with a sweep of the store; `overrides` may raise ``budget.*``."""
    where = place(store)
    config = running.stored_config(where, name, list(overrides))
    reopen = Reopen(failed=failed, trials=tuple(trials), extend=extend)
    with _shown(name, progress) as observer:
        running.resume(config, reopen, observer)
    return Sweep(name, where)


def open_sweep(name: str, *, store: Path | str | None = None) -> Sweep:
    """A sweep that is in the store.

    Raises:
        ConfigError: it is not; names the nearest.
    """
    where = place(store)
    with reading_sweep(where, name):
        return Sweep(name, where)


@contextlib.contextmanager
def _shown(name: str, wanted: bool) -> Iterator[Callable[..., None] | None]:
    if not wanted:
        yield None
        return
    from rnnsweep.app.progress import LiveProgress

    with LiveProgress(name) as shown:
        yield shown.update


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
    from rnnsweep.app.single import train_one

    return train_one(load(sweep, list(overrides), config_dirs=[Path(folder) for folder in config_dirs]), observer)
