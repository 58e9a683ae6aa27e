"""The pages as HTML: what is known at once is in them, the rest comes by the script. All text is escaped."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import jinja2

from rnnsweep.app.config.point import without_passwords
from rnnsweep.app.results import mlflow_runs
from rnnsweep.app.results.tables import Json, as_yaml, find, jsonable, ranked, resolved, score_text, show
from rnnsweep.errors import RnnsweepError
from rnnsweep.report.page import cell
from rnnsweep.report.style import BLUE, GREEN, GREY, ORANGE, PURPLE, RED, SKY, short
from rnnsweep.service.front import Front, QueuedSweep, QueueState
from rnnsweep.service.page.live_sweeps import LiveStore, LiveSweep, StoreLook, goals, space_axes
from rnnsweep.service.page.page_assets import assets_version
from rnnsweep.service.page.point_form import point_fields
from rnnsweep.service.page.steering import ACTIVE, BUDGET
from rnnsweep.sweep.budget import LIVE
from rnnsweep.sweep.ports import Ledger, SweepView, TrialView
from rnnsweep.wording import counted

ROWS = 50
"""Lines of the table that are in the page when it comes: the first screen, and a few more."""
PALETTE = {
    "solved": GREEN,
    "complete": BLUE,
    "pruned": GREY,
    "diverged": ORANGE,
    "failed": RED,
    "running": PURPLE,
    "waiting": SKY,
    "paused": "#9A6FC4",
}
"""Fate of a trial -> colour, as in the report."""


@dataclasses.dataclass(frozen=True)
class Visitor:
    """Who looks at a page.

    Attributes:
        operator: may press the buttons.
        word: of the forms, see `FormGuard`.
        every: sees all sweeps of the store, not only those of the queue that the front shows.
        base: path below which the pages are.
        leaves: came in by the login page, and may go.
    """

    user: str
    operator: bool
    word: str
    every: bool = False
    base: str = ""
    leaves: bool = False


@functools.cache
def _environment() -> jinja2.Environment:
    # StrictUndefined: a typing error in a template fails instead of leaving a gap
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("rnnsweep.service.page"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters.update(
        cell=cell, counted=counted, short=short, segment=lambda name: quote(name, safe=""), ago=_ago, clock=_clock
    )
    return environment


def _ago(seconds: float) -> str:
    """When something was submitted, in words."""
    passed = max(0.0, time.time() - seconds)
    if not seconds:
        return "–"
    return f"{passed / 60:.0f} min ago" if passed < 7200 else f"{passed / 3600:.0f} h ago"


def _clock(seconds: float) -> str:
    """A moment, UTC."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds))


class LivePages:
    """Builds the pages and what their script asks for."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self.store = LiveStore(lambda: front.place)

    # ------------------------------------------------------------------ all sweeps

    def overview(self, visitor: Visitor) -> str:
        """The page of all sweeps."""
        return self._render("overview.html.j2", visitor, **self.overview_news(visitor))

    def overview_news(self, visitor: Visitor) -> Json:
        """Sweeps, newest first, and the pool's workers."""
        lines = self._queue()
        with self.store.open() as look:
            stored = look.names()
            names = dict.fromkeys([*(stored if visitor.every else ()), *lines])
            sweeps = [_line(look, name, lines.get(name), name in stored) for name in reversed(names)]
        return {"sweeps": sweeps, "workers": [dataclasses.asdict(worker) for worker in self._front.workers()]}

    # ------------------------------------------------------------------ one sweep

    def sweep(
        self, name: str, visitor: Visitor, *, said: str = "", error: str = "", form: Mapping[str, str] = {}
    ) -> str:
        """The page of a sweep.

        Args:
            name: the sweep.
            visitor: who looks.
            said: what has just been done. error: why something was not. form: what was typed then.
        """
        with self.store.open() as look:
            live = look.now(name)
        first = _in_order(live)[:ROWS]
        return self._render(
            "sweep.html.j2",
            visitor,
            live=live,
            summary=live.summary(),
            queue=_queue_fields(self._queue().get(name)),
            buttons=_buttons(self._queue().get(name), live.view.state.value),
            first=list(zip(first, live.rows(first), strict=True)),
            fields=point_fields(live.plan.space),
            limits=self._limits(live),
            config=as_yaml(without_passwords(resolved(live.view))),
            data=self._script_data(live, visitor),
            said=said,
            error=error,
            form=form,
        )

    def sweep_news(self, name: str, after: int, key: str) -> Json:
        """What the script of a sweep's page asks for every second."""
        with self.store.open() as look:
            news = look.news(name, after, key)
        queued = self._queue().get(name)
        return news | {"queue": _queue_fields(queued), "buttons": _buttons(queued, news["sweep"]["state"])}

    def profiles(self, name: str) -> list[Json]:
        """Gradient profiles of the best trials."""
        from rnnsweep.service.page.profile_lines import profile_lines

        with self.store.open() as look:
            return profile_lines(*look.sweep(name), look.now(name).plan, self._front.place.root)

    def _script_data(self, live: LiveSweep, visitor: Visitor) -> Json:
        return {
            "sweep": live.view.name,
            "base": visitor.base,
            "place": f"{visitor.base}/sweeps/{quote(live.view.name, safe='')}",
            "keys": list(live.plan.space.keys),
            "axes": space_axes(live.plan),
            "goals": goals(live.plan),
            "updates": live.plan.budget.updates,
            "palette": PALETTE,
            "plotly": f"{visitor.base}/assets/{assets_version()}/plotly.min.js",
        }

    def _limits(self, live: LiveSweep) -> list[tuple[str, str]]:
        """Limits that may be raised now: name of the field, and what it is."""
        queued = self._queue().get(live.view.name)
        running = live.view.state.value == "RUNNING" or (queued is not None and queued.state in ACTIVE)
        keys = LIVE if running else (LIVE[0], "updates", *LIVE[1:])
        budget = resolved(live.view)["budget"]
        return [(BUDGET + key, "no limit" if budget.get(key) is None else cell(budget[key])) for key in keys]

    # ------------------------------------------------------------------ one trial

    def trial(self, name: str, number: int, visitor: Visitor, *, said: str = "", error: str = "") -> str:
        """The page of a trial.

        Raises:
            ConfigError: the sweep has no such trial.
        """
        with self.store.open() as look:
            live = look.now(name)
        trial = find(live.view, live.trials, number)
        place = f"{visitor.base}/sweeps/{quote(name, safe='')}/trials/{number}"
        entry = self.trial_news(name, number)
        return self._render(
            "trial.html.j2",
            visitor,
            live=live,
            trial=trial,
            entry=entry,
            score=score_text(entry, entry["value"]),
            data=jsonable(self._script_data(live, visitor) | {"place": place, "trial": number, "entry": entry}),
            numbers=_around(live, number),
            said=said,
            error=error,
        )

    def trial_news(self, name: str, number: int, after: int = 0) -> Json:
        """What `rnnsweep show` prints, and `seq`; `seq` alone where nothing has changed since `after`."""
        with self.store.open() as look:
            ledger, view = look.sweep(name)
            seq = _last_change(ledger, name, number, after)
            if seq == after and after:
                return {"seq": seq}
            runs = mlflow_runs.run_ids(self._front.place, view)
            files = mlflow_runs.artifacts(self._front.place, view, number, runs)
            entry = show(ledger, view, number, runs, files)
            return {"seq": seq, **{key: jsonable(value) for key, value in entry.items()}}

    # ------------------------------------------------------------------ inside

    def message(self, visitor: Visitor, title: str, text: str) -> str:
        """A page that says one thing."""
        return self._render("message.html.j2", visitor, title=title, text=text)

    def _queue(self) -> dict[str, QueuedSweep]:
        return {line.name: line for line in self._front.queue()}

    def _render(self, template: str, visitor: Visitor, **values: Any) -> str:
        assets = f"{visitor.base}/assets/{assets_version()}"
        return _environment().get_template(template).render(visitor=visitor, assets=assets, palette=PALETTE, **values)


