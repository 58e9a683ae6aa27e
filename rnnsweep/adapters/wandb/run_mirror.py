"""The `Mirror` that writes runs of Weights & Biases.

    trial ends ─► its whole journal ─► one run, from its first point to its end ─► done.json

W&B's own process takes points over a socket and writes them later; nobody can say after a kill which of them it has. So
a run is made in one go: one without its ``done.json`` is removed and made again, and no point is there twice. W&B
shows a trial when it has ended.
"""

from __future__ import annotations

import json
import logging
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnsweep.adapters.sweep_folder import SweepFolder, replace
from rnnsweep.adapters.tracked_trials import TrackedSweep, TrackedTrial, TrackerFacts
from rnnsweep.adapters.trial_texts import param_text
from rnnsweep.adapters.wandb.transaction_log import wait_until_whole
from rnnsweep.errors import StoreError
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Change
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import SweepView

DONE = "done.json"
INIT_S = 30.0
"""Seconds that a server may take to answer before the store counts as away."""
FLUSH_S = 20.0
"""Seconds that W&B's own process may take to write a run's end."""


@dataclass(frozen=True)
class WandbPlace:
    """Where runs go.

    Attributes:
        root: folder of the files. project, entity: W&B's; entity None: the account's own.
        mode: offline (files alone, for ``wandb sync``) or online.
    """

    root: Path
    project: str
    entity: str | None = None
    mode: str = "offline"


class WandbMirror:
    """Implements `Mirror` for Weights & Biases.

    Args:
        place: where runs go.
        sweep: as the ledger has it.
        plan: of the sweep.
        facts: what trackers need besides the journal.
        journal: trial number -> all of its journal entries so far.
    """

    name = "wandb"
    batch = 2000

    def __init__(
        self,
        place: WandbPlace,
        sweep: SweepView,
        plan: SweepPlan,
        facts: TrackerFacts,
        journal: Callable[[int], Sequence[Change]],
    ) -> None:
        self._place, self._sweep, self._journal = place, sweep, journal
        self._folder = SweepFolder(self.name, place.root, sweep)
        self._tracked = TrackedSweep(plan, facts)

    def holds(self, batches: Iterable[Sequence[Change]]) -> bool:
        """Whether every trial that has ended has its run, as it ended last."""
        self._tracked.replay(batches)
        with self._folder.errors():
            ended = [trial for trial in self._tracked.trials.values() if trial.ended_at is not None]
            return self._folder.is_ours and all(self._is_done(trial) for trial in ended)

    def start_over(self) -> None:
        """Runs that are whole stay; the others are made again."""
        self._tracked.reset()

    def write(self, changes: Sequence[Change]) -> None:
        """Make the runs of trials that have ended; `StoreError` when that fails, then the entries come again."""
        self._tracked.take(changes)
        with self._folder.errors():
            self._folder.claim()
            for trial in self._tracked.pending:
                if trial.ended_at is not None and not self._is_done(trial):
                    self._make_run(trial)
        self._tracked.written()

    def close(self) -> None:
        """Nothing is open between calls."""

    # ------------------------------------------------------------------ one run

    def _trial_folder(self, trial: TrackedTrial) -> Path:
        return self._folder.path / f"{trial.number:05d}"

    def _is_done(self, trial: TrackedTrial) -> bool:
        folder = self._trial_folder(trial)
        try:
            done = json.loads((folder / DONE).read_text(encoding="utf-8"))
            whole = all((folder / name).stat().st_size >= size for name, size in done["files"].items())
            return whole and bool(done["files"]) and done["end"] == _end(trial)
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False

    def _make_run(self, trial: TrackedTrial) -> None:
        folder = self._trial_folder(trial)
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        alone = TrackedSweep(self._tracked.plan, self._tracked.facts)
        # with this trial's newest entries, also where later ones are in the journal already: those come again
        alone.take(self._journal(trial.number))
        for one in alone.pending:
            self._write_run(folder, alone, one)
            logs = sorted((folder / "wandb").glob("*run-*/run-*.wandb"))
            if not logs or not all(wait_until_whole(file, FLUSH_S) for file in logs):
                raise StoreError(self.name, f"{folder}: the run was not written to its end")
            files = {str(file.relative_to(folder)): file.stat().st_size for file in logs}
            replace(folder / DONE, json.dumps({"end": _end(one), "files": files}).encode())

    def _write_run(self, folder: Path, sweep: TrackedSweep, trial: TrackedTrial) -> None:
        import wandb

        logging.getLogger("wandb").setLevel(logging.ERROR)
        run = wandb.init(
            id=f"{self._sweep.identity}-{trial.number:05d}",
            name=f"{trial.number:05d}",
            group=self._sweep.name,
            job_type="trial",
            tags=[trial.state.value],
            config=_config(sweep, trial),
            settings=self._settings(wandb, folder),
            reinit="create_new",  # a user's own run in this process stays the current one
            resume="allow" if self._place.mode == "online" else None,
        )
        try:
            for step, values in _by_step(trial).items():
                run.log({**values, "_timestamp": trial.started + step / 1000}, step=step)
        finally:
            run.finish(exit_code=1 if trial.state is TrialState.FAILED else 0)

    def _settings(self, wandb: Any, folder: Path) -> Any:
        """Only what the ledger says is written: no code, no console, no look at the machine."""
        return wandb.Settings(
            mode=self._place.mode,
            project=self._place.project,
            entity=self._place.entity,
            root_dir=str(folder),
            init_timeout=INIT_S,
            silent=True,
            console="off",
            save_code=False,
            disable_git=True,
            disable_code=True,
            x_disable_stats=True,
            x_disable_meta=True,
            x_save_requirements=False,
        )


def _end(trial: TrackedTrial) -> list[Any]:
    """What tells an end from an earlier one of the same trial."""
    return [trial.state.value, trial.step, int(trial.data.get("attempts", 0))]


def _config(sweep: TrackedSweep, trial: TrackedTrial) -> dict[str, Any]:
    """Searched keys as W&B's config; what MLflow has as tags below ``rnnsweep``."""
    params = {key: param_text(value) if value is None else value for key, value in sweep.params(trial).items()}
    return {**params, "rnnsweep": {"sweep": sweep.plan.name, "trial": trial.number, **sweep.tags(trial)}}


def _by_step(trial: TrackedTrial) -> Mapping[int, dict[str, float]]:
    steps: dict[int, dict[str, float]] = {}
    for key, step, value in trial.points:
        steps.setdefault(step, {}).setdefault(key, value)
    return dict(sorted(steps.items()))
