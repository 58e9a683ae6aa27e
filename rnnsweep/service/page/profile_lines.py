"""Gradient profiles of the best trials as lines for a script: what the report draws, from the same checkpoints."""

from __future__ import annotations

from pathlib import Path

from rnnsweep.app.results.tables import Json
from rnnsweep.report.data import SweepData
from rnnsweep.sweep.plan import SweepPlan
from rnnsweep.sweep.ports import Ledger, SweepView


def profile_lines(ledger: Ledger, view: SweepView, plan: SweepPlan, root: Path) -> list[Json]:
    """One entry per trial and layer: ``{title, lines: [{when, update, depth: [...], log10: [[...] per replica]}]}``.

    Empty where no trial has a result, or no checkpoint can be read.
    """
    from rnnsweep.app.results.report_data import profiles

    frame = profiles(ledger, view, _results(ledger, view, plan), root)
    deep = set(frame.loc[frame["layer"] != "1", "trial"])
    panels = []
    for (trial, layer), part in frame.groupby(["trial", "layer"], sort=False):
        title = f"trial {trial}, layer {layer}" if trial in deep else f"trial {trial}"
        lines = []
        for (when, replica), line in part.groupby(["when", "replica"], sort=False):
            values = {"depth": line["depth"].tolist(), "log10": line["log10"].round(3).tolist()}
            lines.append({"when": when, "replica": int(replica), "update": int(line["update"].iloc[0]), **values})
        panels.append({"title": title, "lines": lines})
    return panels


def _results(ledger: Ledger, view: SweepView, plan: SweepPlan) -> SweepData:
    """The sweep as far as the choice of the best trials needs it."""
    from rnnsweep.app.results.frames import curves_frame, replicas_frame, trials_frame

    return SweepData(
        name=view.name,
        state=view.state.value,
        objective=plan.objectives[0],
        space=plan.space,
        updates=plan.budget.updates,
        replicas_per_trial=plan.replicas,
        trials=trials_frame(ledger.trials(view.name), plan.space.keys, plan.version.defaults),
        replicas=replicas_frame([], plan),
        curves=curves_frame([]),
    )
