"""Composition of units: what is laid over them, strict values."""

from __future__ import annotations

import pytest
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins

from rnnsweep.adapters.hydra.composed_units import compose_units
from rnnsweep.errors import ConfigError


def test_hydras_own_settings_are_not_composed(tree, tmp_path, monkeypatch):
    """They are thrown away, and took as long as all of ours."""
    Plugins.instance()  # registers the sources
    monkeypatch.setattr(SourcesRegistry.instance().resolve("pkg"), "load_config", lambda *_, **__: pytest.fail("read"))
    composed = compose_units({"seed": 0}, {"family": "srn"}, [tmp_path / "packaged"])
    assert composed.tree == {"family": {"hidden": 50}, "seed": 0}


def test_no_key_can_be_invented(tree, tmp_path):
    composed = compose_units({"seed": 0}, {"family": "srn"}, [tmp_path / "packaged"])
    assert composed.put("family", {"hidden": 8, "hiden": 9}, "f") == ["family.hiden"]
    assert composed.put("nothing", 1, "f") == ["nothing"]
    assert composed.get("family.hidden") == 8
    assert composed.origin == {"family.hidden": "f"}
    with pytest.raises(ConfigError, match="is a group of keys"):
        composed.put("family", 3, "f")
    with pytest.raises(ConfigError, match="code cannot be named"):
        composed.put("family", {"_target_": "os.system"}, "f")
    for value in ({"_target_": "os.system"}, {"deep": {"_target_": "os.system"}}, [{"_target_": "os.system"}]):
        with pytest.raises(ConfigError, match="code cannot be named"):
            composed.put("family.hidden", value, "f")


def test_words_of_infinity_and_interpolations_resolve(tree, tmp_path):
    tree("packaged/family/srn.yaml", "hidden: ${seed}\nleak: inf\n")
    composed = compose_units({"seed": 3}, {"family": "srn"}, [tmp_path / "packaged"])
    composed.put("seed", 4, "f")
    assert composed.resolved() == {"family": {"hidden": 4, "leak": float("inf")}, "seed": 4}
    composed.put("seed", "${nowhere}", "f")
    with pytest.raises(ConfigError, match="nowhere"):
        composed.resolved()


def test_unknown_units_and_broken_yaml_are_named(tree, tmp_path):
    with pytest.raises(ConfigError, match=r"family='lstn': unknown unit; allowed: lstm, srn\. Did you mean 'lstm'\?"):
        compose_units({}, {"family": "lstn"}, [tmp_path / "packaged"])
    file = tree("packaged/family/bad.yaml", "hidden: 1\n  leak: [\n")
    with pytest.raises(ConfigError, match=f"{file}:2: yaml syntax error"):
        compose_units({}, {"family": "bad"}, [tmp_path / "packaged"])


def test_a_word_chooses_a_unit_within_a_unit(tree) -> None:
    tree("packaged/family/stack.yaml", "_units_: [first, second, third]\nfirst: srn\nsecond: lstm\nthird: null\n")
    folders = (tree("packaged/family/other.yaml", "size: 3\n_search_:\n  size: int(interval(1, 4))\n").parents[1],)
    config = compose_units({}, {"family": "stack"}, folders)
    assert config.get("family.second") == {"hidden": 20, "forget": 1.0, "_name_": "lstm"}
    assert config.ranges == {"family.first.hidden": "int(interval(1, 9))"}
    assert config.put("family", {"first": "other", "second": {"forget": 2.0}}, "file") == []
    assert config.get("family.first") == {"size": 3, "_name_": "other"}
    assert config.ranges == {"family.first.size": "int(interval(1, 4))"}
    assert config.put("family.second", {"_name_": "srn", "hidden": 4}, "file") == []
    assert config.get("family.second") == {"hidden": 4, "_name_": "srn"}
    assert config.put("family.second.forget", 1.0, "file") == ["family.second.forget"]
    for key, value in {"family.first": "srm", "family.third": {"hidden": 3}, "family.second": 3}.items():
        with pytest.raises(ConfigError) as refused:
            config.put(key, value, "file")
        assert refused.value.key == key
    assert config.put("family.first", None, "file") == []
    assert config.get("family.first") is None
