"""The service itself: its queue, its workers, what it knows, who asks, and what was asked of it."""

from __future__ import annotations

import dataclasses
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from rnnsweep.service import vetting
from rnnsweep.service.access import Access, OwnFront
from rnnsweep.service.bodies import Wanted
from rnnsweep.service.problems import RefusedError
from rnnsweep.service.replies import plain_json
from rnnsweep.version import __version__


def pool_router(front: OwnFront, access: Access) -> APIRouter:
    """Routes that are not about one sweep."""
    router = APIRouter(tags=["service"])
    _add_pool(router, front)
    _add_known(router, front)
    _add_accounts(router, access)
    return router


def _add_pool(router: APIRouter, front: OwnFront) -> None:
    @router.get("/health")
    def health() -> Response:
        """Whether the service lives; needs no token."""
        return plain_json({"status": "ok", "version": __version__})

    @router.get("/queue")
    def queue() -> Response:
        """Sweeps in the order of submission: name, state (QUEUED, RUNNING, PAUSED, ENDED), user, weight, priority."""
        return plain_json([dataclasses.asdict(line) for line in front.queue()])

    @router.get("/workers")
    def workers() -> Response:
        """Workers of the pool: device, slots, rows in training by sweep, busy share of the last minute."""
        return plain_json([dataclasses.asdict(worker) for worker in front.workers()])


def _add_known(router: APIRouter, front: OwnFront) -> None:
    @router.get("/units")
    def units() -> Response:
        """Names of the units of every group, as `rnnsweep units --json`."""
        from rnnsweep.app import api

        return plain_json(api.known_units(front.config_dirs))

    @router.get("/catalogue")
    def catalogue() -> Response:
        """Sweeps that can be launched: name and description."""
        from rnnsweep.app import api

        return plain_json([{"sweep": name, "description": text} for name, text in api.known_sweeps(front.config_dirs)])

    @router.post("/config")
    def config(request: Request, body: Wanted) -> Response:
        """The full config that a launch would use, checked, as `rnnsweep config SWEEP ...`; nothing is written."""
        from rnnsweep.app import api

        vetting.check_sweep(body.sweep)
        vetting.check_text(body.overrides, "overrides")
        vetting.check_overrides(body.overrides, front.data_dirs)
        dirs = front.config_dirs
        resolved = api.resolved_config(body.sweep, body.overrides, store=front.place.own_root, config_dirs=dirs)
        request.state.said = f"config {body.sweep}"
        return plain_json(resolved)


def _add_accounts(router: APIRouter, access: Access) -> None:
    @router.get("/me")
    def me(request: Request) -> Response:
        """The account of the token that was sent."""
        state = request.state
        return plain_json({"user": state.user, "role": state.role, "every": state.every})

    @router.get("/audit")
    def audit(
        request: Request,
        after: Annotated[int, Query(ge=0, lt=1 << 62)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
    ) -> Response:
        """Requests that changed something, wanted to, or were refused; for operators of all sweeps."""
        if request.state.role != "operator" or not request.state.every:
            raise RefusedError("the audit is for operators of all sweeps")
        return plain_json(access.audit.entries(after, limit))
