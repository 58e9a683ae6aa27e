"""The README word for word, as a newcomer types it: one shell in a fresh checkout, nothing activated."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

from rnnsweep.app.results.frames import trials_frame
from rnnsweep.sweep.states import TrialState
from rnnsweep.sweep.views import TrialView
from tests.docs.blocks import ROOT, TINY, blocks

README = ROOT / "README.md"

# What stands in for the set-up: `make` skips the installation, `.venv/bin` runs this tree. Launches are made small by
# overrides behind the README's own words. `ui` is ended by Ctrl-C once it has printed the link that it promises.
MAKE = """#!/bin/bash
exec {make} --no-print-directory -f {root}/Makefile -o install "$@"
"""
ACTIVATE = """PATH="$PWD/.venv/bin:$PATH"
"""
PYTHON = """#!/bin/bash
export PYTHONPATH={root}
exec {python} "$@"
"""
RNNSWEEP = """#!{python}
import os, signal, subprocess, sys
os.environ["PYTHONPATH"] = "{root}"
command = [sys.executable, "-m", "rnnsweep.app.cli.main", *sys.argv[1:]]
if sys.argv[1] in ("launch", "train"):
    command += {tiny!r}
    if "name=first" not in command:  # the one that `ui` shows
        command += ["tracker=none", "store.optuna=none"] if sys.argv[1] == "launch" else []
if sys.argv[1] != "ui":
    os.execv(sys.executable, command)
process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
for line in process.stdout:
    print(line, end="", flush=True)
    if line.startswith("compare"):
        process.send_signal(signal.SIGINT)
sys.exit(process.wait(60))
"""
PRELUDE = """
import rnnsweep as _package
_launch = _package.launch
_small = [*{tiny!r}, "tracker=none", "store.optuna=none"]
_package.launch = lambda name, overrides=(), **more: _launch(name, [*overrides, *_small], **more)
"""


@pytest.fixture
def newcomer(tmp_path):
    """A directory as a fresh checkout shows itself, and the environment of a shell in which nothing is activated."""
    shims, venv = tmp_path / "shims", tmp_path / "checkout/.venv/bin"
    words = {"root": ROOT, "python": sys.executable, "tiny": list(TINY), "make": "/usr/bin/make"}
    for file, text in {
        shims / "make": MAKE,
        venv / "activate": ACTIVATE,
        venv / "python": PYTHON,
        venv / "rnnsweep": RNNSWEEP,
    }.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text.format(**words))
        file.chmod(0o755)
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("RNNSWEEP", "VIRTUAL"))}
    return tmp_path / "checkout", {**environment, "PATH": f"{shims}:/usr/bin:/bin"}


def script() -> str:
    """All blocks of the README that can run here, in one shell that stops at the first command that fails."""
    lines = ["set -eo pipefail"]
    for number, block in enumerate(block for block in blocks(README) if block.language in ("sh", "python")):
        if block.language == "python":
            lines.append(f"cat > block{number}.py <<'END'\n{PRELUDE.format(tiny=list(TINY))}{block.text}END")
            lines.append(f"python block{number}.py")
        else:
            lines.append(block.text)
    return "\n".join(lines)


@pytest.mark.slow
def test_every_command_of_the_readme_works_in_its_order(newcomer):
    folder, environment = newcomer
    done = subprocess.run(
        ["bash", "-x", "-c", script()], cwd=folder, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-6000:]
    for word in ("Sweep 'quickstart' is COMPLETE", "Sweep 'first' is COMPLETE: 16 trials", "compare  ", "valid/error"):
        assert word in done.stdout
    assert (folder / "mlruns/reports/quickstart/index.html").is_file()
    assert printed_commands_work(done.stdout, folder, environment)


def printed_commands_work(shown: str, folder: Path, environment: dict[str, str]) -> bool:
    """What the quickstart printed at its end can be typed once the environment is active; some of it just was."""
    ending = shown[: shown.index("Commands above need the environment")]
    commands = re.findall(r"^(?:report|go on)\s+(rnnsweep .+)$", ending, flags=re.MULTILINE)
    assert commands
    ran = [line.partition("#")[0].strip() for block in blocks(README) for line in block.text.splitlines()]
    typed = "\n".join(["set -e", ". .venv/bin/activate", *(line for line in commands if line not in ran)])
    done = subprocess.run(["bash", "-c", typed], cwd=folder, env=environment, capture_output=True, text=True)
    return done.returncode == 0


@pytest.mark.slow
def test_the_one_network_of_the_readme_learns_what_is_said_of_it(tmp_path):
    typed = re.search(r"^rnnsweep (train .+?)\s+#.*solved by update (\d+)$", README.read_text(), flags=re.MULTILINE)
    assert typed is not None
    command = [sys.executable, "-m", "rnnsweep.app.cli.main", *shlex.split(typed[1])]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1].split()
    # another processor's last bits may shift it by some rungs
    assert last[4] == "SOLVED" and int(last[3]) <= 2 * int(typed[2])


def test_nothing_works_before_the_environment_is_active(newcomer):
    """The stand-ins would hide a forgotten activation otherwise."""
    folder, environment = newcomer
    done = subprocess.run(["bash", "-c", "rnnsweep units"], cwd=folder, env=environment, capture_output=True)
    assert done.returncode == 127


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md"])
def test_frames_of_the_examples_show_their_objective_in_80_columns(page, monkeypatch):
    printed = re.search(r"print\((sweep\.trials\(\).*)\)(?:  #.*)?$", (ROOT / page).read_text(), flags=re.MULTILINE)
    assert printed is not None
    monkeypatch.setenv("COLUMNS", "80")
    trial = TrialView(0, TrialState.COMPLETE, {"controllers.omega.weight": 0.5, "optimizer.lr": 0.02}, (0.25,))
    sweep = SimpleNamespace(trials=lambda: trials_frame([trial], list(trial.params)))
    with pd.option_context("display.width", 80, "display.max_columns", 0):  # as in a terminal
        shown = repr(eval(printed[1], {"sweep": sweep}))
    assert "objective" in shown
    assert "..." not in shown


def test_the_readme_says_what_a_second_quickstart_is_called():
    assert "`quickstart-2`" in README.read_text(encoding="utf-8")


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    assert set(re.findall(r"`?make (\w+)", README.read_text())) <= targets


def test_on_a_package_index_no_link_of_the_readme_leads_nowhere():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["metadata"]["hooks"]
    text = README.read_text(encoding="utf-8")
    for rule in settings["fancy-pypi-readme"]["substitutions"]:
        text = re.sub(rule["pattern"], rule["replacement"], text)
    links = re.findall(r"\]\(([^)]+)\)", text)
    assert links
    assert all(link.startswith("https://") for link in links)
    assert "](docs" not in text
    assert "tutorial (`docs/tutorial.md`)" in text
