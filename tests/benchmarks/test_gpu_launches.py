"""What a GPU is asked for by one update: the words of a call are one launch, so that data are a small part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MOST = 10
"""Operations of one mini-batch of marked values; by torch it was 700."""
MOST_OF_AN_UPDATE = 30
"""Operations of an update, the two loops and their products among them; by torch it was 200 besides the data."""


@pytest.mark.slow
def test_data_of_an_update_are_few_launches() -> None:
    # a process of its own: triton is imported outside of its interpreter
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks/gpu_launches.py"), "--top", "adding"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    row = next(line for line in told.splitlines() if line.startswith("| adding |"))
    by_torch, by_kernel, update_by_torch, update_by_kernel = map(int, row.split("|")[2:-1])
    assert by_kernel <= MOST < 600 < by_torch
    assert update_by_kernel <= MOST_OF_AN_UPDATE < 800 < update_by_torch
    for kernel in ("place_kernel", "marked_kernel", "read_out_kernel", "gather_kernel", "step_kernel"):
        assert f"1 {kernel}" in told
