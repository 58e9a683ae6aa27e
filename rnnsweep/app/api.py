"""The front door: what Python code calls as `rnnsweep.launch`, `resume`, ..., and the command line too.

What configures and runs is imported where it is called: whoever waits for it is told so first.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from rnnsweep.app.accounts import grant as grant_account
from rnnsweep.app.accounts import listing as list_accounts
from rnnsweep.app.accounts import revoke as revoke_account
from rnnsweep.app.live_display import LiveProgress, Watcher
from rnnsweep.app.remote.service_client import connect
from rnnsweep.app.results.sweep import Sweep, TrialResult, open_sweep
from rnnsweep.app.results.trained import TrainedTrial, load_trained
from rnnsweep.app.stores import StorePlace, place, place_of
from rnnsweep.sweep.session import ENDING

if TYPE_CHECKING:
    from rnnsweep.app.run.retraining import Retraining
    from rnnsweep.sweep.rows import RowReport
    from rnnsweep.sweep.session import Outcome

__all__ = [
    "ENDING",
    "Sweep",
    "TrainedTrial",
    "TrialResult",
    "connect",
    "existing",
    "fresh",
    "grant_account",
    "known_sweeps",
    "known_units",
    "launch",
    "list_accounts",
    "load_trained",
    "open_sweep",
    "resolved_config",
    "resume",
    "revoke_account",
    "submit",
    "train",
]


def launch(
    name: str,
    overrides: Sequence[str] = (),
    *,
    store: Path | str | None = None,
    config_dirs: Sequence[Path | str] = (),
    progress: bool = True,
    on_result: Callable[[Sweep], None] | None = None,
) -> Sweep:
    """Run a sweep to its end or to a stop; see `Sweep.status` for which.

    Args:
        name: a sweep's name, or a path to a yaml.
        overrides: as on the command line.
        store: directory of the stores; else RNNSWEEP_STORE, else the config's.
        config_dirs: your own units and sweeps.
        progress: show it on standard error.
        on_result: called when the sweep has ended, before MLflow and Optuna are waited for, which may be away.

    Raises:
        ConfigError: wrong input; nothing was written.
    """
    with _watcher(Path(name).stem, progress) as watcher:
        watcher.phase("reading the configuration")
        from rnnsweep.app.run import launch as runs
        from rnnsweep.app.run.ahead import Ahead

        with Ahead() as ahead:
            config, store_place = runs.prepare(name, overrides, config_dirs, store, ahead)
            watcher.name, watcher.on_result = config.plan.name, _result(config.plan.name, store_place, on_result)
            return Sweep(config.plan.name, store_place, runs.launch(config, watcher, ahead))


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
    from rnnsweep.app.run import launch as runs
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
    from rnnsweep.app.run import launch as runs

    wanted, store_place = _named(name, overrides, store, config_dirs)
    chosen, unfinished = runs.fresh_name(store_place, wanted)
    return chosen, store_place if unfinished else None


def existing(
    name: str,
    overrides: Sequence[str] = (),
    *,
    store: Path | str | None = None,
    config_dirs: Sequence[Path | str] = (),
) -> tuple[str, StorePlace | None]:
    """The name that a launch would give its sweep, and the store if that has a sweep of this name already."""
    from rnnsweep.app.run import launch as runs

    wanted, store_place = _named(name, overrides, store, config_dirs)
    return wanted, store_place if wanted in dict(runs.states(store_place)) else None


def _named(
    name: str, overrides: Sequence[str], store: Path | str | None, config_dirs: Sequence[Path | str]
) -> tuple[str, StorePlace]:
    """The name and the store of what a launch would launch."""
    from rnnsweep.app.config.load import load
    from rnnsweep.app.run import launch as runs

    folders = [Path(folder) for folder in config_dirs]
    config = load(name, list(overrides), config_dirs=folders, store=runs.root_argument(store), check_units=False)
    return config.plan.name, place_of(config.store.root, config.store.ledger, config.store.urls)


def resume(  # noqa: PLR0913 - the wishes of `rnnsweep resume`, by keyword only
    name: str,
    overrides: Sequence[str] = (),
    *,
    failed: bool = False,
    trials: Sequence[int] = (),
    extend: bool = False,
    accept_changes: bool = False,
    store: Path | str | StorePlace | None = None,
    progress: bool = True,
    on_result: Callable[[Sweep], None] | None = None,
    ask: Callable[[str], str] | None = None,
    trust_code: bool = False,
) -> Sweep:
    """Go on with a sweep of the store; `overrides` may raise ``budget.*``, the rest is as for `launch`.

    Args:
        name: the sweep's.
        overrides: of ``budget.*``.
        failed: try all failed trials again.
        trials: try these trials again.
        extend: complete trials go on to a raised ``budget.updates``.
        accept_changes: go on although code, versions or data have changed since the last session; trials that were
            trained with both are marked.
        trust_code: import the user's units that the ledger names although others may write its file.
        ask: called with a question where a store's password is neither in the ledger, which keeps none, nor in the
            environment; None refuses such a resume.
        store: see `launch`.
        progress: see `launch`.
        on_result: see `launch`.

    Raises:
        ConfigError: wrong input, or something that can change numbers has changed; nothing was written.
        LockedError: another driver holds the sweep.
    """
    store_place = place(store)
    store_place = dataclasses.replace(store_place, trusted=store_place.trusted or trust_code)
    with _watcher(name, progress) as watcher:
        watcher.phase("reading the store")
        from rnnsweep.app.run import launch as runs
        from rnnsweep.sweep.rebuild import Reopen

        config = runs.stored_config(store_place, name, list(overrides), watcher.asking(ask) if ask else None)
        watcher.on_result = _result(name, store_place, on_result)
        reopen = Reopen(failed=failed, trials=tuple(trials), extend=extend)
        return Sweep(name, store_place, runs.resume(config, reopen, watcher, accept_changes=accept_changes))


def _watcher(name: str, progress: bool) -> Watcher:
    return LiveProgress(name) if progress else Watcher(name)


def _result(
    name: str, store_place: StorePlace, on_result: Callable[[Sweep], None] | None
) -> Callable[[Outcome], None] | None:
    return None if on_result is None else lambda outcome: on_result(Sweep(name, store_place, outcome))


def known_sweeps(config_dirs: Sequence[Path | str] = ()) -> list[tuple[str, str]]:
    """Name and one-line description of every sweep that can be launched, your own included."""
    from rnnsweep.app.config.load import list_sweeps

    return [(name, text) for name, _, text in list_sweeps([Path(folder) for folder in config_dirs])]


def known_units(config_dirs: Sequence[Path | str] = ()) -> dict[str, list[str]]:
    """Names of the units of every group, your own included; metrics and activations too."""
    from rnnsweep.app.config.load import list_metrics, list_units
    from rnnsweep.core.activations import ACTIVATIONS

    folders = [Path(folder) for folder in config_dirs]
    return {**list_units(folders), "metric": list(list_metrics(folders)), "activation": list(ACTIVATIONS)}


def resolved_config(
    name: str | None,
    overrides: Sequence[str] = (),
    *,
    store: Path | str | None = None,
    config_dirs: Sequence[Path | str] = (),
) -> dict[str, Any]:
    """The full configuration that a launch would use, checked, without the passwords of its URLs.

    Raises:
        ConfigError: wrong input.
    """
    from rnnsweep.app.config.load import load
    from rnnsweep.app.config.point import without_passwords

    folders = [Path(folder) for folder in config_dirs]
    config = load(name, list(overrides), config_dirs=folders, store=Path(store) if store else None)
    return without_passwords(config.resolved)


def harmless(message: str) -> str:
    """A message for people: no URL in it shows a password."""
    from rnnsweep.app.config.point import without_passwords

    return without_passwords(message)


def train(  # noqa: PLR0913 - what `rnnsweep train` takes, by keyword only
    overrides: Sequence[str] = (),
    *,
    sweep: str | None = None,
    config_dirs: Sequence[Path | str] = (),
    observer: Callable[[RowReport], None] | None = None,
    out: Path | str | None = None,
    on_note: Callable[[str], None] | None = None,
    on_update: Callable[[int, int], None] | None = None,
) -> TrainedTrial:
    """Train one trial here: no Ray, no Optuna, no store.

    Args:
        overrides: as on the command line, values only; keys that `sweep` searches stand at their defaults.
        sweep: whose config to start from; None takes the base config.
        config_dirs: your own units and sweeps.
        observer: called with every report as it comes.
        out: a folder that keeps checkpoints and config, for `load_trained`: a new one, or that of the same training,
            which goes on there if it was interrupted; None: they last as long as the result.
        on_note: called with what else a person wants to know, a line each; None drops them.
        on_update: called after every update: (updates done, updates at the next report).

    Returns:
        All reports, by rung and replica; its `load` gives the trained network.

    Raises:
        ConfigError: wrong input, or `out` holds something else.
    """
    from rnnsweep.app.config.load import load, refuse_ranges, to_json
    from rnnsweep.app.results.training_folder import CHECKPOINTS
    from rnnsweep.app.run.kept_training import train_in
    from rnnsweep.app.worker.single import TrainingWatch, train_one

    folders = [Path(folder) for folder in config_dirs]
    refuse_ranges(overrides, folders)
    config = load(sweep, list(overrides), config_dirs=folders)
    told: dict[str, Any] = {"report": observer, "note": on_note, "within": on_update}
    watch = TrainingWatch(**{name: one for name, one in told.items() if one is not None})
    if out is not None:
        return TrainedTrial(to_json(config), train_in(Path(out), config, watch), Path(out))
    keep = TemporaryDirectory(prefix="rnnsweep-train-")
    reports = train_one(config, watch, Path(keep.name) / CHECKPOINTS)
    return TrainedTrial(to_json(config), reports, Path(keep.name), keep)


def replay(sweep: Sweep, trial: int) -> Retraining:
    """Train a trial of a sweep once more, through all states that it took over, and compare with its record.

    Nothing is written to the sweep's stores.

    Raises:
        ConfigError: the sweep has no such trial, or it has no rung yet.
    """
    from rnnsweep.app.run.retraining import retrain

    return retrain(sweep, trial)
