"""The pages that the site makes from code."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
SITE = ROOT / "docs/site"
YAMLS = sorted((ROOT / "conf").rglob("*.yaml"))


@pytest.fixture(scope="module")
def made():
    """The modules of docs/site by name."""

    def load(name):
        spec = importlib.util.spec_from_file_location(name, SITE / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # dataclasses look their module up
        spec.loader.exec_module(module)
        return module

    yield load
    for name in ("config_keys", "api_pages", "command_pages"):
        sys.modules.pop(name, None)


def flat(tree, prefix=""):
    for key, value in tree.items():
        if key in ("defaults", "_target_", "_search_", "_units_"):
            continue
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) and value else [prefix + key]


@pytest.mark.parametrize("file", YAMLS, ids=lambda file: str(file.relative_to(ROOT / "conf")))
def test_every_key_has_a_line_with_its_default_and_its_meaning(made, file):
    text = file.read_text(encoding="utf-8")
    found = {key.name: key for key in made("config_keys").keys(text)}
    tree = yaml.safe_load(text)
    for name in flat(tree):
        assert found[name].meaning, f"{name} has no comment"
        value = tree
        for part in name.split("."):
            value = value[part]
        assert yaml.safe_load(found[name].default) == value
    for name, shown in (tree.get("_search_") or {}).items():
        if isinstance(shown, str):
            assert found[name].search == shown


def test_the_page_of_keys_has_every_unit(made):
    page = made("config_keys").page(ROOT / "conf")
    titles = set(re.findall(r"^### (.+)$", page, flags=re.MULTILINE))
    assert titles == {f"{file.parent.name}: {file.stem}" for file in YAMLS if file.parent.name != "conf"}
    assert "| `controllers.clip.threshold` | `1.0` | `tag(log, interval(0.1, 10))` |" in page
    assert "| `budget.trials` | `20` |" in page


def test_every_module_is_on_one_page_of_the_api(made):
    pages = made("api_pages").pages(ROOT / "rnnsweep")
    shown = re.findall(r"^::: (\S+)$", "\n".join(pages.values()), flags=re.MULTILINE)
    files = [file.relative_to(ROOT).with_suffix("") for file in (ROOT / "rnnsweep").rglob("*.py")]
    assert sorted(shown) == sorted(".".join(file.parts) for file in files if file.name not in ("__init__", "__main__"))


def test_every_command_is_on_the_page_of_commands(made):
    page = made("command_pages").page()
    for file in (ROOT / "rnnsweep/app/cli").glob("*.py"):
        if "def main" not in file.read_text() and f"def {file.stem}(" in file.read_text():
            assert f"## rnnsweep {file.stem.removesuffix('_sweeps')}" in page
    assert "--extend" in page
