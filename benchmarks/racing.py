"""What racing saves, and at what loss: ``python benchmarks/racing.py [--sweeps 300] [--level 0.1]``.

    --sweep NAME --store DIR [--metric valid/loss] [--updates 400]    replicas of a real sweep, as they stood then

A sweep of 40 trials with 10 replicas is drawn, or the replicas of a real one in which all were trained are dealt out in
another order of trials, and raced by the rule of `rnnsweep.sweep.racing`. Beside it stands the rule that comes to mind
first, `best`: a one-sided Wilcoxon test against the best trial so far on the same replicas, its looks corrected too.

    trained     share of all replicas that were trained
    lost        share of sweeps in which the truly best trial (of a real one: the best by all replicas) lost its race;
                for equal trials the share of trials that did
    regret      how much worse the trial that was found is than the one that all replicas would have found, in standard
                deviations of a replica (of a real one: in its objective)
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from rnnsweep.sweep.plan import Racing
from tests.kit.races import raced

TRIALS, REPLICAS = 40, 10
Rule = Callable[[np.ndarray], list[int]]


def against_the_best(losses: np.ndarray, level: float, looks: range) -> list[int]:
    """Replicas by trial where a Wilcoxon test against the best so far decides, chosen by what is compared."""
    from scipy.stats import wilcoxon

    counts: list[int] = []
    for trial, own in enumerate(losses):
        count = len(own)
        for look in looks:
            rivals = [other for other in range(trial) if counts[other] >= look]
            if not rivals:
                continue
            best = min(rivals, key=lambda other: losses[other, :look].mean())
            apart = own[:look] - losses[best, :look]
            if not apart.any():
                continue
            # exact tables know no ties
            method = "exact" if len(set(np.abs(apart)) - {0.0}) == look else "asymptotic"
            _, p = wilcoxon(apart, alternative="greater", method=method)
            if p <= level / len(looks):
                count = look
                break
        counts.append(count)
    return counts


def rules(level: float, replicas: int) -> dict[str, Rule]:
    """The rules that are compared."""
    made: dict[str, Rule] = {}
    for block in (1, 2, 3):
        racing = Racing(level, block)
        if racing.looks(replicas):
            made[f"block={block}"] = lambda losses, racing=racing: raced(losses, racing)
    made["best"] = lambda losses: against_the_best(losses, level, Racing(level, 2).looks(replicas))
    return made


def drawn(spread: float, solved: bool, sweeps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(what a trial is truly worth, its losses) of each sweep: the trials' worth varies by `spread`, seeds by 1."""
    for seed in range(sweeps):
        draws = np.random.default_rng(seed)
        worth = spread * draws.gumbel(size=TRIALS)
        noise = draws.normal(size=(TRIALS, REPLICAS)) + draws.normal(size=REPLICAS)
        losses = worth[:, None] + noise
        yield worth, np.where(losses < np.median(losses), 0.0, losses) if solved else losses


def real(store: str, name: str, metric: str, updates: int, sweeps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The same of a sweep in a store, its trials in other orders."""
    import rnnsweep

    curves = rnnsweep.open_sweep(name, store=store).curves(metric)
    last = curves[curves["step"] <= updates].sort_values("step").groupby(["trial", "replica"])["value"].last()
    table = last.unstack("replica").dropna().to_numpy()
    for seed in range(sweeps):
        losses = table[np.random.default_rng(seed).permutation(len(table))]
        yield losses.mean(axis=1), losses


def measured(rule: Rule, cases: list[tuple[np.ndarray, np.ndarray]]) -> str:
    """One line of the table."""
    trained, lost, regret = [], [], []
    for worth, losses in cases:
        counts = np.array(rule(losses))
        whole = counts == losses.shape[1]
        trained.append(counts.sum() / losses.size)
        equal = np.ptp(worth) == 0
        lost.append(np.mean(~whole) if equal else float(not whole[worth.argmin()]))
        means = losses.mean(axis=1)
        found = np.where(whole, means, np.inf).argmin()
        regret.append(worth[found] - worth[means.argmin()])
    return f"trained {np.mean(trained):5.3f}   lost {np.mean(lost):6.4f}   regret {np.mean(regret):+8.4f}"


def main() -> None:
    """Print the table."""
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--sweep")
    words.add_argument("--store", default="mlruns")
    words.add_argument("--metric", default="valid/loss")
    words.add_argument("--updates", type=int, default=10**9)
    words.add_argument("--sweeps", type=int, default=300)
    words.add_argument("--level", type=float, default=0.1)
    asked = words.parse_args()
    if asked.sweep:
        cases = list(real(asked.store, asked.sweep, asked.metric, asked.updates, asked.sweeps))
        sets = {f"{asked.metric} at {asked.updates}": cases}
    else:
        sets = {
            f"spread {spread:g}{', half of all solve' if solved else ''}": list(drawn(spread, solved, asked.sweeps))
            for spread, solved in ((0.0, False), (0.0, True), (0.3, False), (1.0, False), (1.0, True), (3.0, False))
        }
    for what, cases in sets.items():
        for name, rule in rules(asked.level, cases[0][1].shape[1]).items():
            print(f"{what:28} {name:8} {measured(rule, cases)}", flush=True)


if __name__ == "__main__":
    main()
