"""What changes a sweep: launch, stop, pause, resume, budget, points, single trials. Each is a request to its driver."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from rnnsweep.app.results.tables import as_typed, find, jsonable
from rnnsweep.app.stores import reading_sweep
from rnnsweep.errors import printable
from rnnsweep.service import vetting
from rnnsweep.service.access import OwnFront
from rnnsweep.service.bodies import Because, Budget, Edit, Launch, Name, Points, Resume, TrialNumber
from rnnsweep.service.front import Submission
from rnnsweep.service.replies import plain_json
from rnnsweep.service.routes_sweeps import opened
from rnnsweep.sweep.rebuild import Reopen

ACCEPTED = 202
"""It is written down, and its driver will do it."""


def steering_router(front: OwnFront) -> APIRouter:
    """Routes below ``/sweeps`` that change something."""
    router = APIRouter(tags=["steering"])
    _add_sweep(router, front)
    _add_limits(router, front)
    _add_edit(router, front)
    _add_trial(router, front)
    return router


def _add_sweep(router: APIRouter, front: OwnFront) -> None:
    @router.post("/sweeps", status_code=201)
    def launch(request: Request, body: Launch) -> Response:
        """Check a sweep and queue it, as `rnnsweep launch`."""
        vetting.check_text(body.overrides, "overrides")
        name = _launched(front, body)
        request.state.said = f"sweep {name}: launch {body.sweep} {' '.join(body.overrides)}"
        return plain_json({"sweep": name}, 201, {"Location": f"/api/v1/sweeps/{name}"})

    @router.post("/sweeps/{name}/stop", status_code=ACCEPTED)
    def stop(request: Request, name: Name, body: Because | None = None) -> Response:
        """End the sweep after the rung in progress; `resume` goes on with it."""
        reason = _reason(request, body)
        front.stop(name, reason)
        return _accepted(request, f"sweep {name}: stop")

    @router.post("/sweeps/{name}/pause", status_code=ACCEPTED)
    def pause(request: Request, name: Name, body: Because | None = None) -> Response:
        """As stop; the sweep is expected to go on."""
        reason = _reason(request, body)
        front.pause(name, reason)
        return _accepted(request, f"sweep {name}: pause")

    @router.post("/sweeps/{name}/resume", status_code=ACCEPTED)
    def resume(request: Request, name: Name, body: Resume | None = None) -> Response:
        """Queue the sweep again; overrides may raise its budget, as `rnnsweep resume SWEEP budget.trials=N`."""
        wanted = body or Resume()
        overrides = wanted.overrides
        vetting.check_text(overrides, "overrides")
        front.resume(name, overrides, Reopen(wanted.failed, tuple(wanted.trials), wanted.extend))
        said = [*overrides, *(f"{key}={value}" for key, value in wanted if key != "overrides" and value)]
        return _accepted(request, f"sweep {name}: resume {' '.join(said)}")


def _launched(front: OwnFront, body: Launch) -> str:
    overrides = tuple(body.overrides)
    if body.fresh:
        from rnnsweep.app.config.load import load
        from rnnsweep.app.run.launch import fresh_name

        # before the name is looked for: that composes the config
        vetting.check_sweep(body.sweep)
        vetting.check_overrides(overrides, front.data_dirs)
        dirs = front.config_dirs
        config = load(body.sweep, overrides, config_dirs=dirs, store=front.place.own_root, check_units=False)
        name, unfinished = fresh_name(front.place, config.plan.name)
        if unfinished:
            front.resume(name)
            return name
        overrides = (*overrides, f"name={name}")
    return front.submit(Submission(body.sweep, overrides, weight=body.weight, priority=body.priority))


def _add_limits(router: APIRouter, front: OwnFront) -> None:
    @router.post("/sweeps/{name}/budget", status_code=ACCEPTED)
    def budget(request: Request, name: Name, body: Budget) -> Response:
        """Raise limits while the sweep runs; one that does not run takes them up when it goes on."""
        from rnnsweep.app.config.load import amend, from_json
        from rnnsweep.sweep.budget import change

        vetting.check_text(body.budget, "budget")
        opened(front, name)
        with reading_sweep(front.place, name) as (_, view):
            config = from_json(view.config, front.place.own_root)
        change(config.plan.budget, body.budget)  # says which keys can change now
        amend(config, [f"budget.{key}={as_typed(value, 17)}" for key, value in body.budget.items()])
        front.request(name, "budget", body.budget)
        return _accepted(request, f"sweep {name}: budget {body.budget}")

    @router.post("/sweeps/{name}/enqueue", status_code=ACCEPTED)
    def enqueue(request: Request, name: Name, body: Points) -> Response:
        """Try these points next; see `Sweep.enqueue`."""
        from rnnsweep.app.config.load import plan_of

        vetting.check_text(body.points, "points")
        opened(front, name)
        with reading_sweep(front.place, name) as (_, view):
            space = plan_of(view).space
        fitting = [space.fitting(point, f"points.{index}") for index, point in enumerate(body.points)]
        front.request(name, "enqueue", {"points": fitting})
        return _accepted(request, f"sweep {name}: enqueue {fitting}")


def _add_edit(router: APIRouter, front: OwnFront) -> None:
    @router.post("/sweeps/{name}/edit", status_code=ACCEPTED)
    def edit(request: Request, name: Name, body: Edit) -> Response:
        """Change what the sweep searches while it lives, as `rnnsweep edit`."""
        opened(front, name)
        front.request(name, "edit", {"overrides": body.overrides, "by": request.state.user})
        return _accepted(request, f"sweep {name}: edit {' '.join(body.overrides)}")

    @router.get("/sweeps/{name}/edits")
    def edits(name: Name) -> Response:
        """What was changed of the space since the launch, oldest first."""
        return plain_json(jsonable(opened(front, name).edits()))


def _add_trial(router: APIRouter, front: OwnFront) -> None:
    @router.post("/sweeps/{name}/trials/{trial}/end", status_code=ACCEPTED)
    def end(request: Request, name: Name, trial: TrialNumber, body: Because | None = None) -> Response:
        """End one trial at its next rung; its result so far counts as a pruned trial's."""
        return _of_trial(request, front, name, trial, "end_trial", body)

    @router.post("/sweeps/{name}/trials/{trial}/pause", status_code=ACCEPTED)
    def pause_trial(request: Request, name: Name, trial: TrialNumber, body: Because | None = None) -> Response:
        """Take one trial out at its next rung; it keeps its checkpoint and no slot."""
        return _of_trial(request, front, name, trial, "pause_trial", body)

    @router.post("/sweeps/{name}/trials/{trial}/unpause", status_code=ACCEPTED)
    def unpause_trial(request: Request, name: Name, trial: TrialNumber, body: Because | None = None) -> Response:
        """Let a trial that was paused go on."""
        return _of_trial(request, front, name, trial, "unpause_trial", body)


def _of_trial(request: Request, front: OwnFront, name: str, trial: int, kind: str, body: Because | None) -> Response:
    reason = _reason(request, body)
    opened(front, name)
    with reading_sweep(front.place, name) as (ledger, view):
        find(view, ledger.trials(name), trial)
    front.request(name, kind, {"trial": trial, "reason": reason})
    return _accepted(request, f"sweep {name}: {kind} {trial}")


def _reason(request: Request, body: Because | None) -> str:
    """What the sweep or trial keeps as the reason; who asked, where nothing is said."""
    given: Any = body.reason if body else ""
    vetting.check_text(given, "reason")
    return printable(given) or f"asked by {request.state.user}"


def _accepted(request: Request, said: str) -> Response:
    request.state.said = said
    return plain_json({"accepted": said}, ACCEPTED)
