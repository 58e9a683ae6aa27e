"""What differs between two fingerprints, each thing alone."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rnnsweep.app import environment
from rnnsweep.app.config.load import SweepConfig, load
from rnnsweep.app.provenance import fingerprint
from rnnsweep.app.provenance.fingerprint import Fingerprint, differences, here, take
from rnnsweep.errors import ConfigError

UNIT = "from rnnsweep.core.optimizers.sgd import Sgd\nfrom {name}_rates import FACTOR\nclass Mine(Sgd): ...\n"


@pytest.fixture
def lab(tmp_path: Path, monkeypatch) -> tuple[SweepConfig, Path]:
    """A sweep with an optimiser of the user's and a text file, and the folder where both lie."""
    name = f"lab_{tmp_path.name.replace('-', '_')}"  # a module of one name is imported once per process
    (tmp_path / "conf" / "optimizer").mkdir(parents=True)
    (tmp_path / "conf" / "optimizer" / "mine.yaml").write_text(f"_target_: {name}.Mine\nlr: 0.01\n")
    (tmp_path / f"{name}.py").write_text(UNIT.format(name=name))
    (tmp_path / f"{name}_rates.py").write_text("FACTOR = 1.0\n")
    (tmp_path / "text.txt").write_text("to be or not to be " * 20)
    monkeypatch.setattr(fingerprint, "_MET", {})
    overrides = ["task=char_lm", f"task.path={tmp_path / 'text.txt'}", "optimizer=mine", "objective.metric=valid/loss"]
    return load(None, overrides, config_dirs=[tmp_path / "conf"], check_units=False), tmp_path


def changed(lab: tuple[SweepConfig, Path], before: Fingerprint, monkeypatch) -> list[str]:
    monkeypatch.setattr(fingerprint, "_MET", {})  # as another process would
    return differences(before, take(lab[0], before.data), lab[0].cluster.py_paths)


def test_nothing_has_changed(lab, monkeypatch) -> None:
    before = take(lab[0])
    assert changed(lab, before, monkeypatch) == []
    assert Fingerprint(**before.plain()) == before
    assert here(before, lab[0].cluster.py_paths).identity == before.identity


@pytest.mark.parametrize("module", ["", "_rates"])
def test_an_edited_unit_and_an_edited_module_that_it_imports(lab, monkeypatch, module: str) -> None:
    before = take(lab[0])
    [file] = lab[1].glob(f"lab_*[0-9]{module}.py")
    file.write_text(file.read_text() + "# a comment counts too\n")
    [line] = changed(lab, before, monkeypatch)
    assert line.startswith(f"{file} {before.units[file.stem][:8]} -> ")


def test_a_replaced_data_file(lab, monkeypatch) -> None:
    before, file = take(lab[0]), lab[1] / "text.txt"
    fact = file.stat()
    file.write_text(file.read_text().replace("or", "of"))
    os.utime(file, ns=(fact.st_atime_ns, fact.st_mtime_ns))
    [line] = changed(lab, before, monkeypatch)
    assert line.startswith(f"{file} {before.data[str(file)]['sha256'][:8]} -> ")


@pytest.mark.parametrize("library", ["torch", "numba", "llvmlite"])
def test_another_version_of_what_computes(lab, monkeypatch, library: str) -> None:
    before, real = take(lab[0]), environment.version_of
    monkeypatch.setattr(environment, "version_of", lambda name: "99.0" if name == library else real(name))
    assert changed(lab, before, monkeypatch) == [f"{library} {before.versions[library]} -> 99.0"]


def test_another_build_of_one_version_is_the_same(lab, monkeypatch) -> None:
    before, real = take(lab[0]), environment.version_of
    monkeypatch.setattr(environment, "version_of", lambda name: f"{real(name).partition('+')[0]}+cu999")
    assert changed(lab, before, monkeypatch) == []
    assert take(lab[0], before.data).identity == before.identity


def test_other_code_of_rnnsweep(lab, monkeypatch) -> None:
    before = take(lab[0])
    monkeypatch.setattr(fingerprint, "own_code", lambda: "f" * 16)
    assert changed(lab, before, monkeypatch) == [f"rnnsweep's own code {before.code[:8]} -> ffffffff"]


def test_a_process_does_not_train_with_what_it_read_under_the_name_of_what_is_there_now(lab) -> None:
    take(lab[0])
    (lab[1] / "text.txt").write_text("or not " * 30)
    with pytest.raises(ConfigError, match="has changed since this process read it"):
        take(lab[0])


def test_a_worker_without_a_module_or_a_file_differs(lab) -> None:
    expected = take(lab[0])
    for file in (*lab[1].glob("lab_*_rates.py"), lab[1] / "text.txt"):
        file.unlink()
    found = differences(expected, here(expected, lab[0].cluster.py_paths), lab[0].cluster.py_paths)
    assert [line.rpartition(" -> ")[2] for line in found] == ["absent", "absent"]
