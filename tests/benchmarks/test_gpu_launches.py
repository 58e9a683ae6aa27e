"""What a GPU is asked for by one update: the words of a call are one launch, so that data are a small part."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MOST = 40
"""Operations of one mini-batch of any task; with words by torch it was 700."""


def test_data_of_an_update_are_few_launches() -> None:
    # a process of its own: triton is imported outside of its interpreter
    command = [sys.executable, "-W", "ignore", str(ROOT / "benchmarks/gpu_launches.py"), "--top", "adding"]
    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout
    row = next(line for line in told.splitlines() if line.startswith("| adding |"))
    by_torch, by_kernel, update_by_torch, update_by_kernel = map(int, row.split("|")[2:-1])
    assert by_kernel <= MOST < 600 < by_torch
    # nothing but the random numbers has changed
    assert update_by_torch - update_by_kernel == by_torch - by_kernel
    assert "4 kernel of core.rng_gpu" in told
