"""A sweep of a store as an object: what `rnnsweep.open_sweep` returns and the commands that look print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.stores import StorePlace, place, reading, reading_sweep
from rnnsweep.errors import ConfigError, RnnsweepError

if TYPE_CHECKING:
    from rnnsweep.adapters.mlflow.registry import LoggedNetwork
    from rnnsweep.app.results.inference import TrainedNetwork
    from rnnsweep.sweep.lineage import Schedule, Stretch
    from rnnsweep.sweep.ports import Change, TrialView
    from rnnsweep.sweep.session import Outcome

    Frame = Any  # a pandas frame, see `report.data`


@dataclass(frozen=True)
class TrialResult:
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

    @property
    def point(self) -> Mapping[str, Any]:
        """The searched keys' values that its rows train with now, or did last: other than `params` in a population."""
        from rnnsweep.sweep.lineage import present_point

        return present_point(self.view)

    def load(self, replica: int | None = None) -> TrainedNetwork:
        """The trained network for inference, from the checkpoint with the smallest validation loss.

        Args:
            replica: which replica; None takes the best of all.

        Raises:
            CheckpointError: there is no checkpoint (left).
        """
        from rnnsweep.app.config.load import allow_stored_imports, from_json
        from rnnsweep.app.config.point import resolve_point
        from rnnsweep.app.provenance.sessions import KEY, warn_of_data
        from rnnsweep.app.results.inference import load_network
        from rnnsweep.sweep.lineage import present_tokens

        with reading_sweep(self.sweep.place, self.sweep.name) as (ledger, view):
            # the trial that was trained, where this one has the result of another
            number = self.number if self.view.same_as is None else self.view.same_as
            attempts = ledger.attempts(view.name, number)
            trained = ledger.trials(view.name)[number]
            config = from_json(view.config, store=self.sweep.place.own_root)
        allow_stored_imports(config)
        warn_of_data(view.config.get(KEY))
        replicas = range(config.plan.replicas) if replica is None else (replica,)
        rows = [(number, index) for index in replicas]
        tokens = {number: present_tokens(trained, attempts)}
        return load_network(resolve_point(config.variants, self.point), config.checkpoints, rows, tokens)


