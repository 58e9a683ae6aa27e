"""Gradient profiles for the script, from the checkpoints of a sweep that was trained."""

from __future__ import annotations

import pytest

import rnnsweep
from rnnsweep.service.page.live_sweeps import LiveStore
from rnnsweep.service.page.profile_lines import profile_lines
from tests.kit.live_page import NAME
from tests.kit.tiny import TINY


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    store = tmp_path_factory.mktemp("trained")
    overrides = ["name=tiny", "budget.trials=2", "replicas=2", *TINY]
    return rnnsweep.launch("quickstart", overrides, store=store, progress=False)


def lines_of(place, name):
    with LiveStore(lambda: place).open() as look:
        return profile_lines(*look.sweep(name), look.now(name).plan, place.root)


def test_each_of_the_best_trials_has_a_panel_with_its_replicas(trained):
    panels = lines_of(trained.place, "tiny")
    best = trained.best.number
    assert panels[0]["title"] == f"trial {best}"
    assert len(panels) == 2
    for panel in panels:
        assert {(line["when"], line["replica"]) for line in panel["lines"] if line["when"] == "end"} == {
            ("end", 0),
            ("end", 1),
        }
        assert all(len(line["depth"]) == len(line["log10"]) > 0 for line in panel["lines"])


def test_a_sweep_without_checkpoints_has_none(written):
    assert lines_of(written.place, NAME) == []
