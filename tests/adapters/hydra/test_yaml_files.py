"""Sweep files: inheritance, descriptions, and what is wrong with them."""

from __future__ import annotations

import itertools

import pytest
import yaml

from rnnsweep.adapters.hydra.search import config_path
from rnnsweep.adapters.hydra.yaml_files import describe, read_sweep, read_yaml
from rnnsweep.errors import ConfigError


def search(tmp_path, *named):
    return config_path(tmp_path / "packaged", tmp_path / "sweeps", named, tmp_path / "here")


def test_sweeps_inherit_and_their_own_values_win(tree, tmp_path):
    file = tree("sweeps/second.yaml", "defaults: [first, override /family: lstm]\nseed: 2\n")
    sweep = read_sweep(file, search(tmp_path))
    assert sweep.groups == {"family": "lstm"}
    assert [layer.values["seed"] for layer in sweep.layers] == [1, 2]
    assert [layer.groups for layer in sweep.layers] == [{"family": "srn"}, {"family": "lstm"}]
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


ODDITIES = {
    "a number alone": ("42\n", "no 'key: value' mapping"),
    "text alone": ("hello\n", "no 'key: value' mapping"),
    "an anchor inside of itself": ("family: &a {hidden: *a}\n", "x.yaml:1: the anchor &a contains itself"),
    "the root inside of itself": ("&a\nfamily: *a\n", "x.yaml:2: the anchor &a contains itself"),
    "a thousand levels": ("a: " + "{a: " * 1000 + "1" + "}" * 1000 + "\n", "nested too deep"),
    "a thousand lists": ("a: " + "[" * 1000 + "]" * 1000 + "\n", "nested too deep"),
    "anchors that multiply": (
        "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in itertools.pairwise("abcdefghi")),
        "its anchors multiply",
    ),
    "two documents": ("seed: 1\n---\nseed: 2\n", "yaml syntax error"),
    "an unknown tag": ("seed: !foo 3\n", "yaml syntax error"),
}


@pytest.mark.parametrize("oddity", ODDITIES)
def test_odd_yaml_is_one_line(tmp_path, oddity):
    text, message = ODDITIES[oddity]
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError) as caught:
        read_yaml(file)
    assert message in str(caught.value)
    assert str(file) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_ordinary_anchors_and_empty_files_are_fine(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("a: &a {b: [1, 2]}\nc: *a\nd: [*a, *a]\n")
    assert read_yaml(file)["d"] == [{"b": [1, 2]}] * 2
    for text in ("", "# nothing\n", "null\n", "--- ~\n"):
        file.write_text(text)
        assert read_yaml(file) == {}


def test_a_description_cannot_drive_a_terminal(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_text("# Red: \x1b[31m\n")
    assert describe(file) == "Red: <1b>[31m"


def test_unreadable_yaml(tmp_path):
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xff\xfe\x00a: 1")
    with pytest.raises(ConfigError, match=r"x\.yaml"):
        read_yaml(file)


def test_a_file_is_parsed_again_only_when_its_text_has_changed(tmp_path, monkeypatch):
    """And what one reader does to its copy, the next one does not see."""
    file = tmp_path / "unit.yaml"
    file.write_text("fields: {steps: [1, 2]}\n")
    read_yaml(file)["fields"]["steps"].clear()
    with monkeypatch.context() as patch:
        patch.setattr(yaml, "parse", lambda *_, **__: pytest.fail("parsed again"))
        assert read_yaml(file) == {"fields": {"steps": [1, 2]}}
    file.write_text("fields: {steps: [3, 4]}\n")  # as long as before, and perhaps within the clock's last tick
    assert read_yaml(file) == {"fields": {"steps": [3, 4]}}
