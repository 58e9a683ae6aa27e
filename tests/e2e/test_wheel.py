"""What users install: a wheel built from the source distribution, run from a directory that is no checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SMALL = ("cluster=inline", "task.length=10", "family.hidden=8", "budget.trials=2", "budget.updates=200")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from an unpacked sdist as an installer would."""
    out = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(out), "--target"]

    def run(target: str, folder: Path) -> None:
        done = subprocess.run([*build, target], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr

    run("sdist", ROOT)
    (sdist,) = out.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        archive.extractall(out / "unpacked", filter="data")
    (source,) = (out / "unpacked").iterdir()
    run("wheel", source)
    (built,) = out.glob("*.whl")
    return built


def test_every_config_of_the_repository_is_in_the_wheel(wheel: Path) -> None:
    packed = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("conf", "sweeps"):
        files = [file.relative_to(ROOT) for file in (ROOT / folder).rglob("*.yaml")]
        assert files
        assert {f"rnnsweep/{file.as_posix()}" for file in files} <= packed


def test_an_installed_wheel_launches_a_sweep_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "env", with_pip=False, symlinks=True)
    python = tmp_path / "env" / "bin" / "python"
    (site,) = (tmp_path / "env" / "lib").glob("python*/site-packages")
    zipfile.ZipFile(wheel).extractall(site)  # a pure wheel is installed by unpacking it
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    # The libraries come from this environment; on PYTHONPATH its links to the checkout are not followed.
    environment = {**os.environ, "PYTHONPATH": sysconfig.get_path("purelib")}

    def run(*arguments: str) -> str:
        done = subprocess.run([str(python), *arguments], cwd=elsewhere, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("-c", "import rnnsweep; print(rnnsweep.__file__)").startswith(str(site))
    run("-m", "rnnsweep.app.cli.main", "launch", "quickstart", *SMALL)
    assert (elsewhere / "mlruns" / "ledger.db").is_file()
    assert run("-m", "rnnsweep.app.cli.main", "table", "quickstart", "--json").count('"COMPLETE"') == 2
