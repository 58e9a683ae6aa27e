"""Advice to install an extra names packages that pip finds, wherever rnnsweep itself came from."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from rnnsweep import extras

PROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]


@pytest.fixture
def _installed(monkeypatch):
    """The metadata that a build of this pyproject has."""
    lines = [*PROJECT["dependencies"]]
    for extra, requirements in EXTRAS.items():
        for requirement in map(Requirement, requirements):
            marker = f"({requirement.marker}) and " if requirement.marker else ""
            plain = str(requirement).partition(";")[0].strip()
            lines.append(f'{plain}; {marker}extra == "{extra}"')
    monkeypatch.setattr(metadata, "requires", lambda name: lines)


@pytest.mark.usefixtures("_installed")
@pytest.mark.parametrize(("extra", "package"), [("dashboard", "optuna-dashboard"), ("postgres", "psycopg")])
def test_the_hint_names_the_packages_themselves(extra, package):
    hint = extras.install_hint(extra)
    assert f"pip install '{package}" in hint
    assert "rnnsweep[" not in hint


@pytest.mark.usefixtures("_installed")
def test_all_extras_are_read_completely():
    for extra, requirements in EXTRAS.items():
        names = [Requirement(line).name for line in extras.packages(extra)]
        assert names == [Requirement(requirement).name for requirement in requirements]


def test_a_tree_that_was_never_installed_names_the_extra(monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "requires", missing)
    assert extras.install_hint("gpu") == "Install it with: pip install 'rnnsweep[gpu]' (extra 'gpu')."


def test_what_few_need_is_an_extra_and_the_products_five_are_not():
    required = {Requirement(line).name for line in PROJECT["dependencies"]}
    assert {"ray", "torch", "optuna", "mlflow", "hydra-core"} <= required
    assert {"postgres", "gpu", "dashboard", "docs"} <= set(EXTRAS)
    for extra in ("postgres", "gpu", "dashboard", "docs"):
        assert not required & {Requirement(line).name for line in EXTRAS[extra]}
