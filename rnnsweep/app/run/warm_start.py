"""Results that a new sweep begins with: looked up once, when it is launched, and kept in its ledger."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rnnsweep.app.config.load import SweepConfig, from_json
from rnnsweep.app.config.point import lookup, resolve_point
from rnnsweep.app.config.teachers import Teacher, teachers
from rnnsweep.app.results.tables import resolved
from rnnsweep.app.stores import place, place_of, reading
from rnnsweep.errors import ConfigError, nearest
from rnnsweep.sweep.earlier_trials import ABSENT, KIND, Earlier, fitted, together
from rnnsweep.sweep.plan import Objective
from rnnsweep.sweep.space import Space
from rnnsweep.sweep.views import TrialView

if TYPE_CHECKING:
    from rnnsweep.sweep.ports import Ledger


def gathered(config: SweepConfig) -> Earlier | None:
    """What the config's sources have that lies in its space; None where it names none.

    Raises:
        ConfigError: a source that does not exist or pursues something else.
        StoreError: one is away.
    """
    named = teachers(config.resolved["sampler"].get("warm_start"))
    return together(_of(config, teacher) for teacher in named) if named else None


def keep(ledger: Ledger, name: str, earlier: Earlier | None) -> None:
    """Let the sweep's ledger have it: its driver takes the note before it asks for a trial."""
    if earlier is not None:
        ledger.post(name, KIND, earlier.plain())


def kept(ledger: Ledger, name: str) -> Earlier | None:
    """What a driver of the sweep has begun with; None: none has, or it began with nothing."""
    found = [data for kind, data in ledger.taken_requests(name) if kind == KIND]
    return Earlier.of_plain(found[-1]) if found else None


def _of(config: SweepConfig, teacher: Teacher) -> Earlier:
    space, goals = config.plan.space, config.plan.objectives
    if teacher.kind == "sweep":
        return _of_sweep(config, teacher)
    if teacher.kind == "optuna":
        from rnnsweep.adapters.optuna.studies import study_trials

        views = study_trials(teacher.place, teacher.name, [goal.goal for goal in goals], teacher.key)
    else:
        from rnnsweep.adapters.mlflow.earlier_runs import experiment_trials

        views = experiment_trials(teacher.place, teacher.name, [goal.metric for goal in goals], teacher.key)
    return fitted(space, teacher.shown, views, lambda view, key: _typed(space, key, view.params), len(goals))


def _of_sweep(config: SweepConfig, teacher: Teacher) -> Earlier:
    here = place_of(config.store.root, config.store.ledger)
    where = place(teacher.place) if teacher.place else here
    with reading(where) as ledger:
        views = {view.name: view for view in ledger.sweeps()} if ledger else {}
        if teacher.name not in views or ledger is None:
            hint = nearest(teacher.name, views)
            allowed = list(views) or "none"
            raise ConfigError(
                "the store has no such sweep", key=teacher.key, value=teacher.name, allowed=allowed, hint=hint
            )
        view, trials = views[teacher.name], ledger.trials(teacher.name)
    theirs, ours = resolved(view).get("objective"), config.resolved["objective"]
    if _objectives(theirs) != _objectives(ours):
        allowed = f"a sweep with objective {ours}"
        raise ConfigError("has another objective", key=teacher.key, value=teacher.name, allowed=allowed)
    source = from_json(view.config, where.own_root) if view.config.get("variants") else None
    return fitted(
        config.plan.space,
        teacher.shown,
        trials,
        lambda trial, key: _had(source, trial, key),
        len(config.plan.objectives),
    )


def _had(source: SweepConfig | None, trial: TrialView, key: str) -> Any:
    """What a trial of a sweep had of a key: its own value, or what its config says."""
    if key in trial.params:
        return trial.params[key]
    if source is None:
        return ABSENT
    if isinstance(source.choices.get(key), str):
        return source.choices[key]
    try:
        return lookup(resolve_point(source.variants, trial.params), key, ABSENT)
    except ConfigError:  # a config of an older version
        return ABSENT


def _typed(space: Space, key: str, params: Mapping[str, Any]) -> Any:
    """A value that another tool wrote: numbers may be texts, and choices what a store made of them."""
    if key not in params:
        return ABSENT
    value = params[key]
    dimension = next(one for one in space if one.key == key)
    if dimension.kind == "categorical":
        return next((choice for choice in dimension.choices if value in _texts(choice)), value)
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _texts(choice: Any) -> Sequence[Any]:
    """What a choice may stand as in another store."""
    from rnnsweep.adapters.trial_texts import param_text

    return (choice, param_text(choice), repr(choice), str(choice))


def _objectives(block: Any) -> list[Objective]:
    """What a config's block says, whether or not it names what is the default."""
    blocks: list[Mapping[str, Any]] = block if isinstance(block, list) else [block] if block else []
    return [Objective(**one) for one in blocks]
