"""What a worker runs: rows grouped by shape key, trained rung by rung, checkpointed and reported."""

from __future__ import annotations

import importlib.metadata
import platform
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch

from rnnsweep.app.config.point import resolve_point
from rnnsweep.app.worker.checkpoint_writers import CheckpointWriters
from rnnsweep.app.worker.device import device_name, device_of, rows_at_once, rows_that_fit, single_threaded
from rnnsweep.app.worker.open_sweeps import OpenSweep, OpenSweeps
from rnnsweep.app.worker.retrying_store import RetryingStore
from rnnsweep.app.worker.row_in_training import RowInTraining, has_ended, report_of
from rnnsweep.app.worker.row_records import failures_of, no_memory, reports_of, standing_of
from rnnsweep.app.worker.rung_news import RungNews
from rnnsweep.app.worker.settings import TrainerSettings
from rnnsweep.app.worker.stages import carried_on, config_after, counted, outgrown, waits_for_all
from rnnsweep.app.worker.taken_states import revoked, state_of
from rnnsweep.app.worker.turns import PackTurns
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers, shape_key
from rnnsweep.core.checkpoint import check_parameters
from rnnsweep.core.pack import Member, Pack, RowSnapshot
from rnnsweep.core.program import Program
from rnnsweep.core.training import Later, Watch, train_rung
from rnnsweep.core.types import RowStatus
from rnnsweep.errors import MismatchError, RnnsweepError, SourceError, StoreError
from rnnsweep.sweep.fidelity import stage_after
from rnnsweep.sweep.policy import NO_SOURCE
from rnnsweep.sweep.pooled_rows import CLOSED, MISMATCH, STORE, of_sweep
from rnnsweep.sweep.rows import (
    ALONE,
    Opening,
    Orders,
    RowFailure,
    RowId,
    RowReport,
    RowSpec,
    Source,
    Withdrawal,
    WorkerInfo,
    narrowed,
    owner_of,
    wide,
    widened,
)
from rnnsweep.sweep.states import RowState as State

_LIBRARIES = ("rnnsweep", "torch", "numpy", "numba", "safetensors", "ray", "optuna", "mlflow")

PackKey = tuple[str, int, int, int]
"""Shape key, updates per rung, rungs per evaluation; the sweep's number where its rows are kept apart, else 0.

Rows with rungs of other lengths would wait for each other in one pack.
"""


