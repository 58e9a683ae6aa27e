"""What is read of sweeps: the shapes that ``--json`` of the command line prints."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import Response

from rnnsweep.app.results import selection
from rnnsweep.app.results.sweep import Sweep
from rnnsweep.app.results.tables import jsonable, resolved, standing, status, trials_of
from rnnsweep.app.stores import reading, reading_sweep
from rnnsweep.errors import ConfigError, RnnsweepError
from rnnsweep.service.access import OwnFront
from rnnsweep.service.bodies import Name, TrialNumber
from rnnsweep.service.recent import Recent
from rnnsweep.service.replies import journal_entry, plain_json
from rnnsweep.sweep.states import TrialState

Conditions = Annotated[list[str], Query(description="Conditions of `table --where`.", max_length=50)]
Keys = Annotated[list[str], Query(description="Metric keys; all without any.", max_length=100)]
ANY_TRIAL = Query(None, ge=0, lt=1 << 31, description="Only this one.")


def opened(front: OwnFront, name: str) -> Sweep:
    """A sweep that has begun.

    Raises:
        RnnsweepError: it waits for its turn, and nothing of it is in the store yet.
    """
    with reading(front.place) as ledger:
        if ledger is None or ledger.sweep(name) is None:
            raise RnnsweepError(f"sweep '{name}' is queued: there is nothing of it in the store yet")
    return Sweep(name, front.place)


def waiting_status(name: str) -> dict[str, Any]:
    """The status of a sweep that is in the queue only."""
    counts = {state.value.lower(): 0 for state in TrialState}
    rest = {"best": None, "updates": 0, "wall_s": 0.0, "updates_per_s": None}
    return {"sweep": name, "state": "QUEUED", "trials": counts, **rest}


def status_of(front: OwnFront, name: str) -> dict[str, Any]:
    """`status` of one sweep, wherever it stands."""
    with reading(front.place) as ledger:
        view = ledger.sweep(name) if ledger else None
        if ledger is None or view is None:
            return waiting_status(name)
        return status(standing(ledger, view), trials_of(ledger, view))


def sweeps_router(front: OwnFront) -> APIRouter:
    """Routes below ``/sweeps`` that change nothing."""
    router, recent = APIRouter(tags=["sweeps"]), Recent(front.place)
    _add_standing(router, front, recent)
    _add_trials(router, front, recent)
    _add_more(router, front)
    _add_frames(router, front)
    return router


def _add_standing(router: APIRouter, front: OwnFront, recent: Recent) -> None:
    def standing_of(name: str) -> dict[str, Any]:
        return recent.of(name, "status", lambda: status_of(front, name))

    @router.get("/sweeps")
    def list_sweeps() -> Response:
        """All sweeps that this account sees, as `rnnsweep list --json`."""
        return plain_json([standing_of(name) for name in front.names()])

    @router.get("/sweeps/{name}")
    def one_status(name: Name) -> Response:
        """How a sweep stands, as `rnnsweep status SWEEP --json`."""
        return plain_json(standing_of(name))

    @router.get("/sweeps/{name}/config")
    def config(name: Name) -> Response:
        """The sweep's resolved config, without passwords."""
        from rnnsweep.app.config.point import without_passwords

        opened(front, name)
        with reading_sweep(front.place, name) as (_, view):
            return plain_json(without_passwords(dict(resolved(view))))

    @router.get("/sweeps/{name}/record")
    def record(name: Name) -> Response:
        """The sweep as the ledger has it, without passwords; its state as it stands."""
        from rnnsweep.app.config.point import without_passwords

        opened(front, name)
        with reading_sweep(front.place, name) as (ledger, view):
            now = standing(ledger, view)
        fields = {field.name: getattr(now, field.name) for field in dataclasses.fields(now)}
        return plain_json(fields | {"config": without_passwords(dict(now.config))})

    @router.get("/sweeps/{name}/journal")
    def journal(
        name: Name,
        after: Annotated[int, Query(ge=0, lt=1 << 62)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
        trial: Annotated[int | None, Query(ge=0, lt=1 << 31)] = None,
    ) -> Response:
        """Entries of the ledger's journal with a greater number than `after`, oldest first; of one trial."""
        opened(front, name)
        with reading_sweep(front.place, name) as (ledger, _):
            return plain_json([journal_entry(change) for change in ledger.changes(name, after, limit, trial)])


def _add_trials(router: APIRouter, front: OwnFront, recent: Recent) -> None:
    def table_of(name: str) -> list[dict[str, Any]]:
        return recent.of(name, "table", lambda: opened(front, name).table())

    def ranking_of(name: str) -> list[dict[str, Any]]:
        return recent.of(name, "ranking", lambda: opened(front, name).ranking())

    @router.get("/sweeps/{name}/table")
    def table(name: Name, where: Conditions = [], sort: str | None = None) -> Response:  # noqa: B006 - FastAPI copies it
        """All trials, as `rnnsweep table SWEEP --json`, with its `--where` and `--sort`."""
        every = table_of(name)
        if not every:
            return plain_json([])
        return plain_json(selection.sort(selection.where(every, where), sort, among=every))

    @router.get("/sweeps/{name}/ranking")
    def ranking(name: Name) -> Response:
        """Complete trials, best first."""
        return plain_json(ranking_of(name))

    @router.get("/sweeps/{name}/best")
    def best(name: Name) -> Response:
        """The best complete trial, as `rnnsweep best SWEEP --json`."""
        entries = ranking_of(name)
        if not entries:
            raise RnnsweepError(f"sweep '{name}' has no complete trial yet; see: rnnsweep status {name}")
        return plain_json(entries[0])


def _add_more(router: APIRouter, front: OwnFront) -> None:
    @router.get("/sweeps/{name}/front")
    def pareto(name: Name) -> Response:
        """Numbers of the trials that no other one beats in every objective; empty with one objective."""
        return plain_json(opened(front, name).front())

    @router.get("/sweeps/{name}/trials/{trial}")
    def show(name: Name, trial: TrialNumber) -> Response:
        """One trial in full, as `rnnsweep show SWEEP TRIAL --json`, with its history."""
        return plain_json(opened(front, name).show(trial))


def _add_frames(router: APIRouter, front: OwnFront) -> None:
    @router.get("/sweeps/{name}/trials")
    def trials(name: Name) -> Response:
        """`Sweep.trials`: column -> values, one per trial."""
        return _frame(opened(front, name).trials)

    @router.get("/sweeps/{name}/replicas")
    def replicas(name: Name) -> Response:
        """`Sweep.replicas`: column -> values, one per trial and replica."""
        return _frame(opened(front, name).replicas)

    @router.get("/sweeps/{name}/curves")
    def curves(name: Name, key: Keys = [], trial: int | None = ANY_TRIAL) -> Response:  # noqa: B006 - FastAPI copies it
        """`Sweep.curves` in long form: column -> values."""
        sweep = opened(front, name)
        return _frame(lambda: sweep.curves(*key, trial=trial))


def _frame(read: Callable[[], Any]) -> Response:
    try:
        frame = read()
    except KeyError as error:
        raise ConfigError("no such key", key="key", value=str(error)) from None
    return plain_json(jsonable({str(name): frame[name].tolist() for name in frame.columns}))
