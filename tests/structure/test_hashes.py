"""`hashes.txt` has the versions of `constraints.txt`, each with its files; `deploy/requirements.py` splits requests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUILDS = {"torch", "triton"}


def pins(name: str) -> dict[str, str]:
    found = re.findall(r"^([\w.-]+)==([^\s\\]+)", (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[-_.]+", "-", package).lower(): version for package, version in found}


def requirements(*words: str) -> list[str]:
    command = [sys.executable, str(ROOT / "deploy/requirements.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


def test_the_same_versions_and_a_hash_for_each():
    expected = {name: version for name, version in pins("constraints.txt").items() if name not in BUILDS}
    assert pins("hashes.txt") == expected
    blocks = re.split(r"^(?=[\w.-]+==)", (ROOT / "hashes.txt").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    assert len(blocks) == len(expected)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


@pytest.mark.parametrize("extras", [(), ("dev", "gpu", "postgres")])
def test_every_requirement_is_in_one_of_the_two_steps(extras):
    hashed, builds = requirements("hashed", *extras), requirements("builds", *extras)
    assert {re.split(r"[>;<=]", line)[0] for line in builds} <= BUILDS
    names = {re.sub(r"[-_.]+", "-", re.split(r"[\[>;<= ]", line)[0]).lower() for line in hashed}
    assert names <= set(pins("hashes.txt"))
    assert ("pytest" in names) == ("dev" in extras) and "mlflow" in names