class PackTrainer:
    """Implements `sweep.ports.Trainer` with the torch core.

    Rows of one shape key form one pack, whichever sweep they are of; packs are trained in turn, one rung each per
    `advance` (of several sweeps, as many as their turn has time for). What the rows' numbers are does not depend on
    that grouping.

    Attributes:
        settings: of the sweep that it was built for; others may come with orders.
        overlaps: whether a rung's spectra, files and reports are made while the next rung trains: on a GPU.
        within: told how far a pack is within its rung; None: nobody wants to know. `watch` takes its place.
    """

    def __init__(self, settings: TrainerSettings, worker: str, cores: int) -> None:
        self.settings, self.worker, self._cores = settings, worker, cores
        self.device = device_of(settings.device)
        single_threaded(cores, self.device)
        self.sweeps = OpenSweeps(settings)
        self.packs: dict[PackKey, Pack] = {}
        self.rows: dict[RowId, RowInTraining] = {}
        self._takes: dict[RowId, RowSpec] = {}
        self._turns = PackTurns[PackKey]()
        # keys of packs that failed as a whole: the sweeps in them are kept apart, so that only the guilty one fails
        self._apart: set[PackKey] = set()
        self._news: RungNews | None = None
        self._writers = CheckpointWriters()
        self.overlaps = self.device.type == "cuda"
        self.within: Watch | None = None

    @property
    def store(self) -> RetryingStore:
        """Checkpoints of the sweep that it was built for."""
        return self.sweeps[ALONE].store

    def describe(self) -> WorkerInfo:
        """See `Trainer.describe`."""
        versions = {"python": platform.python_version()}
        for name in _LIBRARIES:
            versions[name] = importlib.metadata.version(name)
        program = self._base_program()
        return WorkerInfo(
            self.worker,
            socket.gethostname(),
            str(self.device),
            device_name(self.device),
            # the base point stands for all: trials that are larger end in `out_of_memory`, which halves the slots
            self.settings.rows or rows_that_fit(program, self.device),
            versions,
            rows_at_once(self.device, self._cores),
        )

    def _base_program(self) -> Program:
        config = resolve_point(self.settings.variants[:1], {**self.settings.variants[0].groups})
        return build_program(config, build_units(config), self.device)

    def watch(self, tell: Callable[[bool, int], None]) -> None:
        """See `Trainer.watch`; only loops for processors are told of, those of GPUs compile in moments."""
        self._news = RungNews(tell)

    def close(self) -> None:
        """See `Trainer.close`."""
        if self._news is not None:
            self._news.end()
            self._news = None
        self._writers.close()
        self.packs.clear()
        self.rows.clear()

    def advance(self, orders: Orders) -> tuple[list[RowReport], list[RowFailure]]:
        """See `Trainer.advance`."""
        reports: list[RowReport] = []
        failures: list[RowFailure] = []
        for number, opening in orders.open.items():
            self._open(number, opening, failures)
        # First of all: whose state is taken may leave with this very message, and who takes it stays in its place. Who
        # has checkpoints of its own since it took one is no such row: its attempt of before leaves, and it joins.
        staying = [spec for spec in orders.join if spec.source is not None and not spec.restore]
        joining = [spec for spec in orders.join if spec not in staying or spec.row not in self.rows]
        for spec in (spec for spec in orders.join if spec not in joining):
            self._guard([spec], failures, lambda spec=spec: self._take_over(spec, joining))
        # Who leaves goes before who joins: a new attempt of the same row may be among them.
        self._takes = {spec.row: spec for spec in self._takes.values() if not revoked(spec, orders)}
        for withdrawal in orders.leave:
            with self._store_of(owner_of(withdrawal.trial)[0], failures):
                self._withdraw(withdrawal)
        self._note_progress(orders)
        self._takes |= {spec.row: spec for spec in orders.take}
        for spec in self._due():
            self._guard([spec], failures, lambda spec=spec: self._take_over(spec, joining))
        self._move_on(failures)
        self._take_in(joining, reports, failures)
        # what restored rows repeat, and nothing else, would pass for a store that works; a sweep's store goes with it
        at_once = not self.overlaps or bool(reports or orders.close)
        if self._news is not None:
            self._news.begin_rung()
        if not self._train_packs(reports, failures) or at_once:
            self._report_written(reports, failures)
        for number in orders.close:
            self.sweeps.close(number)
            failures.append(of_sweep(number, CLOSED))
        return reports, failures

    # ------------------------------------------------------------------ orders

    def _open(self, number: int, opening: Opening, failures: list[RowFailure]) -> None:
        try:
            self.sweeps.open(number, opening, self.worker)
        except MismatchError as error:
            failures.append(of_sweep(number, MISMATCH, str(error)))

    def _take_in(self, specs: Sequence[RowSpec], reports: list[RowReport], failures: list[RowFailure]) -> None:
        """All who join a pack join at once: every join copies the pack's tensors."""
        joining: dict[PackKey, list[tuple[RowInTraining, RowSnapshot]]] = {}
        for spec in specs:
            if owner_of(spec.trial)[0] in self.sweeps:  # else it was refused, and its driver knows
                self._guard([spec], failures, lambda spec=spec: self._prepare(spec, joining, reports))
        self._join_all(joining, failures)

    def _join_all(
        self, joining: Mapping[PackKey, Sequence[tuple[RowInTraining, RowSnapshot]]], failures: list[RowFailure]
    ) -> None:
        for key, rows in joining.items():
            own = [row.spec for row, _ in rows]
            self._guard(own, failures, lambda key=key, rows=rows: self._join(key, rows), key)

    def _row(self, member: Member) -> RowInTraining:
        return self.rows[member.name]  # type: ignore[index]

    def _withdraw(self, withdrawal: Withdrawal) -> None:
        identity = (withdrawal.trial, withdrawal.replica)
        row = self.rows.get(identity)
        number, own = narrowed(withdrawal)
        if number not in self.sweeps:
            return
        store = self.sweeps[number].store
        folder = store.folder(own.trial, own.replica, own.token)
        # Another token is another attempt: a withdrawal that comes late must not take the one in training with it.
        if row is not None and row.spec.token == withdrawal.token:
            self._drop([identity])
        # The row went on while the driver decided: what it trained beyond the verdict must never be restored.
        self._writers.wait(identity)
        if withdrawal.keep_rung is not None:
            rungs = store.rungs(folder)
            store.prune(folder, [rung for rung in rungs if rung <= withdrawal.keep_rung])

    def _note_progress(self, orders: Orders) -> None:
        """What the driver has decided and stored of rows that go on."""
        for identity, rung in orders.decided.items():
            if identity in self.rows:
                self.rows[identity].decided = max(self.rows[identity].decided, rung)
        for identity, rung in orders.acknowledged.items():
            if identity in self.rows:
                row = self.rows[identity]
                row.reports = [report for report in row.reports if report.rung > rung]

    def _prepare(
        self, spec: RowSpec, joining: dict[PackKey, list[tuple[RowInTraining, RowSnapshot]]], reports: list[RowReport]
    ) -> None:
        """Build or restore a row; repeat the reports that its checkpoint carries."""
        number, own = narrowed(spec)
        sweep = self.sweeps[number]
        folders = [sweep.folder(own.trial, own.replica, token) for token in spec.restore]
        self._writers.wait(spec.row)
        saved = sweep.store.newest(folders, spec.restore_to)
        rung = saved.state.rung if saved is not None else spec.source.rung if spec.source is not None else 0
        row, key = self._built(spec, rung)
        program = self.packs[key].program
        if saved is not None:
            state = saved.state
            # The driver may have died before it stored them; under the new token, or it would take them for an old
            # attempt's. What it knows already it turns down by the rung's number.
            row.reports = [replace(report, token=spec.token) for report in reports_of(saved)]
            row.standing = standing_of(saved)
            reports.extend(widened(number, report) for report in row.reports)
        elif spec.source is not None:
            state = self._state_of(sweep, spec.source)
        else:
            state = initial_state(program, row.units, sweep.streams(own.trial, own.replica))
        if not has_ended(row, state):
            check_parameters(state, program.layout, folders[0] if saved is not None else row.folder)
            row.rung = state.rung
            joining.setdefault(key, []).append((row, carried_on(sweep.settings, state)))

    def _built(self, spec: RowSpec, rung: int) -> tuple[RowInTraining, PackKey]:
        """A row that has no state yet and the pack where it belongs after a rung, which is there from now on."""
        number, own = narrowed(spec)
        sweep = self.sweeps[number]
        config = config_after(sweep.settings, spec.params, rung)
        units = build_units(config)  # here a unit refuses a value that it cannot take, before anything is held for it
        folder = sweep.folder(own.trial, own.replica, own.token)
        key = self._key(shape_key(config, units), sweep)
        if key not in self.packs:
            self.packs[key] = Pack(build_program(config, units, self.device))
        stage = stage_after(sweep.settings.stages, rung)
        return RowInTraining(spec, sweep, own.trial, units, folder, stage=stage), key

    def _move_on(self, failures: list[RowFailure]) -> None:
        """Rows for which another stage begins go to the pack that trains it; a report of theirs is on its way."""
        joining: dict[PackKey, list[tuple[RowInTraining, RowSnapshot]]] = {}
        for pack in list(self.packs.values()):
            moving = [index for index, member in enumerate(pack.members) if outgrown(self._row(member))]
            if not moving:  # nearly always: a look at states would wait for the device
                continue
            rows, states = [self._row(pack.members[index]) for index in moving], pack.snapshots(moving)
            pack.leave(moving)
            for row, state in zip(rows, states, strict=True):
                self._guard([row.spec], failures, lambda row=row, state=state: self._grow(row, state, joining))
        self._join_all(joining, failures)

    def _grow(
        self, row: RowInTraining, state: RowSnapshot, joining: dict[PackKey, list[tuple[RowInTraining, RowSnapshot]]]
    ) -> None:
        fresh, key = self._built(row.spec, row.rung)
        grown = replace(row, units=fresh.units, stage=fresh.stage)
        joining.setdefault(key, []).append((grown, carried_on(row.sweep.settings, state)))

    # ------------------------------------------------------------------ rows that take over another one's state

    def _due(self) -> list[RowSpec]:
        """Rows that are to take over another one's state now; those that never can are forgotten."""
        due: list[RowSpec] = []
        for name, spec in list(self._takes.items()):
            assert spec.source is not None
            row, source = (
                self.rows.get(name),
                self.rows.get((wide(owner_of(name[0])[0], spec.source.trial), spec.source.replica)),
            )
            rung = spec.source.rung
            if row is not None and source is not None and (source.rung < rung or row.rung < rung):
                continue  # one of them is not there yet
            del self._takes[name]
            if row is not None and source is not None and source.rung == rung and row.spec.token != spec.token:
                due.append(spec)
        return due

    def _take_over(self, spec: RowSpec, joining: list[RowSpec]) -> None:
        """A row that trains here goes on from another one's state, in its own place where it has the same program."""
        assert spec.source is not None
        if self.rows[spec.row].spec.token == spec.token:  # it does already
            return
        row, key = self._built(spec, spec.source.rung)
        there = {
            member.name: (at, index) for at, pack in self.packs.items() for index, member in enumerate(pack.members)
        }
        at, index = there[spec.row]
        if at != key:  # it was kept apart for a while, or a stage begins: it leaves, and joins as any other
            self._drop([spec.row])
            joining.append(spec)
            return
        pack, member = self.packs[key], self._member(row)
        wide_source = (wide(row.sweep.number, spec.source.trial), spec.source.replica)
        source = there.get(wide_source)
        # the row itself where it stands at that very rung, which is the usual case; its checkpoint holds the same
        near = self.rows.get(wide_source)
        if source is not None and near is not None and source[0] == key and near.rung == spec.source.rung:
            pack.exploit(index, source[1], member)
        else:
            state = self._state_of(row.sweep, spec.source)
            check_parameters(state, pack.program.layout, row.folder)
            pack.replace(index, member, carried_on(row.sweep.settings, state))
        row.rung = spec.source.rung
        self.rows[spec.row] = row

    def _state_of(self, sweep: OpenSweep, source: Source) -> RowSnapshot:
        self._writers.wait((wide(sweep.number, source.trial), source.replica))
        return state_of(sweep, source)

    def _key(self, shape: str, sweep: OpenSweep) -> PackKey:
        key = (shape, sweep.settings.report_every, sweep.settings.eval_every, 0)
        return (*key[:3], sweep.number) if key in self._apart else key

    def _join(self, key: PackKey, rows: Sequence[tuple[RowInTraining, RowSnapshot]]) -> None:
        self.packs[key].join([(self._member(row), state) for row, state in rows])
        self.rows.update({row.spec.row: row for row, _ in rows})

    @staticmethod
    def _member(row: RowInTraining) -> Member:
        streams = row.sweep.streams(row.trial, row.spec.replica)
        return Member(row.spec.row, row.spec.updates, row_hypers(row.units), streams)

    # ------------------------------------------------------------------ one rung

    def _train_packs(self, reports: list[RowReport], failures: list[RowFailure]) -> bool:
        """A rung of each pack whose turn it is; whether there is any."""
        self.packs = {key: pack for key, pack in self.packs.items() if len(pack)}
        owners = {key: [self._row(member).sweep.number for member in pack.members] for key, pack in self.packs.items()}
        trained = False
        for key in self._turns.turn(owners, self.sweeps.openings):
            specs = [self._row(member).spec for member in self.packs[key].members]
            self._guard(specs, failures, lambda key=key: self._train(key, reports, failures), key)
            trained = True
        return trained

    def _train(self, key: PackKey, reports: list[RowReport], failures: list[RowFailure]) -> None:
        pack = self.packs[key]
        if not len(pack):
            del self.packs[key]
            return
        started = time.perf_counter()
        _, every, eval_every, _ = key
        within = self.within if self._news is None else self._news.begin_pack(pack.due(every))
        late = self.overlaps and not any(waits_for_all(one.settings) for one in self.sweeps.openings.values())
        later: Later | None = [] if late else None
        trained = train_rung(pack, every, eval_every, within, later)
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)  # work is queued: without this the clock would stop before it is done
        # Rows of a pack cannot be timed apart; equal shares add up to what the device really spent.
        spent = time.perf_counter() - started
        self._turns.charge(key, spent)
        share = spent / len(pack)
        standing = [*zip(pack.members, pack.snapshots(range(len(pack))), pack.status.tolist(), trained, strict=True)]
        # only now, when all is read that depends on the order of rows: whose checkpoint fails leaves the pack
        self._report_written(reports, failures)
        ended: list[RowId] = []
        rungs: list[tuple[RowInTraining, RowSnapshot, RowReport]] = []
        for member, state, status, metrics in standing:
            row = self.rows.get(member.name)  # type: ignore[arg-type]
            if row is None:  # its checkpoint of before could not be written
                continue
            report = report_of(pack.program, RowStatus(status), row, state, metrics, share)
            if row.sweep.settings.weighs:
                report = counted(row, report)
            row.reports.append(report)
            row.rung = state.rung
            rungs.append((row, state, report))
            if report.state is not State.ACTIVE:
                ended.append(row.spec.row)
        self._writers.begin(rungs, later or ())
        self._drop(ended)

    def settle(self) -> tuple[list[RowReport], list[RowFailure]]:
        """See `Trainer.settle`."""
        found: tuple[list[RowReport], list[RowFailure]] = ([], [])
        self._report_written(*found)
        return found

    def _report_written(self, reports: list[RowReport], failures: list[RowFailure]) -> None:
        """Report the rungs whose checkpoints were begun before: the driver hears only of what can be restored."""
        for one in self._writers.finish():
            self._guard([one.row.spec], failures, lambda one=one: reports.append(one.heard()))

    def _drop(self, identities: Sequence[RowId]) -> None:
        gone = set(identities)
        for pack in self.packs.values():
            pack.leave([index for index, member in enumerate(pack.members) if member.name in gone])
        for identity in gone:
            self.rows.pop(identity, None)

    @contextmanager
    def _store_of(self, number: int, failures: list[RowFailure]) -> Iterator[None]:
        """Trouble with a sweep's store (disk full, no permission) is not the rows' fault.

        Alone, it ends the worker, whose rows are then taken up elsewhere; where others train too, that sweep leaves.
        """
        try:
            yield
        except StoreError as error:
            if number == ALONE:
                raise
            failures.append(of_sweep(number, STORE, f"{type(error).__name__}: {error}"))
            self._drop([name for name in self.rows if owner_of(name[0])[0] == number])

    def _guard(
        self,
        specs: Sequence[RowSpec],
        failures: list[RowFailure],
        work: Callable[[], None],
        key: PackKey | None = None,
    ) -> None:
        """Turn an exception into failures of the rows concerned; the others go on."""
        owners = {owner_of(spec.trial)[0] for spec in specs}
        try:
            with self._store_of(min(owners, default=ALONE), failures):
                work()
            return
        except StoreError:
            raise
        except SourceError as error:
            found = failures_of(specs, NO_SOURCE, error)
        except RnnsweepError as error:
            found = failures_of(specs, "refused", error)
        except Exception as error:  # noqa: BLE001 - whatever a unit raises must not end the worker
            found = failures_of(specs, "out_of_memory" if no_memory(error) else "bug", error)
        shared = key is not None and len(owners) > 1
        if shared and key is not None:
            self._apart.add(key)
        failures.extend(replace(failure, shared=shared) for failure in found)
        self._drop([spec.row for spec in specs])  # their tensors may be half changed
