"""Every how-to in docs/how-to that adds a unit: its files are written, its test passes, its commands run."""

from __future__ import annotations

import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.app.cli.main import app
from rnnsweep.app.config.load import list_metrics, list_units, search_path
from rnnsweep.core.metrics.names import METRICS
from rnnsweep.loader import load_class

PAGES = sorted((Path(__file__).parents[1] / "docs/how-to").glob("add-*.md"))
FILE = re.compile(r"^#+ .*: `([^`]+)`$")
CHEAP = ["engine=reference"]  # the fused loops would be compiled first, for a few updates


def files_of(page: Path) -> dict[str, str]:
    """Path -> text of every code block below a heading that names a file."""
    found, named = {}, None
    for part in re.split(r"(^#+ [^\n]*$|^```\w+\n.*?^```$)", page.read_text(), flags=re.MULTILINE | re.DOTALL):
        heading = FILE.match(part)
        if heading:
            named = heading.group(1)
        elif part.startswith("#"):
            named = None
        elif part.startswith("```") and named:
            found[named], named = part.split("\n", 1)[1].removesuffix("```"), None
    return found


def test_code(page: Path) -> str:
    return re.findall(r"```python\n(.*?)```", page.read_text(), flags=re.DOTALL)[-1]


test_code.__test__ = False  # type: ignore[attr-defined]


def commands(page: Path, verb: str) -> list[list[str]]:
    lines = re.findall(rf"(?:^    |`)rnnsweep ({verb} [^`\n]+)", page.read_text(), flags=re.MULTILINE)
    return [shlex.split(line) for line in lines if "..." not in line]


@pytest.fixture(params=PAGES, ids=lambda page: page.stem)
def page(request, tmp_path, monkeypatch) -> Path:
    """A page whose files lie in the working directory; its modules are forgotten afterwards."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    monkeypatch.setenv("RNNSWEEP_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)
    for name, text in files_of(request.param).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    yield request.param
    for name in set(sys.modules) - before:
        if name.startswith("my_"):
            del sys.modules[name]


def unit_of(page: Path) -> tuple[str, str, type]:
    (file,) = (name for name in files_of(page) if name.endswith(".yaml"))
    _, group, name = file.removesuffix(".yaml").split("/")
    return group, name, load_class(read_yaml(Path(file))["_target_"], group)


def test_there_is_a_page_for_every_group():
    groups = {next(name for name in files_of(page) if name.endswith(".yaml")).split("/")[1] for page in PAGES}
    # of a scorer, which is a function and no unit, docs/how-to/your-data.md tells
    others = {"cluster", "tracker", "scorer", "config.yaml", "every_family.yaml"}
    assert groups == {entry.name for entry in search_path().packaged.iterdir()} - others


def test_a_page_is_one_module_one_yaml_and_one_test(page):
    assert sorted(Path(name).suffix for name in files_of(page)) == [".py", ".yaml"]
    group, name, unit = unit_of(page)
    block = read_yaml(Path(f"conf/{group}/{name}.yaml"))
    if block.pop("defaults", None) is not None:
        block = read_yaml(search_path().packaged / f"every_{group}.yaml") | block
    del block["_target_"]
    block.pop("_search_", None)
    assert set(block) == set(unit.fields()), "the yaml's keys are the fields"
    assert unit(**{key: tuple(v) if isinstance(v, list) else v for key, v in block.items()}) == unit()
    assert name in list_units()[group]
    assert set(unit.metrics) <= set(list_metrics())


def test_its_test_passes(page):
    names: dict = {}
    exec(compile(test_code(page), str(page), "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    assert tests
    torch.manual_seed(0)
    for test in tests:
        test()


def test_its_commands_run(page):
    """A training is run as it is printed; a launch too where it is small, else its config is checked."""
    group, _, unit = unit_of(page)
    for command in commands(page, "train"):
        result = CliRunner().invoke(app, [*command, *CHEAP, "--json"])
        assert result.exit_code == 0, result.output
        curves = json.loads(result.stdout)["curves"]
        assert set(unit.metrics) <= set(curves)
        assert set(curves) <= {*METRICS, *unit.metrics, "clip/share"}
    for _, *command in commands(page, "launch"):
        if "cluster=inline" in command:
            result = CliRunner().invoke(app, ["launch", *command, *CHEAP, "tracker=none"])
        else:
            result = CliRunner().invoke(app, ["config", *command])
        assert result.exit_code == 0, result.output
    assert commands(page, "train") or group in ("sampler", "pruner", "scheduler")
