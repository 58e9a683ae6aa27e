"""Sweep files: inheritance, descriptions, and what is wrong with them."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.hydra.files import describe, read_sweep, read_yaml
from rnnsweep.adapters.hydra.search import config_path
from rnnsweep.errors import ConfigError


def search(tmp_path, *named):
    return config_path(tmp_path / "packaged", tmp_path / "sweeps", named, tmp_path / "here")


def test_sweeps_inherit_and_their_own_values_win(tree, tmp_path):
    file = tree("sweeps/second.yaml", "defaults: [first, override /family: lstm]\nseed: 2\n")
    sweep = read_sweep(file, search(tmp_path))
    assert sweep.groups == {"family": "lstm"}
    assert [body["seed"] for _, body in sweep.bodies] == [1, 2]
    assert describe(tmp_path / "sweeps/first.yaml") == "The first sweep."


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("defaults: [frist]\n", "Did you mean 'first'?"),
        ("defaults: [loop]\n", "circle"),
        ("defaults: 3\n", "is no list"),
        ("defaults: [[1]]\n", "unknown entry"),
        ("defaults: [override /famly: srn]\n", "Did you mean 'family'?"),
        ("defaults: [override /family: [srn]]\n", "names no unit"),
        ("- 1\n", "no 'key: value' mapping"),
        ("seed: 1\nseed: 2\n", "loop.yaml:2: yaml syntax error"),
        ("seed: [1\n", "loop.yaml:2: yaml syntax error"),
    ],
)
def test_malformed_sweeps(tree, tmp_path, text, message):
    file = tree("sweeps/loop.yaml", text)
    with pytest.raises(ConfigError) as caught:
        read_sweep(file, search(tmp_path))
    assert message in str(caught.value)
    assert str(file) in str(caught.value)


def test_unreadable_yaml(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xff\xfe\x00a: 1")
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        read_yaml(file)