@dataclass(frozen=True)
class Sweep:
    """A sweep in a store. Every call reads the ledger anew, so it works while the sweep runs.

    Attributes:
        name: the sweep's name.
        place: where its stores are.
        outcome: how the `launch` or `resume` that returned this object ended; None for a sweep that was only opened.

    Example:
        sweep = rnnsweep.open_sweep("quickstart")
        sweep.trials().sort_values("objective")[["trial", "objective"]].head()
    """

    name: str
    place: StorePlace
    outcome: Outcome | None = field(default=None, compare=False, repr=False)

    def log_model(self, trial: int | None = None, register: str | None = None) -> LoggedNetwork:
        """Log a trial's network (the best's) with its MLflow run, as a pyfunc model that needs no rnnsweep.

        Args:
            trial: its number.
            register: name of a registered model, which gets a further version.

        Raises:
            RnnsweepError: the trial has no run in MLflow; MLflow is away, or refuses.
        """
        from rnnsweep.app.results.mlflow_model import log_model

        chosen = self.best if trial is None else self.trial(trial)
        network = chosen.load()
        with reading_sweep(self.place, self.name) as (_, view):
            return log_model(self.place, view, chosen.number, network, register)

    # ------------------------------------------------------------------ as the commands print it

    def status(self) -> dict[str, Any]:
        """What `rnnsweep status --json` prints."""
        from rnnsweep.app.results.tables import standing, status, trials_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            return status(standing(ledger, view), trials_of(ledger, view))

    def table(self) -> list[dict[str, Any]]:
        """What `rnnsweep table --json` prints, one entry per trial, by number; what is infinite is null there."""
        from rnnsweep.app.results.mlflow_runs import run_ids
        from rnnsweep.app.results.tables import rows, trials_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            return rows(ledger, trials_of(ledger, view), view, run_ids(self.place, view))

    def ranking(self) -> list[dict[str, Any]]:
        """Entries of the table: complete trials only, best first; the first is what `rnnsweep best --json` prints."""
        from rnnsweep.app.results.mlflow_runs import run_ids
        from rnnsweep.app.results.tables import ranked, row

        with reading_sweep(self.place, self.name) as (ledger, view):
            runs = run_ids(self.place, view)
            return [row(view, trial, runs) for trial in ranked(view, ledger.trials(self.name))]

    def front(self) -> list[int]:
        """Numbers of the complete trials that no other one beats in every objective; empty with one objective."""
        from rnnsweep.app.config.load import plan_of
        from rnnsweep.sweep.summary import pareto

        with reading_sweep(self.place, self.name) as (ledger, view):
            goals = plan_of(view).objectives
            return [trial.number for trial in pareto(ledger.trials(self.name), goals)] if len(goals) > 1 else []

    def show(self, trial: int) -> dict[str, Any]:
        """A table entry with curves, replicas, artifacts and history: what `rnnsweep show` prints.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        from rnnsweep.app.results.mlflow_runs import artifacts, run_ids
        from rnnsweep.app.results.tables import show

        with reading_sweep(self.place, self.name) as (ledger, view):
            runs = run_ids(self.place, view)
            return show(ledger, view, trial, runs, artifacts(self.place, view, trial, runs))

    @property
    def state(self) -> str:
        """Upper-case state; a sweep whose driver has died does not run, whatever it wrote last."""
        from rnnsweep.app.results.tables import standing

        with reading_sweep(self.place, self.name) as (ledger, view):
            return standing(ledger, view).state.value

    def log(self, after: int = 0) -> list[Change]:
        """Entries of the ledger's journal with a greater number than `after`, oldest first, some at a time."""
        with reading_sweep(self.place, self.name) as (ledger, _):
            return ledger.changes(self.name, after)

    # ------------------------------------------------------------------ frames and networks

    def trials(self) -> Frame:
        """One row per trial: state, objective, solved_at, ... and one column per searched key."""
        from rnnsweep.app.config.load import plan_of
        from rnnsweep.app.results.frames import trials_frame
        from rnnsweep.app.results.tables import trials_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            plan = plan_of(view)
            return trials_frame(trials_of(ledger, view), plan.keys, plan.version.defaults, plan.stages)

    def replicas(self) -> Frame:
        """One row per (trial, replica): state, step, value, solved_at, device time."""
        from rnnsweep.app.config.load import plan_of
        from rnnsweep.app.results.frames import replicas_frame

        with reading_sweep(self.place, self.name) as (ledger, view):
            return replicas_frame(ledger.reports(self.name), plan_of(view))

    def curves(self, *keys: str, trial: int | None = None) -> Frame:
        """Long form: trial, replica, rung, step, key, value; all metric keys where none are named.

        Raises:
            ConfigError: a key that is no metric; names the nearest.
        """
        from rnnsweep.app.results.frames import curves_frame

        with reading_sweep(self.place, self.name) as (ledger, _):
            return curves_frame(ledger.reports(self.name, trial), keys)

    @property
    def best(self) -> TrialResult:
        """The best complete trial.

        Raises:
            RnnsweepError: none is complete yet.
        """
        from rnnsweep.app.results.tables import ranked

        with reading_sweep(self.place, self.name) as (ledger, view):
            complete = ranked(view, ledger.trials(self.name))
        if not complete:
            raise RnnsweepError(f"sweep '{self.name}' has no complete trial yet; see: rnnsweep status {self.name}")
        return TrialResult(self, complete[0])

    def lineage(self, trial: int) -> Schedule:
        """What the state of a trial was trained with: searched key -> [(from update, value), ...], oldest first.

        One value each, from update 0, for a trial that took over no other's state. See `stretches` for who trained it.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        from rnnsweep.sweep.lineage import schedule

        return schedule(self.stretches(trial))

    def stretches(self, trial: int) -> list[Stretch]:
        """The stretches of training that led to a trial's state, oldest first, each by one trial under one point.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        from rnnsweep.app.results.tables import find
        from rnnsweep.sweep.lineage import lineage

        with reading_sweep(self.place, self.name) as (ledger, view):
            trials = ledger.trials(self.name)
            find(view, trials, trial, "--trial")
            return lineage(trials, trial)

    def trial(self, number: int) -> TrialResult:
        """One trial by number.

        Raises:
            ConfigError: there is none.
        """
        from rnnsweep.app.results.tables import find, trials_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            return TrialResult(self, find(view, trials_of(ledger, view), number, "--trial"))

    # ------------------------------------------------------------------ requests to its driver

    def stop(self) -> bool:
        """Ask the driver to stop after the rung in progress; False where none runs, so that there is nothing to ask."""
        if self.state != "RUNNING":
            return False
        with reading_sweep(self.place, self.name) as (ledger, _):
            ledger.post(self.name, "stop")
        return True

    def enqueue(self, *points: Mapping[str, Any]) -> None:
        """Ask the driver to try these points next; searched keys that a point leaves open are drawn.

        They count towards ``budget.trials``. A sweep that does not run takes them up at its next resume.

        Raises:
            ConfigError: a point names a key that is not searched, or a value that its search does not have.
        """
        from rnnsweep.app.config.load import plan_of

        with reading_sweep(self.place, self.name) as (ledger, view):
            space = plan_of(view).space
            fitting = [space.fitting(point, f"points.{index}") for index, point in enumerate(points)]
            ledger.post(self.name, "enqueue", {"points": fitting})

    def edit(self, *overrides: str) -> None:
        """Change what is searched while the sweep lives: its driver asks by it from its next trial on.

        A sweep that does not run hears of it at its next resume.

        Args:
            overrides: ``KEY=RANGE`` is searched, or in another range; ``~KEY`` is searched no longer; ``KEY=VALUE``
                likewise, with this value; ``budget.trials=N``, ``pruner=NAME``.

        Raises:
            ConfigError: what is not in the sweep, or refused by a unit, the sampler or the budget; nothing was written.
        """
        from rnnsweep.app.config.load import allow_stored_imports, from_json
        from rnnsweep.app.environment import user_name
        from rnnsweep.app.results.posting import post_edit

        with reading_sweep(self.place, self.name) as (ledger, view):
            config = from_json(view.config, store=self.place.own_root)
            allow_stored_imports(config)
            post_edit(ledger, view, config, overrides, user_name())

    def edits(self) -> list[dict[str, Any]]:
        """What was changed of the space since the launch, oldest first: what, by whom, from which trial on."""
        from rnnsweep.sweep.edits import entries_of

        with reading_sweep(self.place, self.name) as (_, view):
            return [dict(entry) for entry in entries_of(view.config)]

    @property
    def option(self) -> tuple[str, ...]:
        """Words that name the store on a command line."""
        return self.place.option

    def end_trial(self, number: int, reason: str = "") -> None:
        """Ask the driver to end a trial at its last rung, as PRUNED, with a reason that its record keeps.

        As with all requests on a trial, a sweep that does not run hears of it at its next resume.

        Raises:
            ConfigError: there is no such trial, or it has ended.
        """
        self.request("end_trial", [number], reason)

    def pause_trial(self, number: int, reason: str = "") -> None:
        """Ask the driver to take a trial's rows off their worker: PAUSED, it keeps its checkpoints and no place.

        Raises:
            ConfigError: there is no such trial, or it has ended or is paused.
        """
        self.request("pause_trial", [number], reason)

    def unpause_trial(self, number: int) -> None:
        """Ask the driver to let a paused trial go on from its checkpoint, before those that have never begun.

        Raises:
            ConfigError: there is no such trial, or it is not paused.
        """
        self.request("unpause_trial", [number])

    def request(self, kind: str, trials: Sequence[int], reason: str = "") -> None:
        """Ask the driver for ``end_trial``, ``pause_trial`` or ``unpause_trial`` of several trials, of all or none.

        Raises:
            ConfigError: one of them cannot do that.
        """
        from rnnsweep.app.results.posting import post

        with reading_sweep(self.place, self.name) as (ledger, view):
            post(ledger, view, kind, trials, reason)

    # ------------------------------------------------------------------ pictures

    def report(self, out: Path | None = None, formats: Sequence[str] = ()) -> Path:
        """Write figures, tables and one page; returns the page's path.

        Args:
            out: folder; None takes the sweep's own in the store.
            formats: of the figures, beside PNG: svg, pdf.

        Raises:
            ConfigError: no such format, or the folder cannot be written.
        """
        from rnnsweep.app.results.report_data import folder, report_sweep

        try:
            return report_sweep(self.place, self.name, out, formats)
        except OSError as error:
            at, reason = out or folder(self.place, self.name), error.strerror or str(error)
            allowed = "a folder that can be written"
            raise ConfigError(f"cannot be written: {reason}", key="--out", value=str(at), allowed=allowed) from None

    def overview(self) -> Path | None:
        """Write the one picture that stands for the sweep; None where there is nothing to draw yet."""
        from rnnsweep.app.results.report_data import overview_picture

        with reading_sweep(self.place, self.name) as (ledger, _):
            return overview_picture(self.place, ledger, self.name)


def open_sweep(name: str, *, store: Path | str | StorePlace | None = None) -> Sweep:
    """A sweep that is in the store.

    Raises:
        ConfigError: it is not; names the nearest.
    """
    store_place = place(store)
    with reading_sweep(store_place, name):
        return Sweep(name, store_place)


def statuses(store: Path | str | StorePlace | None = None) -> list[dict[str, Any]]:
    """`Sweep.status` of every sweep of a store, oldest first; an absent store has none."""
    from rnnsweep.app.results.tables import standing, status, trials_of

    with reading(place(store)) as ledger:
        if ledger is None:
            return []
        return [status(standing(ledger, view), trials_of(ledger, view)) for view in ledger.sweeps()]
