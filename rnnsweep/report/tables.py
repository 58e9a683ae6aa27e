"""The tables of a report, as frames; the CSV files are these frames."""

from __future__ import annotations

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.history import kind


def trials(data: SweepData) -> Frame:
    """All trials by number, searched keys last."""
    return data.trials.sort_values("trial")


def best(data: SweepData, count: int = 10) -> Frame:
    """The best complete trials with what one would rerun them with."""
    columns = ["trial", "objective", "solved_at", *data.space.keys]
    table = data.ranked[columns].head(count).copy()
    if data.replicas_per_trial > 1:
        spread = data.replicas.groupby("trial")["value"].agg(["min", "max"])
        table.insert(2, "replicas from", table["trial"].map(spread["min"]))
        table.insert(3, "to", table["trial"].map(spread["max"]))
    return table


def lost(data: SweepData) -> Frame:
    """Failed and diverged trials with the reason, and the update at which it happened."""
    bad = data.trials[(data.trials["state"] == "FAILED") | (data.trials["diverged_share"] > 0)]
    table = bad[["trial", "state", "diverged_at", "diverged_share", "attempts", "reason"]].copy()
    table.insert(1, "what", kind(bad))
    return table.sort_values("trial").drop(columns="state")


def use(data: SweepData) -> Frame:
    """Time and device use per state: trials, row-updates, device seconds."""
    per_trial = data.replicas.groupby("trial").agg(updates=("step", "sum"), device_s=("device_s", "sum"))
    joined = data.trials.set_index("trial")[["state"]].join(per_trial).fillna({"updates": 0, "device_s": 0.0})
    table = joined.groupby("state").agg(
        trials=("updates", "size"), updates=("updates", "sum"), device_s=("device_s", "sum")
    )
    return table.reset_index()


TABLES = {"trials": trials, "best": best, "failed_and_diverged": lost, "use": use}
"""File stem -> table."""
