"""The picture of the page on analyses, made anew: `python docs/site/lab_picture.py [--store DIR] [--out docs/img]`.

Without a store that has the sweep `real`, it is trained first: two to three minutes of two cores.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
from pathlib import Path

import rnnsweep
from rnnsweep.app.results.sweep import Sweep, open_sweep
from rnnsweep.app.studies.trained_analyses import Request, analyze_sweep

IMAGES = Path(__file__).parents[1] / "img"
SWEEP = "real"
OVERRIDES = (f"name={SWEEP}", "budget.trials=24", "budget.updates=3000", "replicas=2", "cluster=inline", "tracker=none")


def main() -> None:
    """Analyse the sweep and keep one figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, help="a store that has the sweep; without it the sweep is run")
    parser.add_argument("--out", type=Path, default=IMAGES)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        sweep = open_sweep(SWEEP, store=given.store) if given.store else trained(Path(scratch) / "store")
        request = Request(only=("lyapunov",), every_replica=True, against="omega.weight")
        analyze_sweep(sweep, request, Path(scratch) / "out")
        shutil.copyfile(Path(scratch) / "out/lyapunov.png", given.out / "sweep_lyapunov.png")


def trained(store: Path) -> Sweep:
    """The quickstart with fewer updates and more trials."""
    return rnnsweep.launch("quickstart", [*OVERRIDES, "store.optuna=none"], store=store)


if __name__ == "__main__":
    main()
