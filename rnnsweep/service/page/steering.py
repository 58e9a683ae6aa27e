"""What the buttons of a page do: checked here with the command line's own checks, done by the service's front."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from rnnsweep.app.config.load import amend, from_json, plan_of
from rnnsweep.app.results.tables import find, trials_of
from rnnsweep.app.stores import reading_sweep
from rnnsweep.errors import ConfigError
from rnnsweep.service.front import Front, QueueState
from rnnsweep.service.page.point_form import point_of
from rnnsweep.sweep.budget import LIVE, change

NOTICES = {
    "stop": "The sweep stops after the rung in progress.",
    "pause": "The sweep pauses after the rung in progress; Resume goes on with it.",
    "resume": "The sweep is in the queue.",
    "budget": "The budget has been raised.",
    "enqueue": "The point is tried next.",
    "edit": "The sweep searches by it from its next trial on.",
    "end_trial": "The trial ends at its next rung.",
    "pause_trial": "The trial pauses at its next rung.",
    "unpause_trial": "The trial goes on when a slot is free.",
}
"""Act -> what the page says when it is done."""
BUDGET = "budget."
"""Before a limit's name in the name of its field."""
ACTIVE = (QueueState.QUEUED, QueueState.RUNNING)


class Steering:
    """The acts of an operator on one sweep."""

    def __init__(self, front: Front) -> None:
        self._front = front
        self._acts: Mapping[str, Callable[[str, str, Mapping[str, str]], None]] = {
            "stop": lambda name, user, _: front.stop(name, f"stopped by {user}" if user else "stopped on the page"),
            "pause": lambda name, user, _: front.pause(name, f"paused by {user}" if user else "paused on the page"),
            "resume": lambda name, _, __: front.resume(name),
            "budget": lambda name, _, form: self._raise_budget(name, form),
            "enqueue": lambda name, _, form: self._enqueue(name, form),
            "edit": lambda name, user, form: self._edit(name, user, form),
            **{act: self._trial_act(act) for act in ("end_trial", "pause_trial", "unpause_trial")},
        }

    def do(self, name: str, user: str, form: Mapping[str, str]) -> str:
        """Do what the pressed button says; the act's name.

        Raises:
            ConfigError: wrong input; nothing was written.
        """
        act = form.get("act", "")
        if act not in self._acts:
            raise ConfigError("no such act", key="act", value=act, allowed=list(self._acts))
        self._acts[act](name, user, form)
        return act

    def _raise_budget(self, name: str, form: Mapping[str, str]) -> None:
        typed = {key.removeprefix(BUDGET): text.strip() for key, text in form.items() if key.startswith(BUDGET)}
        overrides = [f"{BUDGET}{key}={text}" for key, text in typed.items() if text]
        if not overrides:
            raise ConfigError("nothing to raise", key="budget", allowed=[f"{BUDGET}{key}" for key in LIVE])
        place = self._front.place
        with reading_sweep(place, name) as (_, view):
            config = from_json(view.config, store=place.own_root)
        raised = amend(config, overrides).resolved["budget"]
        if not self._active(name):
            self._front.resume(name, overrides)
            return
        limits = {key: raised[key] for key, text in typed.items() if text}
        change(config.plan.budget, limits)
        self._front.request(name, "budget", limits)

    def _enqueue(self, name: str, form: Mapping[str, str]) -> None:
        with reading_sweep(self._front.place, name) as (_, view):
            point = point_of(plan_of(view).space, form)
        self._front.request(name, "enqueue", {"points": [point]})

    def _edit(self, name: str, user: str, form: Mapping[str, str]) -> None:
        try:
            overrides = shlex.split(form.get("overrides", ""))
        except ValueError as error:  # a quote that does not end
            raise ConfigError(str(error), key="overrides", allowed="KEY=RANGE ~KEY KEY=VALUE ...") from None
        self._front.request(name, "edit", {"overrides": overrides, "by": user})

    def _trial_act(self, act: str) -> Callable[[str, str, Mapping[str, str]], None]:
        def run(name: str, user: str, form: Mapping[str, str]) -> None:
            number = form.get("trial", "").strip().removeprefix("#")
            if not (number.isascii() and number.isdecimal()):
                raise ConfigError("is no trial's number", key="trial", value=number, allowed="0, 1, 2, ...")
            with reading_sweep(self._front.place, name) as (ledger, view):
                trial = find(view, trials_of(ledger, view), int(number), "trial")
            if trial.state.finished:
                problem = f"has ended: it is {trial.state.value}"
                raise ConfigError(problem, key="trial", value=trial.number, allowed="a trial that has not ended")
            self._front.request(
                name, act, {"trial": trial.number, "reason": f"asked by {user or 'a user of the page'}"}
            )

        return run

    def _active(self, name: str) -> bool:
        return any(line.name == name and line.state in ACTIVE for line in self._front.queue())
