"""The form of a space, and the points that are typed into it."""

from __future__ import annotations

import math

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.service.page.point_form import point_fields, point_of
from rnnsweep.sweep.space import Dimension, Space

SPACE = Space(
    (
        Dimension("family", "categorical", choices=("srn", "lstm")),
        Dimension("family.hidden", "int", 16, 64),
        Dimension("optimizer.lr", "float", 1e-3, 1.0, log=True),
        Dimension("controllers.sampling.q_max", "categorical", choices=(2.0, math.inf)),
        Dimension("family.forget", "float", 0.0, 2.0, when={"family": ("lstm",)}),
    )
)


def test_fields_say_what_they_take():
    fields = {field.key: field for field in point_fields(SPACE)}
    assert list(fields) == list(SPACE.keys)
    assert fields["family"].choices == ("srn", "lstm")
    assert fields["controllers.sampling.q_max"].choices == ("2", "off")
    assert fields["family.hidden"].words == "a whole number from 16 to 64"
    assert fields["family.forget"].beside == "family = lstm"
    assert fields["optimizer.lr"].name == "point.optimizer.lr"


def test_a_point_has_the_types_of_the_space_and_leaves_open_what_was_left_open():
    typed = {"point.family": "1", "point.family.hidden": " 32 ", "point.optimizer.lr": "1e-2", "act": "enqueue"}
    typed |= {"point.controllers.sampling.q_max": "1", "point.family.forget": ""}
    point = point_of(SPACE, typed)
    assert point == {
        "family": "lstm",
        "family.hidden": 32,
        "optimizer.lr": 0.01,
        "controllers.sampling.q_max": math.inf,
    }
    assert type(point["family.hidden"]) is int


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("family.hidden", "8", "allowed: a whole number from 16 to 64"),
        ("family.hidden", "32.5", "is no value of what is searched"),
        ("optimizer.lr", "nan", "is no value of what is searched"),
        ("optimizer.lr", "fast", "points.0.optimizer.lr='fast'"),
        ("family", "2", "allowed: srn, lstm"),
        ("family", "-1", "allowed: srn, lstm"),
        ("family.forget", "1", "does not exist in this point; allowed: beside family = lstm"),
        ("family.hiden", "32", "names a key that is not searched"),
    ],
)
def test_wrong_values_meet_the_messages_of_the_command_line(name, text, message):
    with pytest.raises(ConfigError) as told:
        point_of(SPACE, {f"point.{name}": text})
    assert message in str(told.value)
