"""Random kills over a set of real sweeps: ``python benchmarks/chaos.py --kills 200 [--hours 3] [--seed 0]``.

Each round launches a sweep of small networks on a Ray cluster of three nodes on this machine and kills, again and
again, a worker, a raylet, the head with everything, or the driver; stops a worker beyond its deadline; or cuts the
newest checkpoint of a row in two. Then the result must equal the undisturbed one to the bit, with no trial lost, no
verdict taken twice, no point doubled in MLflow and, per row and kill, at most the rung in progress repeated. Asks and
verdicts of TPE, the median pruner and successive halving depend on timing: there the recorded asks are run again,
undisturbed and to the end, and each trial must equal them up to where it ended or waits. Of a population each take-over
must come once, from a trial that has been at that rung, with values within their ranges.

Output is flushed line by line; the last lines sum up what was done so far.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rnnsweep.app.config.load import plan_of
from rnnsweep.sweep.segments import TAKEN
from tests.chaos.havoc import Havoc
from tests.chaos.nodes import Nodes
from tests.chaos.sweeps import Record, Store, check_same, check_whole, record

KINDS = {
    "random search": ("sampler=random",),
    "Sobol points, threshold pruner": ("sampler=qmc", "pruner=threshold", "pruner.upper=0.9"),
    "grid": (
        "sampler=grid",
        "space={controllers.omega.weight: choice(0, 1, 2), init.sigma: choice(0.1, 0.2, 0.3, 0.4)}",
    ),
    "TPE, median pruner": ("sampler=tpe", "sampler.startup=4", "pruner=median", "pruner.startup=3"),
    "population": ("sampler=random", "scheduler=pbt"),
    "promotion": ("sampler=random", "scheduler=asha"),
    "hyperband, promotion": ("sampler=tpe", "sampler.startup=4", "scheduler=hyperband"),
}
AHEAD = {"population": 10, "promotion": 3, "hyperband, promotion": 3}
"""Rungs that a row may have trained ahead of decisions that set it back: one per generation, one per milestone."""
TIMED = ("TPE, median pruner", "promotion", "hyperband, promotion")
"""Whose decisions depend on when results come."""
TRIALS, UPDATES = 12, 400


def say(text: str) -> None:
    print(f"[{time.strftime('%H:%M:%S')}] {text}", flush=True)


def replayed(found: Record, root: Path, options: tuple[str, ...]) -> None:
    """Run the recorded asks again, undisturbed and unpruned: up to the rung where each trial ended all is equal."""
    points = json.dumps([row["params"] for row in found.table]).replace("Infinity", "inf")
    kept = [option for option in options if not option.startswith(("sampler", "pruner", "scheduler"))]
    more = (*kept, "sampler=random", "pruner=none", f"sampler.enqueue={plain(points)}")
    again = Store(root, more)
    assert again.finish(again.launch("cluster=inline")) == 0, again.output()
    want = record(again)
    assert [row["params"] for row in want.table] == [row["params"] for row in found.table]
    assert {key: want.curves[key][:2] for key in found.curves} == {
        key: value[:2] for key, value in found.curves.items()
    }
    assert {key: want.rungs[key] for key in found.rungs} == found.rungs


def check_population(store: Store, found: Record) -> int:
    """No state taken twice or from where nobody has been, no value out of its range; how many were taken."""
    ledger = store.ledger()
    try:
        view = ledger.sweep(store.name)
        assert view is not None
        space, views = plan_of(view).space, ledger.trials(store.name)
    finally:
        ledger.close()
    taken = [(view.number, one) for view in views for one in view.segments or ()]
    assert len({(number, one.rung) for number, one in taken}) == len(taken)
    for number, one in taken:
        assert one.state == TAKEN, (number, one)
        assert one.source is None or (one.source, 0, one.rung) in found.curves, (number, one)
        assert space.fitting(one.params, "params") == dict(one.params), (number, one)
    return len(taken)


def plain(text: str) -> str:
    """JSON in the grammar of overrides: keys without quotes."""
    return text.replace('"', "")


def one_round(name: str, seed: int, kills: int, root: Path, until: float, references: dict[str, Record]) -> Havoc:
    options = (*KINDS[name], f"budget.trials={TRIALS}", f"budget.updates={UPDATES}", f"seed={seed % 3}")
    key = f"{name} {seed % 3}"
    if name not in TIMED and key not in references:
        calm = Store(root / "undisturbed", options)
        assert calm.finish(calm.launch("cluster=inline")) == 0, calm.output()
        references[key] = check_whole(calm, TRIALS, ahead=AHEAD.get(name, 0))
    store = Store(root / "disturbed", options, environment={"RNNSWEEP_REST": "0.1"})
    nodes = Nodes(3, store.variables())
    try:
        nodes.start()
        havoc = Havoc(store, nodes, seed, kills, tell=say, until=until)
        code = havoc.run()
    finally:
        nodes.stop()
    assert code == 0, (code, store.output())
    found = check_whole(store, TRIALS, havoc.done["truncated checkpoint"], AHEAD.get(name, 0))
    if name == "population":
        say(f"  {check_population(store, found)} states taken over")
    if name in TIMED:
        replayed(found, root / "again", options)
    else:
        check_same(found, references[key])
    return havoc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--per-sweep", type=int, default=25)
    parser.add_argument("--hours", type=float, default=6.0, help="strike no more after so long, and finish")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), help="of sweeps, in turn")
    options = parser.parse_args()
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    until = time.time() + 3600 * options.hours
    done: Counter[str] = Counter()
    resumed: list[float] = []
    references: dict[str, Record] = {}
    seed, sweeps = options.seed, 0
    while sum(done.values()) < options.kills and time.time() < until:
        name = options.kinds[seed % len(options.kinds)]
        say(f"sweep {sweeps + 1}: {name}, seed {seed}")
        root = Path(tempfile.mkdtemp(prefix="rnnsweep-chaos-"))
        most = min(options.per_sweep, options.kills - sum(done.values()))
        havoc = one_round(name, seed, most, root, until, references)
        shutil.rmtree(root)
        done += havoc.done
        resumed += havoc.resumed
        seed, sweeps = seed + 1, sweeps + 1
        kinds = ", ".join(f"{count} {kind}" for kind, count in done.most_common())
        say(f"equal to the bit; so far {sum(done.values())} kills over {sweeps} sweeps: {kinds}")
        if resumed:
            middle, load = statistics.median(resumed), os.getloadavg()[0]
            say(f"resume to the first rung: median {middle:.1f} s, most {max(resumed):.1f} s, load {load:.1f}")


if __name__ == "__main__":
    main()
