"""Where configs are looked for, in which order."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.hydra.search import config_path
from rnnsweep.errors import ConfigError


def search(tmp_path, *named):
    return config_path(tmp_path / "packaged", tmp_path / "sweeps", named, tmp_path / "here")


def test_directories_in_order_of_precedence(tree, tmp_path):
    tree("named/conf/family/a.yaml", "x: 1\n")
    tree("named/sweeps/first.yaml", "seed: 5\n")
    tree("named/top.yaml", "seed: 6\n")
    tree("here/conf/family/b.yaml", "x: 1\n")
    tree("here/sweeps/third.yaml", "seed: 7\n")
    path = search(tmp_path, tmp_path / "named")
    assert path.options("family") == ["a", "b", "lstm", "srn"]
    assert path.find_sweep("first") == tmp_path / "named/sweeps/first.yaml"
    assert sorted(path.sweep_files()) == ["first", "third", "top"]
    assert path.units[-1] == tmp_path / "packaged"
    assert path.user == (tmp_path / "named", tmp_path / "here/conf", tmp_path / "here/sweeps")


def test_missing_directories_and_files_are_named(tmp_path, tree):
    with pytest.raises(ConfigError, match="no such directory"):
        search(tmp_path, tmp_path / "nowhere")
    with pytest.raises(ConfigError, match="no such file"):
        search(tmp_path).find_sweep("nowhere/x.yaml")


def test_the_packaged_directories_are_never_the_users(tree, tmp_path):
    path = config_path(tmp_path / "here/conf", tmp_path / "here/sweeps", [], tmp_path / "here")
    assert path.user == ()
