"""Composition of units: precedence of directories, controllers side by side, strict values."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.hydra.compose import compose
from rnnsweep.adapters.hydra.files import describe, read_sweep, read_yaml
from rnnsweep.adapters.hydra.search import config_path
from rnnsweep.errors import ConfigError


@pytest.fixture
def tree(tmp_path):
    def write(path: str, text: str):
        file = tmp_path / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    write("packaged/family/srn.yaml", "hidden: 50\n_search_:\n  hidden: int(interval(1, 9))\n")
    write("packaged/family/lstm.yaml", "hidden: 20\nforget: 1.0\n")
    write("packaged/controllers/clip.yaml", "threshold: 1.0\n")
    write("packaged/controllers/omega.yaml", "weight: 0.0\n")
    write("sweeps/first.yaml", "# The first sweep.\ndefaults: [config, override /family: srn, _self_]\nseed: 1\n")
    return write


def test_units_of_a_family_with_several_land_side_by_side(tree, tmp_path):
    composed = compose({"seed": 0}, {"family": "srn", "controllers": ["omega", "clip"]}, [tmp_path / "packaged"])
    controllers = {"omega": {"weight": 0.0}, "clip": {"threshold": 1.0}}
    assert composed.tree == {"family": {"hidden": 50}, "controllers": controllers, "seed": 0}
    assert composed.ranges == {"family.hidden": "int(interval(1, 9))"}


def test_the_users_unit_shadows_the_packaged_one(tree, tmp_path):
    tree("user/family/srn.yaml", "hidden: 7\n")
    tree("user/config.yaml", "this: [is another program's]\n")
    composed = compose({}, {"family": "srn"}, [tmp_path / "user", tmp_path / "packaged"])
    assert composed.tree == {"family": {"hidden": 7}}


def test_a_units_own_defaults_and_package_header_work(tree, tmp_path):
    tree("user/controllers/mine.yaml", "# @package controllers.mine\ndefaults: [clip, _self_]\nextra: 2\n")
    composed = compose({}, {"controllers": ["mine"]}, [tmp_path / "user", tmp_path / "packaged"])
    assert composed.tree == {"controllers": {"mine": {"threshold": 1.0, "extra": 2}}}


def test_no_key_can_be_invented(tree, tmp_path):
    composed = compose({"seed": 0}, {"family": "srn"}, [tmp_path / "packaged"])
    assert composed.put("family", {"hidden": 8, "hiden": 9}, "f") == ["family.hiden"]
    assert composed.put("nothing", 1, "f") == ["nothing"]
    assert composed.get("family.hidden") == 8
    assert (composed.origin, composed.defaults) == ({"family.hidden": "f"}, {"family.hidden": 50})
    with pytest.raises(ConfigError, match="is a group of keys"):
        composed.put("family", 3, "f")
    with pytest.raises(ConfigError, match="code cannot be named"):
        composed.put("family", {"_target_": "os.system"}, "f")


def test_words_of_infinity_and_interpolations_resolve(tree, tmp_path):
    tree("packaged/family/srn.yaml", "hidden: ${seed}\nleak: inf\n")
    composed = compose({"seed": 3}, {"family": "srn"}, [tmp_path / "packaged"])
    composed.put("seed", 4, "f")
    assert composed.resolved() == {"family": {"hidden": 4, "leak": float("inf")}, "seed": 4}
    composed.put("seed", "${nowhere}", "f")
    with pytest.raises(ConfigError, match="nowhere"):
        composed.resolved()


def test_unknown_units_and_broken_yaml_are_named(tree, tmp_path):
    with pytest.raises(ConfigError, match=r"family='lstn': unknown unit; allowed: lstm, srn\. Did you mean 'lstm'\?"):
        compose({}, {"family": "lstn"}, [tmp_path / "packaged"])
    file = tree("packaged/family/bad.yaml", "hidden: 1\n  leak: [\n")
    with pytest.raises(ConfigError, match=f"{file}:2: yaml syntax error"):
        compose({}, {"family": "bad"}, [tmp_path / "packaged"])


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
