"""What a unit makes of its fields."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import pytest

from rnnsweep.errors import ConfigError
from rnnsweep.unit import NOT_NEGATIVE, Range, Unit


@dataclass(frozen=True)
class Counting(Unit):
    """A unit with whole numbers and others."""

    count: int = 1
    limit: int | None = None
    rate: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {"rate": NOT_NEGATIVE}
    fixed: ClassVar[Mapping[str, Range]] = {
        "count": Range(1, integer=True),
        "limit": Range(1, integer=True, optional=True),
    }


def test_a_whole_number_written_as_a_float_goes_on_as_an_int() -> None:
    unit = Counting(count=5.0, limit=7.0, rate=2.0)  # type: ignore[arg-type]
    assert [type(value) for value in (unit.count, unit.limit, unit.rate)] == [int, int, float]
    assert unit == Counting(5, 7, 2.0)
    assert unit.structure() == {"count": 5, "limit": 7}
    assert Counting(limit=None).limit is None


def test_a_check_of_its_own_sees_the_declared_types() -> None:
    seen: list[type] = []

    @dataclass(frozen=True)
    class Checking(Counting):
        def check(self) -> None:
            seen.append(type(self.count))
            super().check()

    Checking(count=5.0)  # type: ignore[arg-type]
    assert seen == [int]


def test_what_is_no_whole_number_is_refused() -> None:
    for value in (5.5, float("inf"), float("nan"), True, "5"):
        with pytest.raises(ConfigError, match="count"):
            Counting(count=value)  # type: ignore[arg-type]


def test_whole_numbers_of_any_size_are_compared_and_not_converted():
    assert Range(1, integer=True).accepts(10**400)
    assert not Range(1, 9, integer=True).accepts(10**400)
    assert not any(Range(1, integer=True).accepts(value) for value in (1.5, float("inf"), float("nan"), True))
