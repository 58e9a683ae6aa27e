"""Every packaged unit's yaml against its class: same keys, accepted defaults, ranges inside the class's."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rnnsweep.adapters.hydra.ranges import dimension
from rnnsweep.adapters.hydra.yaml_files import describe, read_yaml
from rnnsweep.app.config.checks import TOP_LEVEL, UNIT_GROUPS
from rnnsweep.app.config.load import load, search_path
from rnnsweep.loader import load_class
from rnnsweep.unit import check_field

CONF = search_path().packaged
FILES = [file for group in UNIT_GROUPS for file in sorted((CONF / group).glob("*.yaml"))]


def named(file: Path) -> str:
    return f"{file.parent.name}/{file.stem}"


def block_of(file: Path) -> dict:
    """A unit's yaml with the keys that it shares with all of its group."""
    block = read_yaml(file)
    for key in block.pop("_units_", ()):  # as composition has it: a unit's block for its name
        if block[key] is not None:
            block[key] = {
                name: value for name, value in block_of(file.with_stem(block[key])).items() if name != "_search_"
            }
    if block.pop("defaults", None) is None:
        return block
    shared = read_yaml(CONF / f"every_{file.parent.name}.yaml")
    return {**shared, **block, "_search_": {**shared["_search_"], **block.get("_search_", {})}}


@pytest.mark.parametrize("file", FILES, ids=named)
def test_keys_are_the_fields_and_defaults_are_accepted(file):
    block = block_of(file)
    block.pop("_search_", None)
    unit = load_class(block.pop("_target_"), named(file))
    assert set(block) == set(unit.fields())
    values = {key: tuple(value) if isinstance(value, list) else value for key, value in block.items()}
    built = unit(**values)
    assert built == unit(), "the yaml's defaults are the class's"


@pytest.mark.parametrize("file", FILES, ids=named)
def test_search_ranges_lie_inside_the_allowed_ones(file):
    block = block_of(file)
    unit = load_class(block["_target_"], named(file))
    allowed = {**unit.rows, **unit.fixed}
    for key, text in block.get("_search_", {}).items():
        found = dimension(key, text, str(file))
        for value in found.choices or (found.low, found.high):
            unit(**{key: value})
            if key in allowed:
                check_field(key, value, allowed[key])


@pytest.mark.parametrize("file", FILES, ids=named)
def test_each_yaml_is_short_and_every_key_has_its_comment(file):
    lines = file.read_text().splitlines()
    assert len(lines) <= 20
    assert describe(file)
    body = lines[: next((i for i, line in enumerate(lines) if line.startswith("_search_")), len(lines))]
    for line in body:
        if not line.startswith(("#", "_target_")):
            assert " # " in line, line


def test_top_level_keys_are_the_documented_ones():
    config = load(None, check_units=False)
    assert set(config.resolved) == set(TOP_LEVEL)
    assert config.plan.worst["valid/error"] == 1.0
    assert not math.isnan(config.plan.worst["valid/loss"])
