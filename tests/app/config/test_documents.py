"""The documents' examples run: the controller of how-to/add-a-controller.md, the sweep of configuration.md."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from rnnsweep.app.config.load import load
from rnnsweep.errors import ConfigError

DOCS = Path(__file__).parents[3] / "docs"


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / document).read_text(), flags=re.DOTALL)


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RNNSWEEP_CONFIG_DIR", raising=False)
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("my_controllers", None)


def test_the_controller_of_the_document_joins_and_passes_its_own_test(tmp_path):
    code, test = blocks("how-to/add-a-controller.md", "python")
    (tmp_path / "my_controllers.py").write_text(code)
    (tmp_path / "conf/controllers").mkdir(parents=True)
    (tmp_path / "conf/controllers/entry_clip.yaml").write_text(blocks("how-to/add-a-controller.md", "yaml")[0])
    config = load("quickstart", ["name=entries", "+controllers=entry_clip", "controllers.entry_clip.limit=default"])
    assert config.plan.space.keys[-1] == "controllers.entry_clip.limit"
    assert config.cluster.py_paths == (str(tmp_path / "conf"), str(tmp_path))
    with pytest.raises(ConfigError, match=r"controllers\.entry_clip\.limit=-1"):
        load("quickstart", ["+controllers=entry_clip", "controllers.entry_clip.limit=-1"])
    names: dict = {}
    exec(compile(test, "document", "exec"), names)  # our own document
    names["test_rows_are_strangers_and_off_is_off"]()


def test_the_sweep_of_the_document_loads(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/mine.yaml").write_text(blocks("configuration.md", "yaml")[0])
    config = load("mine")
    assert config.plan.budget.trials == 32
    assert len(config.plan.space) == 3


def test_the_sweep_across_families_of_the_document_loads(tmp_path):
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/which.yaml").write_text(blocks("configuration.md", "yaml")[1])
    when = {dimension.key: dict(dimension.when) for dimension in load("which").plan.space}
    assert when["family.mu"] == {"family": ("momentum_srn",)}
    assert when["family.forget_bias"] == {"family": ("lstm",)}
    assert when["optimizer.lr"] == {}


def test_the_message_of_the_document_is_the_real_one():
    with pytest.raises(ConfigError) as caught:
        load("quickstart", ["family.hiden=9"])
    assert f"    {caught.value}\n" in (DOCS / "configuration.md").read_text()
