"""Points that the API leaves in a driver's inbox: checked against the space before they are left there."""

from __future__ import annotations

import math

import pytest

import rnnsweep
from rnnsweep.adapters.ledger.sql_ledger import open_ledger
from rnnsweep.errors import ConfigError


@pytest.mark.parametrize("value", [math.nan, -1, "a", None, [1], "0.1", True])
def test_a_value_outside_of_the_space_is_refused(store, value):
    sweep = rnnsweep.open_sweep("quickstart", store=store)
    with pytest.raises(ConfigError, match=r"points\.1\.init\.sigma"):
        sweep.enqueue({"init.sigma": 0.1}, {"init.sigma": value})
    assert requests(store) == [], "none of them is left"


def test_a_point_of_the_space_is_left_with_the_types_of_the_space(store):
    rnnsweep.open_sweep("quickstart", store=store).enqueue({"controllers.omega.weight": 1.0, "init.sigma": 0.1})
    ((request, data),) = requests(store)
    assert (request, data) == ("enqueue", {"points": [{"controllers.omega.weight": 1, "init.sigma": 0.1}]})


def requests(store):
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    fence = ledger.acquire("quickstart", "test", 1.0)
    try:
        return ledger.take_requests("quickstart", fence)
    finally:
        ledger.release("quickstart", fence)
        ledger.close()
