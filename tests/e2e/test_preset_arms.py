"""A preset whose arms cannot differ compares nothing: grids are run for a few updates, and every two trials differ."""

from __future__ import annotations

import itertools
import math

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.app.results.sweep import open_sweep
from rnnsweep.app.run import launch as running
from rnnsweep.app.studies.reproduce import whole_grid
from rnnsweep.sweep.states import SweepState

CLIP = "controllers.clip.threshold"
REACH = 10.0
"""Pascanu et al. (2013): thresholds from half to ten times the average norm converge; one beyond never acts."""
SMALL = ("replicas=1", "training.eval_size=10", "cluster=inline", "tracker=none")
BRIEF = ("budget.updates=10", "training.report_every=5")

ARMS = {
    "pascanu_fig7": ["task.length=20"],
    "pascanu_code": ["task.length=[10,20]"],
    "pascanu_music": ["task.length=20", "optimizer.lr=0.01"],
    "pascanu_ptb": ["task.length=20", "optimizer.lr=0.01"],
    "pascanu_pathological": ["task.length=[10,20]"],  # the enqueued ones
    "pascanu_memorization": ["task.length=10"],
    # The range of Q is left, and mini-batches are skipped, after some twenty updates.
    "chernodub_table1": ["task.length=50", "optimizer.lr=0.001", "budget.updates=40"],
    "sbo_digits": ["family.hidden=16"],
    "online_rules": ["task.length=10", "task.period=10", "family.hidden=8"],
    "rflo_periodic": ["task.length=20"],
    "momentum_smnist": ["task.source=sklearn", "~space.family.hidden", "family.hidden=16", "training.batch=8"],
    "momentum_pmnist": ["task.source=sklearn", "~space.family.hidden", "family.hidden=16", "training.batch=8"],
    "momentum_timit": ["task.length=10", "family.hidden=16", "training.batch=8"],
    "state_tracking": ["task.length=5", "training.batch=8", "family.hidden=8"],
    "scornn_digits": ["task.source=sklearn", "family.hidden=16", "training.batch=8"],
}
"""Presets with a grid of arms, shortened but at the scale of gradients that they train at."""


def finite(curve):
    """Values by key at the last rung, for comparison to the bit."""
    last = curve[curve["step"] == curve["step"].max()]
    return dict(zip(last["key"], last["value"], strict=True))


def fault(params: list[dict], curves: list[dict]) -> str:
    """Why two trials that ended alike can never differ; empty where the threshold of one is just not reached yet."""
    (one, other), (seen, _) = params, curves
    differing = sorted(key for key in {*one, *other} if one.get(key) != other.get(key))
    thresholds = [p[CLIP] for p in params if CLIP in differing and math.isfinite(p.get(CLIP, math.inf))]
    # A weight of 0 is no weight: the arms without clipping do not have the key.
    rest = [key for key in differing if key != CLIP and (one.get(key) or other.get(key))]
    if not rest and thresholds and min(thresholds) <= REACH * seen["grad/norm"]:
        return ""
    return f"{one} and {other} train alike; gradient norm {seen['grad/norm']:.3g}"


def faults(name, overrides, store):
    config = load(name, whole_grid(name, [*SMALL, *BRIEF, *overrides]), store=store)
    assert running.launch(config).state is SweepState.COMPLETE
    sweep = open_sweep(config.plan.name, store=store)
    trials, curves = sweep.trials(), sweep.curves()
    keys = list(config.plan.space.keys)
    rows = trials.to_dict("records")
    params = {row["trial"]: {key: row[key] for key in keys if known(row[key])} for row in rows}
    ends = {trial: finite(curve) for trial, curve in curves.groupby("trial")}
    pairs = [(a, b) for a, b in itertools.combinations(sorted(ends), 2) if same(ends[a], ends[b])]
    return len(ends), [text for a, b in pairs if (text := fault([params[a], params[b]], [ends[a], ends[b]]))]


def known(value):
    """Whether the key exists in the trial: frames have None or NaN where it does not."""
    return value is not None and value == value


def same(one, other):
    """Whether two trials ended with the same loss and gradients, to the bit."""
    return all(one.get(key) == other.get(key) for key in ("train/loss", "grad/norm", "grad/norm_clipped"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ARMS)
def test_arms_differ(name, tmp_path):
    count, found = faults(name, ARMS[name], tmp_path)
    assert count > 1
    assert found == []


@pytest.mark.slow
def test_a_threshold_out_of_reach_is_found(tmp_path):
    """The setting as it once was: 45 belongs to a cost summed over steps."""
    overrides = [*ARMS["pascanu_ptb"], "task.ahead_steps=1", "family.hidden=50", f"{CLIP}=choice(inf,45)"]
    _, found = faults("pascanu_ptb", [*overrides, "controllers.omega.weight=0"], tmp_path)
    assert len(found) == 1


def test_every_packaged_grid_of_arms_is_compared():
    from rnnsweep.app.config.load import search_path

    for file in search_path().sweep_files().values():
        plan = load(file.stem, check_units=False).plan
        grid = plan.config["sampler"]["_target_"].endswith(".Grid")
        arms = len(list(plan.space.grid())) if grid else 0
        rates = all(key.startswith(("optimizer.lr", "task.", "family.hidden")) for key in plan.space.keys)
        assert arms < 2 or rates or file.stem in ARMS, file.stem
