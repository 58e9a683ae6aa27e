from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rnnsweep.adapters.ledger import identity

pytestmark = pytest.mark.skipif(not identity.describe("x")["machine"], reason="this system has no /proc")


def test_living_process_is_not_dead() -> None:
    assert not identity.known_dead(identity.describe("x"))


def test_ended_process_is_dead_as_a_zombie_and_after() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not reaped
    zombie = {**identity.describe("x"), "pid": child.pid}
    assert identity.known_dead(zombie)
    child.wait()
    assert identity.known_dead(zombie)


def test_reused_pid_is_dead() -> None:
    assert identity.known_dead({**identity.describe("x"), "started": "1"})


@pytest.mark.parametrize("machine", ["", "another boot pid:[1]"])
def test_nothing_is_known_of_other_machines(machine: str) -> None:
    assert not identity.known_dead({**identity.describe("x"), "machine": machine, "started": "1"})


def test_words_name_holder_process_and_host() -> None:
    me = identity.describe("rnnsweep launch quickstart")
    assert identity.words(me) == f"rnnsweep launch quickstart, pid {os.getpid()} on {me['host']}"