def _line(look: StoreLook, name: str, queued: QueuedSweep | None, stored: bool) -> Json:
    """A sweep in the list; one that waits in the queue may not be in the store yet."""
    line: Json = {"name": name, **_queue_fields(queued), "sweep": name, "state": "", "trials": {}, "reason": ""}
    try:
        return line | (look.now(name).summary() if stored else {})
    except RnnsweepError as error:  # a damaged config, or one of another version, must not hide the others
        return line | {"reason": str(error)}


def _buttons(queued: QueuedSweep | None, state: str) -> list[str]:
    """Acts that make sense for a sweep of this state at its place in the queue."""
    if queued is not None and queued.state in ACTIVE:
        return ["pause", "stop"] if queued.state is QueueState.RUNNING else ["stop"]
    if state == "RUNNING":
        return []  # another driver has it, which the service does not command
    return ["resume"]


def _queue_fields(queued: QueuedSweep | None) -> Json:
    if queued is None:
        return {"queue": "", "user": "", "weight": None, "priority": None, "submitted": 0.0, "why": ""}
    return {
        "queue": queued.state.value,
        "user": queued.user,
        "weight": queued.weight,
        "priority": queued.priority,
        "submitted": queued.submitted,
        "why": queued.reason,
    }


def _in_order(live: LiveSweep) -> Sequence[TrialView]:
    """Complete trials, best first, then the others by number: the order in which the table comes."""
    best = ranked(live.view, live.trials)
    chosen = {trial.number for trial in best}
    return [*best, *(trial for trial in live.trials if trial.number not in chosen)]


def _around(live: LiveSweep, number: int) -> tuple[int | None, int | None]:
    """The trials before and after one, where there are any."""
    numbers = {trial.number for trial in live.trials}
    return (number - 1 if number - 1 in numbers else None, number + 1 if number + 1 in numbers else None)


def _last_change(ledger: Ledger, sweep: str, number: int, after: int) -> int:
    """The trial's newest journal entry; `after` where it has none beyond."""
    seq = after
    while entries := ledger.changes(sweep, seq, 1000, number):
        seq = entries[-1].seq
    return seq


def mlflow_place(front: Front, view: SweepView, trial: int | None, address: str) -> str:
    """Address of a sweep's or a trial's page in MLflow; empty where no server is known or nothing is written yet.

    Args:
        front: the service. view: the sweep. trial: its number, None for the sweep.
        address: of an MLflow UI on the store; empty: the tracking server of the sweep, where it has one.
    """
    from rnnsweep.adapters.ledger.secrets import without_secrets
    from rnnsweep.adapters.mlflow.server import experiment_link, run_link

    uri = mlflow_runs.tracking_uri(front.place, view)
    base = address or (without_secrets(uri) if uri.startswith(("http://", "https://")) else "")
    experiment = mlflow_runs.experiment_id(front.place, view) if base else None
    if experiment is None:
        return ""
    if trial is None:
        return experiment_link(base, experiment)
    run = mlflow_runs.run_ids(front.place, view).get(trial)
    return run_link(base, experiment, run) if run else ""
