"""The bandit within the population: what it observes, and that it finds what helps."""

from __future__ import annotations

import pytest

from rnnsweep.adapters.scipy.pb2 import Observation, Pb2, observations, unit_value
from rnnsweep.sweep.schedulers.population import Generation
from rnnsweep.sweep.space import Dimension
from tests.sweep.schedulers.test_pbt import at, plan

LR = Dimension("optimizer.lr", "float", 1e-4, 1.0, log=True)


def pb2(**changes) -> Pb2:
    return Pb2(**{"interval": 20, "keys": ("optimizer.lr",), "apart": (), "unit_name": "pb2", **changes})


def generation(rung: int, losses: dict[int, float], rates: dict[int, float], history=(), origins=None) -> Generation:
    members = {number: at(number, rung, loss, lr=rates[number]) for number, loss in losses.items()}
    return Generation(rung, members, losses, history, origins or {})


def test_what_is_observed_is_the_gain_of_the_state_that_a_member_had() -> None:
    """1 went on from 0's state (loss 0.2) with 0.3; 2 was to go on from 0 too, which fell away."""
    wanted = {"optimizer.lr": 0.3, "family.hidden": 8}
    first = generation(2, {0: 0.2, 1: 0.9, 2: 0.8}, {0: 0.1, 1: 0.5, 2: 0.7}, origins={1: (0, wanted), 2: (0, wanted)})
    second = generation(4, {0: 0.1, 1: 0.15, 2: 0.6}, {0: 0.1, 1: 0.3, 2: 0.7}, [first])
    found = observations(second)
    assert [(one.before, pytest.approx(one.gain)) for one in found] == [(0.2, 0.1), (0.2, 0.05), (0.8, 0.2)]
    assert [one.time for one in found] == [1, 1, 1]
    assert isinstance(found[0], Observation)


def test_without_observations_points_are_drawn_from_the_range() -> None:
    sweep = plan(4)
    population = pb2().start(sweep)
    found = [one for n in range(4) for one in population.reached(at(n, 2, 0.1 * n, lr=0.01))]
    lr = next(one.params["optimizer.lr"] for one in found if one.verdict == "exploit")
    assert 1e-4 <= lr <= 1.0
    assert lr != 0.01


def test_it_goes_where_gains_were_large() -> None:
    """Losses fall fastest at a rate of 0.03: after some generations choices lie near it, on the scale of the range."""
    sweep = plan(8, updates=400)
    population = pb2(candidates=128).start(sweep)
    rates = {n: 10 ** (-4 + 4 * n / 7) for n in range(8)}
    losses = dict.fromkeys(range(8), 1.0)
    chosen: list[float] = []
    for rung in range(2, 38, 2):
        losses = {n: losses[n] - 0.05 * max(0.0, 1 - abs(unit_value(LR, rates[n]) - 0.62)) ** 8 for n in range(8)}
        decisions = [one for n in range(8) for one in population.reached(at(n, rung, losses[n], lr=rates[n]))]
        for one in [one for one in decisions if one.verdict == "exploit"]:
            rates[one.trial], losses[one.trial] = one.params["optimizer.lr"], losses[one.source]
            chosen.append(unit_value(LR, one.params["optimizer.lr"]))
    late = chosen[len(chosen) // 2 :]
    assert len(late) >= 8
    # drawn at random, a choice is on average 0.26 away from 0.62
    assert sum(abs(value - 0.62) for value in late) / len(late) < 0.15


def test_the_same_history_gives_the_same_points() -> None:
    outcomes = []
    for _ in range(2):
        population, found = pb2(candidates=64).start(plan(6)), []
        for rung in (2, 4, 6):
            found += [
                one for n in range(6) for one in population.reached(at(n, rung, 1 / (n + rung), lr=0.1 * (n + 1)))
            ]
        outcomes.append(found)
    assert outcomes[0] == outcomes[1]
    assert any(one.verdict == "exploit" for one in outcomes[0])
