"""The loader: what goes wrong in a user's unit is one line that names file and line, and exit code 2."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rnnsweep.app.cli.main import app
from rnnsweep.core.families.base import Family
from rnnsweep.core.optimizers.base import Optimizer
from rnnsweep.errors import ConfigError
from rnnsweep.loader import build_unit, foreign_targets, load_class, refuse, user_code

SGD = "rnnsweep.core.optimizers.sgd.Sgd"

HEAD = """
from dataclasses import dataclass
from rnnsweep.core.families.srn import Srn
from rnnsweep.core.tasks.temporal_order import TemporalOrder

@dataclass(frozen=True)
class Mine(Srn):
"""
LINE = HEAD.count("\n")

FAULTS = {
    "syntax error": ("class Mine(\n    pass\n", 1, "SyntaxError: '(' was never closed"),
    "undefined name": ("import os\nclass Mine(Base):\n    pass\n", 2, "NameError: name 'Base' is not defined"),
    "missing library": ("import nowhere_to_be_found\n", 1, "No module named 'nowhere_to_be_found'"),
    "leaves": ("import sys\nsys.exit('bye')\n", 2, "SystemExit: bye"),
    "raises when made": (
        f"{HEAD}    def __post_init__(self):\n        super().__post_init__()\n        self.hidden / 0\n",
        LINE + 3,
        "ZeroDivisionError: division by zero",
    ),
    "raises in a library": (
        f"{HEAD}    def __post_init__(self):\n        import json\n        json.loads('{{')\n",
        LINE + 3,
        "JSONDecodeError: Expecting property name",
    ),
    "raises in a check": (
        f"{HEAD}    def parameters(self, n_inputs, n_outputs):\n        return [][0]\n",
        LINE + 2,
        "IndexError: list index out of range",
    ),
}


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write a user's family, and forget its module afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "my_family", raising=False)

    def write(code: str) -> Path:
        (tmp_path / "conf/family").mkdir(parents=True, exist_ok=True)
        (tmp_path / "conf/family/mine.yaml").write_text("# Mine.\n_target_: my_family.Mine\nhidden: 4\n")
        (tmp_path / "my_family.py").write_text(code)
        return tmp_path / "my_family.py"

    yield write
    sys.modules.pop("my_family", None)


@pytest.mark.parametrize(("code", "line", "cause"), FAULTS.values(), ids=FAULTS)
def test_a_users_broken_unit_is_one_line(mine, code, line, cause):
    file = mine(code)
    arguments = ["config", "family=mine", "name=t", "family.hidden=4"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith(f"error: {file}:{line}: family")
    assert result.stderr.count("\n") == 1
    assert cause in result.stderr
    for told in ([*arguments, "--traceback"], ["--traceback", *arguments]):
        sys.modules.pop("my_family", None)
        longer = CliRunner().invoke(app, told)
        assert longer.exit_code == 2
        assert "Traceback (most recent call last)" in longer.stderr
        assert f'File "{file}", line {line}' in longer.stderr
        assert longer.stderr.splitlines()[-1] == result.stderr.strip()


def test_a_class_that_the_module_lacks(mine):
    mine("Other = 1\n")
    result = CliRunner().invoke(app, ["config", "family=mine", "name=t"])
    assert result.exit_code == 2
    assert "family._target_='my_family.Mine': cannot be imported" in result.stderr
    assert "has no attribute 'Mine'" in result.stderr


@pytest.mark.parametrize(
    ("block", "words"),
    [
        (None, "names no unit"),
        ({"lr": 1.0}, "names no unit"),
        ({"_target_": "Sgd"}, "cannot be imported"),
        ({"_target_": "os.path.join"}, "is no unit"),
        ({"_target_": "rnnsweep.core.families.gru.Gru"}, "is no unit of the group optimizer"),
        ({"_target_": SGD, "lrr": 1.0}, "Did you mean 'lr'?"),
        ({"_target_": SGD, "unit_name": "x"}, "unknown key"),
        ({"_target_": SGD, "lr": "fast"}, "optimizer.lr='fast'"),
    ],
)
def test_what_is_no_unit_is_refused(block, words):
    with pytest.raises(ConfigError) as caught:
        build_unit(block, "optimizer", Optimizer)
    assert words in str(caught.value)


def test_a_unit_takes_its_name_from_the_block_or_the_key():
    assert build_unit({"_target_": SGD, "_name_": "quick"}, "optimizer", Optimizer).unit_name == "quick"
    assert build_unit({"_target_": SGD}, "optimizer.main", Optimizer).unit_name == "main"
    made = build_unit({"_target_": SGD}, "optimizer", Optimizer)
    assert made.unit_name == "Sgd", "nobody knows its yaml"
    assert made == build_unit({"_target_": SGD, "_name_": "quick"}, "optimizer", Optimizer)


def test_our_own_mistakes_are_not_dressed_up_as_the_users():
    gru = build_unit({"_target_": "rnnsweep.core.families.gru.Gru"}, "family", Family)
    with pytest.raises(ZeroDivisionError), user_code(gru):
        raise ZeroDivisionError
    assert load_class(SGD, "optimizer").__name__ == "Sgd"


def test_what_is_refused_is_not_imported(mine, monkeypatch):
    monkeypatch.syspath_prepend(str(mine("open('imported', 'w')\n").parent))
    block = {"a": [{"_target_": "my_family.Mine"}, {"_target_": SGD}]}
    assert foreign_targets(block) == ["my_family.Mine"]
    refuse(block, "because.")
    try:
        with pytest.raises(ConfigError, match=r"family\._target_='my_family.Mine'.*not imported.*because\."):
            load_class("my_family.Mine", "family")
        assert not Path("imported").exists()
        assert load_class(SGD, "optimizer").__name__ == "Sgd"
    finally:
        refuse(block, "")
    with pytest.raises(ConfigError, match="cannot be imported"):
        load_class("my_family.Mine", "family")
    assert Path("imported").exists()
