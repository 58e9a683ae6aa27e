"""What `make` makes of a sweep's end: an interruption in order is no error of its own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROGRAM = """#!/bin/sh
trap 'echo "Go on with: rnnsweep resume quickstart"; exit 3' INT TERM
echo begun
if test -n "$CODE"; then exit "$CODE"; fi
while :; do sleep 0.05; done
"""

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make here")


@pytest.fixture
def make(tmp_path):
    """`make quickstart` with a program in place of ours, in an environment that is set up."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/python").touch()
    program = tmp_path / "bin/rnnsweep"
    program.write_text(PROGRAM)
    program.chmod(0o755)
    (tmp_path / ".installed").touch()
    later = time.time() + 3600
    os.utime(tmp_path / ".installed", (later, later))

    def start(code: str = "") -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["make", "quickstart", f"VENV={tmp_path}"],
            cwd=ROOT,
            env={**os.environ, "CODE": code},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,  # a terminal sends Ctrl-C to a whole group: this one is ours
        )

    return start


def test_ctrl_c_ends_with_how_to_go_on_and_no_error_of_make(make):
    process = make()
    assert process.stdout is not None
    before = iter(process.stdout.readline, "begun\n")
    assert [line for line in before if "launch quickstart" in line]
    os.killpg(process.pid, signal.SIGINT)
    text, _ = process.communicate(timeout=20)
    assert text.splitlines()[0] == "Go on with: rnnsweep resume quickstart"
    assert "/bin/activate" in text
    assert "***" not in text


@pytest.mark.parametrize(("code", "error"), [("0", False), ("3", False), ("1", True)])
def test_other_ends_keep_their_codes(make, code, error):
    process = make(code)
    text, _ = process.communicate(timeout=20)
    assert (process.returncode != 0) == error
    assert ("***" in text) == error
