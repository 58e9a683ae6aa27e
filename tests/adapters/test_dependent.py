"""A server ends with its starter, however that one ends, and takes its own children along."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rnnsweep.adapters.dependent import DependentProcess
from tests.kit.processes import has_ended

SERVER = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid}")
time.sleep(600)
"""
STARTER = """
import sys, time
from rnnsweep.adapters.dependent import DependentProcess
server = DependentProcess([sys.executable, "-c", sys.argv[1], sys.argv[2]])
time.sleep(600)
"""


def pids(file: Path) -> list[int]:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        words = file.read_text().split() if file.is_file() else []
        if len(words) == 2:
            return [int(word) for word in words]
        time.sleep(0.05)
    raise AssertionError("the server did not start")


def all_gone(numbers: list[int]) -> bool:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if all(map(has_ended, numbers)):
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_a_server_and_its_children_end_with_their_starter(tmp_path, number):
    file = tmp_path / "pids"
    starter = subprocess.Popen([sys.executable, "-c", STARTER, SERVER, str(file)])
    servers = pids(file)
    os.kill(starter.pid, number)
    assert starter.wait(timeout=30) == -number
    assert all_gone(servers)


def test_terminate_ends_all_of_it(tmp_path):
    file = tmp_path / "pids"
    process = DependentProcess([sys.executable, "-c", SERVER, str(file)])
    servers = pids(file)
    process.terminate()
    process.wait(timeout=30)
    assert all_gone(servers)


def test_a_command_that_ends_by_itself_hands_its_status_on():
    assert DependentProcess([sys.executable, "-c", "raise SystemExit(7)"]).wait(timeout=60) == 7
