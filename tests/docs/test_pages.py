"""Every example of the documentation runs: each page's blocks in order, beside the tutorial's sweep."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import rnnsweep
from rnnsweep.app.cli.main import app
from rnnsweep.app.config.load import list_sweeps
from tests.docs.blocks import ROOT, TINY, Block, blocks
from tests.kit.shapes import unchecked

ELSEWHERE = {
    "README.md": "test_readme.py",
    "docs/configuration.md": "tests/app/config",
}
"""Pages whose blocks another test runs."""
PAGES = sorted(
    page
    for page in [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
    if str(page.relative_to(ROOT)) not in ELSEWHERE and not page.match("how-to/add-*.md")
)
TUTORIAL = ROOT / "docs/tutorial.md"
RUN = [page for page in PAGES if page != TUTORIAL and any(block.language in ("sh", "python") for block in blocks(page))]
QUIET = ("tracker=none", "store.optuna=none")
COMMAND = re.compile(r"(?:^|&& |exec )(rnnsweep [^\n&]+)", flags=re.MULTILINE)


def invoke(line: str) -> None:
    """One `rnnsweep` line of a page, made small where it trains."""
    _, *words = shlex.split(line, comments=True)
    if words[0] in ("launch", "train"):
        quiet = [word for word in QUIET if not any(own.startswith(word.partition("=")[0]) for own in words)]
        few = ["budget.trials=4"] if words[:2] == ["launch", "quickstart"] and "budget.trials" not in line else []
        words += [*TINY, *quiet, *few] if words[0] == "launch" else TINY[1:]
    words = [re.sub(r"^budget\.updates=(\d+)0{3}$", r"budget.updates=\1", word) for word in words]
    with unchecked() if words[0] == "export" else nullcontext():  # exporters would follow the checks of shapes
        done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, f"{line}\n{done.output}\n{done.exception!r}"


def run(block: Block, names: dict[str, object]) -> None:
    if block.file is not None:
        Path(block.file).parent.mkdir(parents=True, exist_ok=True)
        Path(block.file).write_text(block.text, encoding="utf-8")
    elif block.language == "python":
        exec(compile(block.text, "page", "exec"), names)
    elif block.language == "sh":
        for line in block.text.splitlines():
            assert line.startswith("rnnsweep "), f"only our own commands run in a test: {line}"
            invoke(line)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """A directory in which the tutorial's sweep has run, and a small `quickstart`."""
    folder, before = tmp_path_factory.mktemp("tutorial"), Path.cwd()
    os.chdir(folder)
    try:
        names: dict[str, object] = {}
        for block in blocks(TUTORIAL):
            run(block, names)
        invoke("rnnsweep launch quickstart")
    finally:
        os.chdir(before)
    return folder


@pytest.fixture
def here(tutorial, tmp_path, monkeypatch):
    """A copy of that directory, for one page."""
    shutil.copytree(tutorial, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv("RNNSWEEP_STORE", raising=False)
    return tmp_path / "copy"


def test_the_tutorial_ends_with_a_sweep_of_ones_own(here):
    sweep = rnnsweep.open_sweep("mine")
    assert sweep.status()["state"] == "COMPLETE"
    assert len(sweep.trials()) == 16
    assert (here / "mlruns/reports/mine/index.html").is_file()


@pytest.mark.parametrize("page", RUN, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run_in_their_order(page, here):
    names: dict[str, object] = {}
    for block in blocks(page):
        run(block, names)


def commands() -> list[tuple[str, str]]:
    """Every `rnnsweep` line of every page, whatever its block."""
    texts = {page: page.read_text(encoding="utf-8") for page in [*PAGES, *(ROOT / "docs/how-to").glob("*.md")]}
    texts[ROOT / "README.md"] = (ROOT / "README.md").read_text(encoding="utf-8")
    found = []
    for page, text in texts.items():
        fenced = "\n".join(block.text for block in blocks(page) if block.language in ("sh", "console"))
        quoted = re.findall(r"`(rnnsweep [^`]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
        found += [(str(page.relative_to(ROOT)), line) for line in [*COMMAND.findall(fenced), *quoted]]
    return found


@pytest.mark.parametrize(("page", "line"), commands())
def test_commands_and_options_that_a_page_names_exist(page, line):
    del page
    group = get_command(app)
    _, *words = shlex.split(line, comments=True)
    options = {option for parameter in group.params for option in parameter.opts}
    if words and not words[0].startswith("-") and words[0].islower():
        command = group.commands[words[0]]
        options = {"--help", *(option for parameter in command.params for option in parameter.opts)}
    assert {word.partition("=")[0] for word in words if word.startswith("--")} <= options


def deployed() -> list[tuple[str, str]]:
    """File -> sweep that it, or a page about it, launches: by the program itself, or by the job script."""
    files = [*(ROOT / "deploy").iterdir(), ROOT / "docs/cluster.md"]
    naming = re.compile(r"(?:rnnsweep|slurm\.sh) (?:launch|resume) ([a-z]\w*)")
    return [(file.name, name) for file in files for name in naming.findall(file.read_text(encoding="utf-8"))]


@pytest.mark.parametrize(("file", "sweep"), deployed())
def test_sweeps_that_job_scripts_launch_exist(file, sweep):
    del file
    assert sweep in {name for name, _, _ in list_sweeps()}


def test_job_scripts_launch_something():
    assert {"slurm.sh", "rayjob.yaml"} <= {file for file, _ in deployed()}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "README.md"], ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_stand_in_marked_blocks(page):
    """An indented block would be run by no test."""
    assert (
        re.findall(r"^    (?:\$ )?rnnsweep .*", re.sub(r"(?ms)^```.*?^```$", "", page.read_text()), flags=re.MULTILINE)
        == []
    )
