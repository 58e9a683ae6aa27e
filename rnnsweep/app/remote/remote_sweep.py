"""A sweep of a service as an object: the methods of `Sweep`, each one a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.app.remote.connection import Connection
from rnnsweep.errors import ConfigError, RnnsweepError

if TYPE_CHECKING:
    from rnnsweep.sweep.lineage import Schedule, Stretch
    from rnnsweep.sweep.ports import Change
    from rnnsweep.sweep.session import Outcome

    Frame = Any  # a pandas frame, see `report.data`


@dataclass(frozen=True)
class RemoteTrial:
    """A trial of a service's sweep, as it was when it was asked for.

    Attributes:
        sweep: whose it is.
        entry: what `rnnsweep show --json` prints of it.
    """

    sweep: RemoteSweep
    entry: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Trial number."""
        return self.entry["trial"]

    @property
    def state(self) -> str:
        """Upper-case state."""
        return self.entry["state"]

    @property
    def params(self) -> Mapping[str, Any]:
        """Searched keys -> values."""
        return self.entry["params"]

    @property
    def objective(self) -> float | None:
        """The first objective, None without a result."""
        return self.entry["objective"]

    @property
    def solved_at(self) -> int | None:
        """Median over replicas of the updates to solve; None while fewer than half have."""
        return self.entry["solved_at"]

    @property
    def point(self) -> Mapping[str, Any]:
        """The searched keys' values that its rows train with now, or did last: other than `params` in a population."""
        return self.entry.get("point", self.params)

    def load(self, replica: int | None = None) -> Any:
        """A network is loaded where its store is.

        Raises:
            RnnsweepError: always; says how to get its files.
        """
        del replica
        raise RnnsweepError(
            f"trial {self.number} is in a service's store: a network is loaded there; "
            f"sweep.download(folder) brings its checkpoints here"
        )

    def end(self, reason: str = "") -> None:
        """Ask the driver to end the trial at its next rung."""
        self._ask("end", reason)

    def pause(self, reason: str = "") -> None:
        """Ask the driver to take the trial out at its next rung; its checkpoint is kept."""
        self._ask("pause", reason)

    def unpause(self, reason: str = "") -> None:
        """Let the trial go on."""
        self._ask("unpause", reason)

    def _ask(self, what: str, reason: str) -> None:
        self.sweep.request(f"{what}_trial", [self.number], reason)


