"""Which modules a unit stands for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rnnsweep.app.provenance import sources
from rnnsweep.app.provenance.sources import SourceFiles, own_code, targets

UNIT = """
import json, lab.plain
from . import siblings
from .deep.inner import rate as named
from rnnsweep.core.optimizers.sgd import Sgd

def later():
    from lab import lazy
"""


@pytest.fixture
def place(tmp_path: Path) -> str:
    """A package of the user's: a unit, what it imports in five ways, and what it does not."""
    for name in ("", "deep"):
        (tmp_path / "lab" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "lab" / name / "__init__.py").touch()
    (tmp_path / "lab" / "unit.py").write_text(UNIT)
    for name in ("plain", "siblings", "deep/inner", "deep/further", "lazy", "unused"):
        (tmp_path / "lab" / f"{name}.py").touch()
    (tmp_path / "lab" / "deep" / "inner.py").write_text("from .further import *")
    (tmp_path / "lab" / "plain.py").write_text("from lab.unit import later")  # a circle ends
    return str(tmp_path)


def test_imports_of_every_form_are_followed_and_nothing_else(place: str) -> None:
    found = SourceFiles([place]).closure(["lab.unit"])
    mine = [name for name in found if name.startswith("lab")]
    names = ["", ".deep", ".deep.further", ".deep.inner", ".lazy", ".plain", ".siblings", ".unit"]
    assert mine == [f"lab{name}" for name in names]
    assert {"rnnsweep.core.optimizers.sgd", "rnnsweep.core.optimizers.base"} <= set(found)
    assert "json" not in found
    assert found["lab.unit"] == Path(place) / "lab" / "unit.py"


def test_a_unit_of_an_installed_package_stands_for_what_it_imports_of_it(place: str, monkeypatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path, place])
    assert "lab.plain" in SourceFiles().closure(["lab.unit"])
    assert SourceFiles().closure(["nowhere.unit", "json.tool"]).keys() & {"nowhere.unit"} == set()


def test_torchs_own_modules_stand_for_themselves_by_its_version(place: str) -> None:
    """A family may be `torch.nn.GRUCell`: torch imports some 1700 modules of its own, half a minute's reading."""
    (Path(place) / "lab" / "plain.py").write_text("import torch.nn, numba")
    assert SourceFiles([place]).closure(["torch.nn", "torch.nn.modules.rnn"]) == {}
    assert not [name for name in SourceFiles([place]).closure(["lab.unit"]) if name.startswith(("torch", "numba"))]


def test_source_that_cannot_be_read_stands_for_itself(place: str) -> None:
    (Path(place) / "lab" / "plain.py").write_text("def (:")
    assert "lab.plain" in SourceFiles([place]).closure(["lab.unit"])


def test_units_are_found_in_nested_blocks_of_the_groups_asked_for() -> None:
    resolved = {
        "family": {"_target_": "a.F"},
        "controllers": {"clip": {"_target_": "b.c.Clip"}, "off": None},
        "optimizer": {"groups": [{"_target_": "d.Inner"}]},
        "sampler": {"_target_": "e.Sampler"},
    }
    assert targets(resolved, ("family", "controllers", "optimizer", "absent")) == {"a", "b.c", "d"}


def test_own_code_is_what_every_training_runs_and_no_unit(tmp_path, monkeypatch) -> None:
    own = {file.relative_to(sources.PACKAGE).as_posix() for file in sources._own_files()}
    assert {"core/tile.py", "core/recurrence/cpu/kernels/forward.py", "app/worker/trainer.py", "unit.py"} <= own
    assert not [name for name in own if name.startswith(("core/optimizers", "core/tasks", "app/cli"))]
    before = own_code()
    (tmp_path / "unit.py").write_text("edited")
    monkeypatch.setattr(sources, "_own_files", lambda: iter([tmp_path / "unit.py"]))
    monkeypatch.setattr(sources, "PACKAGE", tmp_path)
    assert own_code() != before


def test_the_folders_of_units_are_all_named() -> None:
    """A folder that is missing here would count as code of every sweep: a new unit in it would refuse old sweeps."""
    core = sources.PACKAGE / "core"
    packages = {file.parent.name for file in core.glob("*/__init__.py")}
    assert packages == {*sources.UNIT_FOLDERS, "recurrence", "cpu", "gpu"}


def test_kernels_in_cuda_are_code_too() -> None:
    assert {file.suffix for file in sources._own_files()} == set(sources.CODE)
