from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rnnsweep.adapters.ledger import lock_holder

pytestmark = pytest.mark.skipif(not lock_holder.this_process("x")["machine"], reason="this system has no /proc")


def test_living_process_is_not_dead() -> None:
    assert not lock_holder.known_dead(lock_holder.this_process("x"))


def test_ended_process_is_dead_as_a_zombie_and_after() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, but not reaped
    zombie = {**lock_holder.this_process("x"), "pid": child.pid}
    assert lock_holder.known_dead(zombie)
    child.wait()
    assert lock_holder.known_dead(zombie)


def test_reused_pid_is_dead() -> None:
    assert lock_holder.known_dead({**lock_holder.this_process("x"), "started": "1"})


@pytest.mark.parametrize("machine", ["", "another boot pid:[1]"])
def test_nothing_is_known_of_other_machines(machine: str) -> None:
    assert not lock_holder.known_dead({**lock_holder.this_process("x"), "machine": machine, "started": "1"})


def test_words_name_holder_process_and_host() -> None:
    me = lock_holder.this_process("rnnsweep launch quickstart")
    assert lock_holder.display(me) == f"rnnsweep launch quickstart, pid {os.getpid()} on {me['host']}"
