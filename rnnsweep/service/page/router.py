"""The routes of the live page: pages, what their script asks for, and the forms of their buttons.

    GET  /  ·  /sweeps/NAME  ·  /sweeps/NAME/trials/N       pages
    GET  .../live                                           what has changed since journal entry `after`
    POST /sweeps/NAME/steer                                 a button: operators only, 303 back to the page

Who asks is settled before: whoever mounts the router sets `request.state.user`, `.role` (``reader`` or
``operator``) and `.every` (whether all sweeps of the store are shown, or those of the front's queue alone).
"""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute

from rnnsweep.errors import ConfigError, RnnsweepError, StoreError
from rnnsweep.service.access_layer import COOKIE
from rnnsweep.service.front import Front
from rnnsweep.service.page.form_guard import FormGuard, read_form
from rnnsweep.service.page.live_pages import LivePages, Visitor, mlflow_place
from rnnsweep.service.page.page_assets import asset, assets_version
from rnnsweep.service.page.steering import NOTICES, Steering

POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",  # Plotly writes style attributes; no text of a sweep becomes one
        "img-src 'self' data: blob:",  # pictures that Plotly saves
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
}
OPERATOR = "operator"


class PageRouter:
    """The handlers; each runs in a thread of its own, since the ledger is read there."""

    def __init__(self, front: Front, mlflow: str = "") -> None:
        self._front, self._mlflow = front, mlflow
        self._pages = LivePages(front)
        self._steering = Steering(front)
        self._guard = FormGuard()

    # ------------------------------------------------------------------ pages

    def overview(self, request: Request) -> Response:
        """All sweeps and the pool."""
        return _page(self._pages.overview(self._visitor(request)))

    def overview_live(self, request: Request) -> Response:
        """The same for the script."""
        return _json(self._pages.overview_news(self._visitor(request)))

    def sweep(self, request: Request, name: str, notice: str = "") -> Response:
        """One sweep."""
        return _page(self._pages.sweep(name, self._visitor(request), said=NOTICES.get(notice, "")))

    def sweep_live(self, name: str, after: int = 0, key: str = "") -> Response:
        """What has changed of it."""
        return _json(self._pages.sweep_news(name, after, key))

    def profiles(self, name: str) -> Response:
        """Gradient profiles of its best trials."""
        return _json(self._pages.profiles(name))

    def trial(self, request: Request, name: str, number: int, notice: str = "") -> Response:
        """One trial."""
        return _page(self._pages.trial(name, number, self._visitor(request), said=NOTICES.get(notice, "")))

    def trial_live(self, name: str, number: int, after: int = 0) -> Response:
        """What has changed of it."""
        return _json(self._pages.trial_news(name, number, after))

    def mlflow_sweep(self, request: Request, name: str) -> Response:
        """On to MLflow."""
        return self._to_mlflow(request, name, None)

    def mlflow_trial(self, request: Request, name: str, number: int) -> Response:
        """On to the trial's run."""
        return self._to_mlflow(request, name, number)

    def _to_mlflow(self, request: Request, name: str, number: int | None) -> Response:
        with self._pages.store.open() as look:
            place = mlflow_place(self._front, look.sweep(name)[1], number, self._mlflow)
        if place:
            return RedirectResponse(place, 303, HEADERS)
        text = f"No MLflow server is known for this sweep, or it has no run there yet. Start one: rnnsweep ui {name}"
        return _page(self._pages.message(self._visitor(request), "MLflow", text), 404)

    # ------------------------------------------------------------------ buttons

    def steer(self, request: Request, name: str, form: Annotated[dict[str, str], Depends(read_form)]) -> Response:
        """A button was pressed."""
        visitor = self._visitor(request)
        if not visitor.operator:
            text = "Your role may look, not steer: ask for a token with the role of an operator."
            return _page(self._pages.message(visitor, "Not allowed", text), 403)
        if not self._guard.right(request, form, visitor.user):
            text = "The form is of a page from before the service was started, or of another site. Load the page anew."
            return _page(self._pages.message(visitor, "Not allowed", text), 403)
        try:
            act = self._steering.do(name, visitor.user, form)
        except ConfigError as error:
            page = self._pages.sweep(name, visitor, error=str(error), form=form)  # 404 where there is no such sweep
            request.state.problem = str(error)
            return _page(page, 422)
        request.state.said = f"sweep {name}: {act} {form.get('trial', '')}".rstrip()  # for the audit
        trial = f"/trials/{int(form['trial'])}" if form.get("page") == "trial" else ""
        return RedirectResponse(f"{visitor.base}/sweeps/{_segment(name)}{trial}?notice={act}", 303, HEADERS)

    # ------------------------------------------------------------------ files

    def asset(self, request: Request, version: str, filename: str) -> Response:
        """A script or a style; kept by browsers for good under its version.

        Its path has no parameter ``name``: that is a sweep's, and whoever mounts the router checks whose it is.
        """
        file = asset(filename)
        if file is None or version != assets_version():
            return Response(status_code=404)
        packed = "gzip" in request.headers.get("accept-encoding", "")
        headers = {"Cache-Control": "private, max-age=31536000, immutable", "Vary": "Accept-Encoding"}
        headers |= {"X-Content-Type-Options": "nosniff"} | ({"Content-Encoding": "gzip"} if packed else {})
        return Response(file.packed if packed else file.body, media_type=file.kind, headers=headers)

    # ------------------------------------------------------------------ inside

    def refusal(self, request: Request, error: RnnsweepError) -> Response:
        """An error as a page, or as JSON for the script."""
        status = _status(request, error)
        request.state.problem = str(error)  # for the audit
        if request.url.path.endswith(("/live", "/profiles")):
            return _json({"error": str(error)}, status)
        title = {503: "The store is away", 404: "Not there", 403: "Not allowed"}.get(status, "This did not work")
        return _page(self._pages.message(self._visitor(request), title, str(error)), status)

    def _visitor(self, request: Request) -> Visitor:
        user = str(getattr(request.state, "user", "") or "")
        operator = getattr(request.state, "role", "") == OPERATOR  # a reader, unless somebody says otherwise
        every = bool(getattr(request.state, "every", False))
        base = request.scope.get("root_path", "").rstrip("/")
        return Visitor(user, operator, self._guard.word(user), every, base, leaves=COOKIE in request.cookies)


