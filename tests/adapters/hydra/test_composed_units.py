"""Composition of units: precedence of directories, controllers side by side, strict values."""

from __future__ import annotations

from rnnsweep.adapters.hydra.composed_units import compose_units


def test_units_of_a_family_with_several_land_side_by_side(tree, tmp_path):
    composed = compose_units({"seed": 0}, {"family": "srn", "controllers": ["omega", "clip"]}, [tmp_path / "packaged"])
    controllers = {"omega": {"weight": 0.0}, "clip": {"threshold": 1.0}}
    assert composed.tree == {"family": {"hidden": 50}, "controllers": controllers, "seed": 0}
    assert composed.ranges == {"family.hidden": "int(interval(1, 9))"}


def test_the_users_unit_shadows_the_packaged_one(tree, tmp_path):
    tree("user/family/srn.yaml", "hidden: 7\n")
    tree("user/config.yaml", "this: [is another program's]\n")
    composed = compose_units({}, {"family": "srn"}, [tmp_path / "user", tmp_path / "packaged"])
    assert composed.tree == {"family": {"hidden": 7}}


def test_a_units_own_defaults_and_package_header_work(tree, tmp_path):
    tree("user/controllers/mine.yaml", "# @package controllers.mine\ndefaults: [clip, _self_]\nextra: 2\n")
    composed = compose_units({}, {"controllers": ["mine"]}, [tmp_path / "user", tmp_path / "packaged"])
    assert composed.tree == {"controllers": {"mine": {"threshold": 1.0, "extra": 2}}}