@dataclass(frozen=True)
class RemoteSweep:
    """A sweep in the store of a service. Every call is a request, so it works while the sweep runs.

    Attributes:
        name: the sweep's name.
        connection: to the service.
        outcome: how it ended, where somebody has waited for that.

    Example:
        sweep = rnnsweep.connect("http://127.0.0.1:8788").open_sweep("quickstart")
        sweep.trials().sort_values("objective")[["trial", "objective"]].head()
    """

    name: str
    connection: Connection
    outcome: Outcome | None = field(default=None, compare=False, repr=False)

    # ------------------------------------------------------------------ as the commands print it

    def status(self) -> dict[str, Any]:
        """What `rnnsweep status --json` prints."""
        return self._get()

    def table(self) -> list[dict[str, Any]]:
        """What `rnnsweep table --json` prints, one entry per trial, by number."""
        return self._get("table")

    def ranking(self) -> list[dict[str, Any]]:
        """Entries of the table: complete trials only, best first."""
        return self._get("ranking")

    def front(self) -> list[int]:
        """Numbers of the complete trials that no other one beats in every objective; empty with one objective."""
        return self._get("front")

    def show(self, trial: int) -> dict[str, Any]:
        """A table entry with curves, replicas, artifacts and history.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        return self._get("trials", trial)

    @property
    def state(self) -> str:
        """Upper-case state; QUEUED while the service has not begun it."""
        return self.status()["state"]

    @property
    def queued(self) -> Mapping[str, Any] | None:
        """Its line in the service's queue: state (QUEUED, RUNNING, PAUSED, ENDED), reason, ...; None: not there."""
        lines = [line for line in self.connection.get("queue") if line["name"] == self.name]
        return lines[-1] if lines else None

    def log(self, after: int = 0, trial: int | None = None) -> list[Change]:
        """Entries of the ledger's journal with a greater number than `after`, oldest first, some at a time.

        Args:
            after: number of the last entry that is known.
            trial: of this trial only.
        """
        from rnnsweep.sweep.ports import Change

        return [Change(**entry) for entry in self._get("journal", after=after, trial=trial)]

    def record(self) -> dict[str, Any]:
        """The sweep as the ledger has it: fields of a `SweepView`, its state as it stands, no passwords."""
        return self._get("record")

    def config(self) -> dict[str, Any]:
        """The resolved config, without passwords."""
        return self._get("config")

    # ------------------------------------------------------------------ frames

    def trials(self) -> Frame:
        """One row per trial: state, objective, solved_at, ... and one column per searched key."""
        from rnnsweep.app.results.frames import TRIAL_COLUMNS

        return self._frame(self._get("trials"), TRIAL_COLUMNS)

    def replicas(self) -> Frame:
        """One row per (trial, replica): state, step, value, solved_at, device time."""
        from rnnsweep.app.results.frames import REPLICA_COLUMNS

        return self._frame(self._get("replicas"), REPLICA_COLUMNS)

    def curves(self, *keys: str, trial: int | None = None) -> Frame:
        """Long form: trial, replica, rung, step, key, value; all metric keys where none are named.

        Raises:
            ConfigError: a key that is no metric; names the nearest.
        """
        from rnnsweep.app.results.frames import CURVE_COLUMNS

        return self._frame(self._get("curves", key=keys, trial=trial), CURVE_COLUMNS)

    @property
    def best(self) -> RemoteTrial:
        """The best complete trial.

        Raises:
            RnnsweepError: none is complete yet.
        """
        return RemoteTrial(self, self._get("best"))

    def trial(self, number: int) -> RemoteTrial:
        """One trial by number.

        Raises:
            ConfigError: there is none.
        """
        return RemoteTrial(self, self.show(number))

    def lineage(self, trial: int) -> Schedule:
        """What the state of a trial was trained with: searched key -> [(from update, value), ...], see `Sweep.lineage`.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        from rnnsweep.sweep.lineage import schedule

        return schedule(self.stretches(trial))

    def stretches(self, trial: int) -> list[Stretch]:
        """The stretches of training that led to a trial's state, oldest first, see `Sweep.stretches`.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        from rnnsweep.sweep.lineage import Stretch

        entry = self.show(trial)
        if "lineage" not in entry:
            return [Stretch(trial, 0, entry["rung"], 0, entry["params"])]
        return [
            Stretch(line["trial"], line["after"], line["rung"], line["from"], line["params"])
            for line in entry["lineage"]
        ]

    # ------------------------------------------------------------------ requests to its driver

    def stop(self, reason: str = "") -> bool:
        """Ask the service to stop it after the rung in progress; False where it neither runs nor waits for its turn."""
        line = self.queued
        waits = line is not None and line["state"] in ("QUEUED", "RUNNING")
        if not waits and self.state != "RUNNING":
            return False
        self.connection.post("sweeps", self.name, "stop", body={"reason": reason})
        return True

    def pause(self, reason: str = "") -> None:
        """As `stop`; the sweep is expected to go on."""
        self.connection.post("sweeps", self.name, "pause", body={"reason": reason})

    def resume(
        self,
        overrides: Sequence[str] = (),
        *,
        failed: bool = False,
        trials: Sequence[int] = (),
        extend: bool = False,
    ) -> None:
        """Queue it again; see `rnnsweep.resume` for what may be wished.

        Raises:
            ConfigError: wrong input, or a trial that cannot go on; nothing was written.
        """
        wishes = {"overrides": list(overrides), "failed": failed, "trials": list(trials), "extend": extend}
        self.connection.post("sweeps", self.name, "resume", body=wishes)

    def end_trial(self, number: int, reason: str = "") -> None:
        """Ask the driver to end a trial at its last rung, as PRUNED, with a reason that its record keeps."""
        self.request("end_trial", [number], reason)

    def pause_trial(self, number: int, reason: str = "") -> None:
        """Ask the driver to take a trial's rows off their worker; PAUSED, it keeps its checkpoints."""
        self.request("pause_trial", [number], reason)

    def unpause_trial(self, number: int) -> None:
        """Ask the driver to let a paused trial go on."""
        self.request("unpause_trial", [number])

    def request(self, kind: str, trials: Sequence[int], reason: str = "") -> None:
        """Ask the driver for ``end_trial``, ``pause_trial`` or ``unpause_trial``, trial by trial.

        Raises:
            ConfigError: a trial cannot do that; those before it were asked.
        """
        for number in trials:
            what = kind.removesuffix("_trial")
            self.connection.post("sweeps", self.name, "trials", number, what, body={"reason": reason})

    @property
    def option(self) -> tuple[str, ...]:
        """Words that name the service on a command line."""
        return ("--service", self.connection.url)

    def edit(self, *overrides: str) -> None:
        """Change what is searched while the sweep lives, see `Sweep.edit`.

        Raises:
            ConfigError: what is not in the sweep, or refused by a unit, the sampler or the budget.
        """
        self.connection.post("sweeps", self.name, "edit", body={"overrides": list(overrides)})

    def edits(self) -> list[dict[str, Any]]:
        """What was changed of the space since the launch, oldest first."""
        return self._get("edits")

    def raise_budget(self, **limits: float | None) -> None:
        """Change limits while it runs: trials, wall_s, device_s, target.

        Raises:
            ConfigError: no such limit, or a smaller one than before.
        """
        self.connection.post("sweeps", self.name, "budget", body={"budget": limits})

    def enqueue(self, *points: Mapping[str, Any]) -> None:
        """Ask the driver to try these points next; searched keys that a point leaves open are drawn.

        Raises:
            ConfigError: a point names a key that is not searched, or a value that its search does not have.
        """
        self.connection.post("sweeps", self.name, "enqueue", body={"points": [dict(point) for point in points]})

    # ------------------------------------------------------------------ files

    def report(self, out: Path | None = None, formats: Sequence[str] = ()) -> Path:
        """Have the report drawn by the service and write its page here; returns the page's path.

        Args:
            out: folder; None takes ``reports/SWEEP`` below the working directory.
            formats: none: the figures are in the page.

        Raises:
            ConfigError: a format, or the folder cannot be written.
        """
        if formats:
            raise ConfigError("are drawn where the store is", key="--format", value=",".join(formats), allowed="none")
        folder = Path("reports") / self.name if out is None else Path(out)
        self._save(folder / "index.html", "report")
        return folder / "index.html"

    def artifacts(self) -> list[dict[str, Any]]:
        """Files of the sweep in the service's store: path and bytes of each."""
        return self._get("artifacts")

    def download(self, folder: Path | str) -> list[Path]:
        """Write all of `artifacts` below a folder, under the same paths; returns theirs.

        Raises:
            ConfigError: the folder cannot be written.
        """
        written = []
        for entry in self.artifacts():
            parts = entry["path"].split("/")
            if any(part in ("", ".", "..") for part in parts):  # a service that is none must not choose places here
                raise RnnsweepError(f"{self.connection.url}: names a file outside of its folder: {entry['path']}")
            target = Path(folder).joinpath(*parts)
            self._save(target, "artifacts", entry["path"])
            written.append(target)
        return written

    def overview(self) -> Path | None:
        """None: pictures are drawn where the store is."""
        return None

    # ------------------------------------------------------------------ inside

    def _get(self, *path: object, **query: Any) -> Any:
        return self.connection.get("sweeps", self.name, *path, **query)

    def _frame(self, columns: Mapping[str, Sequence[Any]], types: Mapping[str, str]) -> Frame:
        import pandas as pd

        return pd.DataFrame(columns).astype({name: kind for name, kind in types.items() if name in columns})

    def _save(self, target: Path, *path: object) -> None:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            self.connection.save(target, "sweeps", self.name, *path)
        except OSError as error:
            reason = error.strerror or str(error)
            allowed = "a folder that can be written"
            raise ConfigError(f"cannot be written: {reason}", key="--out", value=str(target), allowed=allowed) from None
