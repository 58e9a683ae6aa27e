"""The README's table, from a store in which the quickstart has run: prints it, with --write also into the README.

    python benchmarks/quickstart.py [--store mlruns] [--sweep quickstart] [--write]

Every replica behind it is kept in docs/results/quickstart.csv, from which the table can be made again (--from-csv).
"""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import pandas as pd  # noqa: E402

import rnnsweep  # noqa: E402
from rnnsweep.report.levels import interval_of  # noqa: E402
from rnnsweep.sweep.censoring import censored_median  # noqa: E402

README, RESULT = ROOT / "README.md", ROOT / "docs/results/quickstart.csv"
WEIGHT, RATE = "controllers.omega.weight", "optimizer.lr"
FIRST = "| Omega weight |"


def replicas(sweep: str, store: Path | None) -> pd.DataFrame:
    """One line per trained network, with its trial's settings."""
    opened = rnnsweep.open_sweep(sweep, store=store)
    trials = opened.trials().set_index("trial")[[WEIGHT, RATE]]
    frame = opened.replicas().join(trials, on="trial")
    return frame[["trial", "replica", WEIGHT, RATE, "step", "solved_at", "value"]]


def table(frame: pd.DataFrame) -> str:
    """One column per Omega weight: who solves the task, how sure that is, what error is left, and after how long."""
    groups = frame.groupby(WEIGHT)
    # As the report has them: replicas of one trial are not independent.
    low_high = {
        weight: interval_of(group["solved_at"].notna().groupby(group["trial"]).agg(["sum", "size"]))[1:]
        for weight, group in groups
    }
    rows = [
        ["Omega weight", *(f"{weight:g}" for weight, _ in groups)],
        ["---"] * (len(groups) + 1),
        ["networks that solve the task", *(f"{group['solved_at'].count()} of {len(group)}" for _, group in groups)],
        ["95 % interval", *(f"{100 * low:.0f} to {100 * high:.0f} %" for low, high in low_high.values())],
        ["mean share of wrong sequences at the end", *(f"{100 * group['value'].mean():.1f} %" for _, group in groups)],
        ["median updates to solve it", *(_median(group["solved_at"]) for _, group in groups)],
    ]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _median(solved_at: pd.Series) -> str:
    """Over all networks: those that never solve the task are later than all others; a dash where they are the most."""
    middle = censored_median(solved_at.dropna().tolist(), len(solved_at))
    return "–" if middle is None else f"{middle:.0f}"


def placed(text: str, new: str) -> str:
    """The README's text with its table replaced."""
    return re.sub(rf"{re.escape(FIRST)}.*?(?=\n\n)", lambda _: new, text, count=1, flags=re.DOTALL)


def main() -> None:
    """Print, and keep where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--store", type=Path)
    parser.add_argument("--sweep", default="quickstart")
    parser.add_argument("--from-csv", action="store_true")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    frame = pd.read_csv(RESULT) if given.from_csv else replicas(given.sweep, given.store)
    print(table(frame))
    if given.write:
        frame.to_csv(RESULT, index=False)
        README.write_text(placed(README.read_text(encoding="utf-8"), table(frame)), encoding="utf-8")


if __name__ == "__main__":
    main()
