"""The tables of a report, as frames; the CSV files are these frames."""

from __future__ import annotations

from rnnsweep.report.data import Frame, SweepData
from rnnsweep.report.fates import fate
from rnnsweep.report.lead import lead
from rnnsweep.report.levels import levels


def trials(data: SweepData) -> Frame:
    """All trials by number, searched keys last."""
    return data.trials.sort_values("trial")


def best(data: SweepData, count: int = 10) -> Frame:
    """The best complete trials with what one would rerun them with."""
    columns = ["trial", "objective", "solved_at", "diverged_at", *data.space.keys]
    columns += [name for name in ("fingerprints", "space") if name in data.trials]
    if data.ranked["reason"].astype(bool).any():  # replicas that ended early
        columns.append("reason")
    # an empty column would ask for attention on the page
    if data.trials["diverged_at"].isna().all():
        columns.remove("diverged_at")
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
    table.insert(1, "what", fate(data, bad))
    return table.sort_values("trial").drop(columns="state")


def reasons(data: SweepData) -> list[str]:
    """Why trials failed, the most frequent reason first, with how often and in which trials."""
    failed = data.trials[data.trials["state"] == "FAILED"]
    # equally frequent ones by their first trial, so that the page does not change between two runs
    groups = sorted(failed.groupby("reason")["trial"], key=lambda item: (-len(item[1]), item[1].min()))
    return [f"{len(numbers)} × {reason} ({some(numbers.tolist())})" for reason, numbers in groups]


def some(numbers: list[int], most: int = 8) -> str:
    """Trial numbers, as many as one reads."""
    return ", ".join(f"#{number}" for number in numbers[:most]) + (", ..." if len(numbers) > most else "")


def use(data: SweepData) -> Frame:
    """Time and device use per state: trials, row-updates, device seconds."""
    per_trial = data.replicas.groupby("trial").agg(updates=("step", "sum"), device_s=("device_s", "sum"))
    joined = data.trials.set_index("trial")[["state"]].join(per_trial).fillna({"updates": 0, "device_s": 0.0})
    table = joined.groupby("state").agg(
        trials=("updates", "size"), updates=("updates", "sum"), device_s=("device_s", "sum")
    )
    return table.reset_index()


TABLES = {
    "trials": trials,
    "best": best,
    "failed_and_diverged": lost,
    "use": use,
    "levels": levels,
    "lead": lead,
}
"""File stem -> table."""
