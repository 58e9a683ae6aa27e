"""Another user of this machine, for what one user may do to another: as root by `setpriv`, skipped otherwise."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

NAME = "nobody"


def as_nobody() -> list[str]:
    """The words before a command that make it run as another user; with CI=true root must be able to."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to act as a second user")
    words = _words()
    if not words:
        reason = "no setpriv that makes a second user (util-linux)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return words


def strictly_as_nobody() -> list[str]:
    """The same for programs of the system, which need not read this checkout: no right is left."""
    as_nobody()
    return [*_plain(), "--inh-caps=-all"]


def _plain() -> list[str]:
    user = pwd.getpwnam(NAME)
    return ["setpriv", f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups"]


@cache
def _words() -> list[str]:
    if shutil.which("setpriv") is None:
        return []
    plain = _plain()
    # a checkout in a private folder: reading is allowed then, which takes nothing from what writing may not do
    reading = [*plain, "--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[2])!r}); import rnnsweep"
    for words in ([*plain, "--inh-caps=-all"], reading):
        if subprocess.run([*words, sys.executable, "-c", code], capture_output=True, cwd="/").returncode == 0:
            return words
    return []
