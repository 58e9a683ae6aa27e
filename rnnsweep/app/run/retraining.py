"""One lineage trained once more, alone, and compared with what its sweep has recorded."""

from __future__ import annotations

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rnnsweep.app.config.load import SweepConfig, allow_stored_imports, from_json
from rnnsweep.app.environment import cores
from rnnsweep.app.provenance.sessions import KEY, warn_of_data
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.results.tables import find
from rnnsweep.app.stores import reading_sweep
from rnnsweep.errors import ConfigError, RnnsweepError
from rnnsweep.sweep.lineage import Stretch, lineage
from rnnsweep.sweep.restored_trial import unfinished
from rnnsweep.sweep.rows import Orders, RowReport, RowSpec, Source, Withdrawal

Key = tuple[int, int, int]
"""Trial, replica, rung."""
_COMPARED = ("step", "state", "solved_at", "solved_exactly_at", "diverged_at")


@dataclass(frozen=True)
class Difference:
    """Something that came out otherwise than it was recorded.

    Attributes:
        trial, replica, rung, step: where.
        key: a metric, or a field of the report.
        recorded, found: None: there was nothing.
    """

    trial: int
    replica: int
    rung: int
    step: int
    key: str
    recorded: object
    found: object

    def __str__(self) -> str:
        where = f"trial {self.trial}, replica {self.replica}, update {self.step}"
        return f"{where}: {self.key} was {self.recorded!r} and is {self.found!r}"


@dataclass(frozen=True)
class Retraining:
    """How a lineage came out when it was trained once more.

    Attributes:
        trial: whose it is.
        stretches: what was trained, oldest first.
        compared: reports that were compared.
        difference: the first one, by rung and replica; None: all are equal to the bit.
        processors: that the sweep has trained on. processor: this machine's.
    """

    trial: int
    stretches: Sequence[Stretch]
    compared: int
    difference: Difference | None
    processors: Sequence[str]
    processor: str

    @property
    def equal(self) -> bool:
        """Every number is what was recorded, to the bit."""
        return self.difference is None


def retrain(sweep: Sweep, number: int, tell: Callable[[RowReport], None] | None = None) -> Retraining:
    """Train a trial's lineage alone: each stretch with its own trial's data, from the state that the one before left.

    Nothing is written to the sweep's stores.

    Args:
        sweep: the trial's. number: of the trial, which may train still: as far as it has come.
        tell: called with each report.

    Raises:
        ConfigError: there is no such trial, or it has no rung yet.
        RnnsweepError: a row cannot be trained; carries the reason.
    """
    with reading_sweep(sweep.place, sweep.name) as (ledger, view):
        config = from_json(view.config, store=sweep.place.own_root)
        trials = ledger.trials(sweep.name)
        trial = find(view, trials, number, "--trial")
        if not trial.rung:
            # an open trial's own entry may be older than its newest rung
            newest = {change.trial: change.data["rung"] for change in ledger.newest_rungs(sweep.name)}
            trial = dataclasses.replace(trial, rung=newest.get(number, 0))
        if not trial.rung:
            raise ConfigError("has no rung yet", key="--trial", value=number, allowed="a trial that has trained")
        stretches = lineage([trial if one.number == number else one for one in trials], number)
        reports = [one for stretch in {s.trial for s in stretches} for one in ledger.reports(sweep.name, stretch)]
    allow_stored_imports(config)
    warn_of_data(view.config.get(KEY))
    # what was DONE with the budget of before has gone on since, as it does here
    known = {(one.trial, one.replica, one.rung): unfinished(config.plan, one) for one in reports}
    recorded = _wanted(known, stretches)
    with tempfile.TemporaryDirectory(prefix="rnnsweep-replay-") as folder:
        replicas = sorted({replica for _, replica, _ in recorded})  # fewer than the sweep's where it lost its race
        found, processor = _trained(config, stretches, replicas, folder, tell or (lambda report: None))
    seen = view.config.get("processors", ())
    first = first_difference(recorded, found)
    return Retraining(number, stretches, len(recorded), first, list(seen), processor)


def _wanted(reports: Mapping[Key, RowReport], stretches: Sequence[Stretch]) -> dict[Key, RowReport]:
    """Reports that belong to the lineage: of each trial those of its own stretches."""
    spans = [(stretch.trial, stretch.after, stretch.rung) for stretch in stretches]
    return {
        key: report
        for key, report in reports.items()
        if any(key[0] == trial and after < key[2] <= rung for trial, after, rung in spans)
    }


def first_difference(recorded: Mapping[Key, RowReport], found: Mapping[Key, RowReport]) -> Difference | None:
    """The first number that differs, in the order of training; None where none does."""
    for key in sorted({*recorded, *found}, key=lambda key: (key[2], key[1], key[0])):
        was, now = recorded.get(key), found.get(key)
        step = (was or now).step  # type: ignore[union-attr]
        trial, replica, rung = key
        if was is None or now is None:
            there = ("absent", "there") if was is None else ("there", "absent")
            return Difference(trial, replica, rung, step, "report", *there)
        for name in _COMPARED:
            if getattr(was, name) != getattr(now, name):
                return Difference(trial, replica, rung, step, name, getattr(was, name), getattr(now, name))
        for name in sorted({*was.metrics, *now.metrics}):
            values = was.metrics.get(name), now.metrics.get(name)
            if values[0] != values[1]:
                return Difference(trial, replica, rung, step, name, *values)
    return None


def _trained(
    config: SweepConfig,
    stretches: Sequence[Stretch],
    replicas: Sequence[int],
    folder: str,
    tell: Callable[[RowReport], None],
) -> tuple[dict[Key, RowReport], str]:
    from rnnsweep.app.worker.factory import trainer_factory

    factory = trainer_factory(config)
    # the very trainer of a sweep, with checkpoints of its own
    settings = dataclasses.replace(factory.settings, checkpoints=folder)
    trainer = dataclasses.replace(factory, settings=settings)("replay", cores())
    trainer.overlaps = False  # no rung is to be trained beyond the last that is looked at
    found: dict[Key, RowReport] = {}
    try:
        for index, stretch in enumerate(stretches):
            specs = _specs(stretches, index, config.plan.budget.updates, replicas)
            orders, active = Orders(join=tuple(specs)), {spec.row for spec in specs}
            while active:
                reports, failures = trainer.advance(orders)
                if failures:
                    raise RnnsweepError(f"replica {failures[0].replica}: {failures[0].kind}: {failures[0].reason}")
                for report in reports:
                    found[report.trial, report.replica, report.rung] = report
                    tell(report)
                active -= {one.row for one in reports if one.state.ended or one.rung >= stretch.rung}
                newest = {report.row: report.rung for report in reports}
                orders = Orders(decided=newest, acknowledged=newest)
            trainer.advance(Orders(leave=tuple(Withdrawal(one.trial, one.replica, one.token) for one in specs)))
        return found, trainer.describe().processor
    finally:
        trainer.close()


def _specs(stretches: Sequence[Stretch], index: int, updates: int, replicas: Sequence[int]) -> list[RowSpec]:
    stretch = stretches[index]
    before: Any = stretches[index - 1].trial if index else None

    def source(replica: int) -> Source | None:
        # of the same trial too, where it went on with its own state and another point
        return Source(before, replica, (_token(index - 1),), stretch.after) if index else None

    return [
        RowSpec(stretch.trial, replica, _token(index), stretch.params, updates, source=source(replica))
        for replica in replicas
    ]


def _token(index: int) -> str:
    return f"replay-{index:04d}"
