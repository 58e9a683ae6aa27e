"""The settings that `conftest` makes are in force where the numbers are made."""

from __future__ import annotations

import os
import subprocess
import sys

import torch


def test_one_thread_and_float64():
    assert torch.get_num_threads() == 1
    assert torch.zeros(1).dtype == torch.float64
    assert os.environ["OMP_NUM_THREADS"] == "1"


def test_processes_that_tests_start_inherit_the_one_thread():
    code = "import torch; print(torch.get_num_threads())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "1\n"
