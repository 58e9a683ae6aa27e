"""Device seconds by what became of the trial."""

from __future__ import annotations

from rnnsweep.report.device_use import use


def test_bars_add_up_to_all_device_seconds(data):
    bars = use(data).axes[1].patches
    assert sum(bar.get_width() for bar in bars) == data.replicas["device_s"].sum()