def page_router(front: Front, mlflow: str = "") -> APIRouter:
    """The live page of a service.

    Args:
        front: the service.
        mlflow: address of an MLflow UI on its store, for links; empty: that of a sweep's own tracking server.
    """
    pages = PageRouter(front, mlflow)

    class Answered(APIRoute):
        """Turns errors that users meet into pages."""

        def get_route_handler(self) -> Any:
            inner = super().get_route_handler()

            async def handler(request: Request) -> Response:
                try:
                    return await inner(request)
                except RnnsweepError as error:
                    return pages.refusal(request, error)

            return handler

    router = APIRouter(route_class=Answered, include_in_schema=False, default_response_class=HTMLResponse)
    for path, handler in (
        ("/", pages.overview),
        ("/live", pages.overview_live),
        ("/assets/{version}/{filename}", pages.asset),
        ("/sweeps/{name}", pages.sweep),
        ("/sweeps/{name}/live", pages.sweep_live),
        ("/sweeps/{name}/profiles", pages.profiles),
        ("/sweeps/{name}/mlflow", pages.mlflow_sweep),
        ("/sweeps/{name}/trials/{number}", pages.trial),
        ("/sweeps/{name}/trials/{number}/live", pages.trial_live),
        ("/sweeps/{name}/trials/{number}/mlflow", pages.mlflow_trial),
    ):
        router.add_api_route(path, handler, methods=["GET"], response_model=None)
    router.add_api_route("/sweeps/{name}/steer", pages.steer, methods=["POST"], response_model=None)
    return router


def _status(request: Request, error: RnnsweepError) -> int:
    own = getattr(error, "status", None)  # errors of who may see what carry theirs
    if own is not None:
        return own
    if isinstance(error, ConfigError):
        return 404 if request.method == "GET" or error.key == "SWEEP" else 422
    return 503 if isinstance(error, StoreError) else 500


def _page(text: str, status: int = 200) -> Response:
    return HTMLResponse(text, status, HEADERS)


def _json(data: Any, status: int = 200) -> Response:
    body = orjson.dumps(data, option=orjson.OPT_NON_STR_KEYS)
    return Response(body, status, HEADERS, media_type="application/json")


def _segment(name: str) -> str:
    return quote(name, safe="")
