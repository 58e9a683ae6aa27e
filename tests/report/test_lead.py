"""Is the lead luck? One replica cannot tell, a tie is no lead, pairs by seed decide, whatever the goal."""

from __future__ import annotations

import dataclasses

import pytest

from rnnsweep.report.lead import closest_rivals, lead, lead_figure, verdict
from rnnsweep.sweep.plan import Objective
from tests.report.conftest import one_key


def with_values(*trials: list[float]):
    """A sweep whose trials have these replica values; lower is better."""
    data = one_key({float(index): [[False] * len(values)] for index, values in enumerate(trials)})
    replicas = data.replicas.assign(value=[value for values in trials for value in values])
    means = [sum(values) / len(values) for values in trials]
    return dataclasses.replace(data, replicas=replicas, trials=data.trials.assign(objective=means))


SEEDS = [0.5, 0.9, 0.1, 0.7, 0.3, 0.2, 0.8, 0.4]
"""What the luck of each seed does to every trial alike."""


def test_a_small_lead_that_every_seed_confirms_is_no_luck():
    # Differences of .01 beside a spread of .28 over seeds: only the pairs show it. 8 of 8: p = 2/2^8.
    data = with_values(SEEDS, [value + 0.01 + 0.001 * index for index, value in enumerate(SEEDS)])
    table = lead(data)
    assert table["rival"].tolist() == [1]
    assert table["p"].iloc[0] == 2 / 2**8
    assert 0.01 <= table["from"].iloc[0] < table["to"].iloc[0] <= 0.017 + 1e-12
    assert verdict(data).startswith("More than luck of the seed: trial 0 beats each of its 1 rivals")


def test_a_lead_that_one_seed_makes_may_be_luck():
    other = [value + shift for value, shift in zip(SEEDS, [0.9, -0.1, 0.1, -0.1, 0.1, -0.1, 0.1, -0.1], strict=True)]
    text = verdict(with_values(SEEDS, other))
    assert text.startswith("May be luck of the seed: trial 0 leads over trial 1 by 0.1 [")
    assert "4 of 5 cases" in text


def test_the_hardest_rival_decides():
    close = [value + (0.02 if index % 2 else -0.01) for index, value in enumerate(SEEDS)]
    far = [value + 1 for value in SEEDS]
    data = with_values(SEEDS, far, close)
    assert lead(data)["rival"].tolist() == [2, 1]
    assert lead(data)["p (Holm)"].tolist()[1] == pytest.approx(2 * 2 / 2**8)
    assert "over trial 2" in verdict(data)


def test_too_few_replicas_are_said_to_be():
    one = verdict(with_values([0.1], [0.2]))
    assert one.startswith("Cannot be told: trial 0 leads trial 1 by 0.1, but one replica per trial")
    assert "replicas=6" in one
    three = verdict(with_values([0.1, 0.1, 0.1], [0.2, 0.2, 0.2]))
    assert "3 replicas per trial" in three
    assert "1 of 4 cases" in three
    assert lead_figure(with_values([0.1, 0.1, 0.1], [0.2, 0.2, 0.2])) is None  # no interval to draw


def test_a_tie_has_no_leader():
    data = one_key({0.0: [[True] * 6, [True] * 6], 1.0: [[False] * 6]})
    assert verdict(data).startswith(
        "Nobody leads: 2 trials tie at 0 (#0, #1). #0 is named first because it has the lowest"
    )
    first = dataclasses.replace(data, trials=data.trials.assign(solved_at=[300.0, 200.0, None]))
    assert "#1 is named first because it solved the task first" in verdict(first)
    assert closest_rivals(data) is None


def test_the_sign_follows_the_goal():
    down = with_values(SEEDS, [value + 0.1 for value in SEEDS])
    up = dataclasses.replace(down, objective=Objective("valid/error", goal="maximize"))
    assert lead(down)["better by"].iloc[0] == pytest.approx(0.1)
    assert lead(up)["rival"].tolist() == [0]
    assert lead(up)["better by"].iloc[0] == pytest.approx(0.1)


def test_shares_of_solved_replicas_are_compared_as_shares():
    data = one_key({0.0: [[False] * 9 + [True]], 1.0: [[True] * 10]})
    shares = dataclasses.replace(data, objective=Objective("valid/error", goal="maximize", reduce="solved_share"))
    shares = dataclasses.replace(shares, trials=shares.trials.assign(objective=[0.1, 1.0]))
    assert lead(shares)["better by"].iloc[0] == pytest.approx(0.9)
    assert "McNemar p = 0.0039" in verdict(shares)  # 2 / 2^9: nine pairs differ


def test_one_trial_alone_leads_nobody():
    assert verdict(one_key({0.0: [[True] * 3]})) == ""
