"""What training looked like: panels that say something, points where there is one rung."""

from __future__ import annotations

import dataclasses

from rnnsweep.report.dynamics import dynamics


def test_controllers_that_are_off_have_no_panel(data):
    labels = [axes.get_ylabel() for axes in dynamics(data).axes if axes.get_visible()]
    assert "Ω" not in labels  # zero throughout
    assert "validation error" in labels
    assert "spectral radius ρ(W)" in labels


def test_a_trial_of_one_rung_is_a_point(data):
    best = data.ranked["trial"].iloc[0]
    curves = data.curves[(data.curves["trial"] != best) | (data.curves["step"] == 200)]
    axes = dynamics(dataclasses.replace(data, curves=curves)).axes[0]
    (line,) = [line for line in axes.lines if line.get_label() == f"trial {best}"]
    assert line.get_marker() == "o"
