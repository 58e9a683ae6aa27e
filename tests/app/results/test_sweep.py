"""A sweep of the store as an object: frames, the best trial, its network."""

from __future__ import annotations

import torch


def test_frames(tiny):
    _, sweep = tiny
    trials = sweep.trials()
    assert trials["trial"].tolist() == [0, 1, 2]
    assert "controllers.omega.weight" in trials.columns
    curves = sweep.curves("valid/error")
    assert curves.groupby("trial")["step"].apply(list).tolist() == [[10, 20]] * 3
    assert set(sweep.replicas()["value"]) == set(trials["objective"])  # one replica per trial


def test_best_is_a_module_that_computes(tiny):
    _, sweep = tiny
    best = sweep.best
    assert best.objective == sweep.trials()["objective"].min()
    network = best.load()
    assert isinstance(network, torch.nn.Module)
    assert not network.training
