"""One decision about each key: what the importances' caution and the switch's sentence say agrees."""

from __future__ import annotations

import dataclasses
import re

import pytest

from rnnsweep.report.key_verdicts import does_it_help, importance_caution, key_verdicts
from rnnsweep.report.levels import levels
from rnnsweep.report.sections import SECTIONS
from rnnsweep.sweep.space import Dimension, Space
from tests.report.conftest import one_key

WON, LOST = [True] * 4, [False] * 4
NONE = "No key stands out"


def sweep(noise, share=0.5, helps=True):
    """A key that can be off: with it all solve the task, or as many as without; objectives that have an order."""
    with_it = [WON] * 5 if helps else [LOST, WON, LOST, WON, LOST]
    data = one_key({0.0: [LOST] * 3 if helps else [LOST, WON, LOST], 1.0: with_it, 2.0: with_it})
    trials = data.trials.assign(objective=[0.01 * number for number in data.trials["trial"]])
    (key,) = data.space.keys
    return dataclasses.replace(data, trials=trials, importances={key: share}, noise=noise)


def test_does_omega_help_is_answered_over_trials():
    text = does_it_help(one_key({0.0: [LOST] * 3, 1.0: [WON] * 5, 2.0: [WON] * 5}))
    # 2-sided: 1 way of C(13, 3) = 286 deals all three losers to one side, none is as far the other way
    assert text.startswith(
        "omega.weight: Helps. 40 of 40 replicas solve with it (10 trials), 0 of 12 without (3): +100"
    )
    assert text.endswith("p = 0.0035.")


def test_three_trials_against_one_decide_nothing():
    text = does_it_help(one_key({0.0: [LOST], 1.0: [WON] * 3}))
    assert "Undecided" in text
    assert "p = 0.25" in text  # 1 of 4


def test_only_a_key_that_can_be_off_is_a_switch():
    assert does_it_help(one_key({1.0: [[True]], 2.0: [[False]]})) == ""
    assert does_it_help(one_key({0.0: [[False]], 1.0: [[False]]})) == ""  # nothing was solved


def test_no_key_stands_out_is_never_said_beside_one_that_helps():
    """The quickstart's page: shares that luck gives too, and a switch with p = 0.002."""
    data = sweep(noise=0.9)
    assert "Helps" in does_it_help(data)
    caution = importance_caution(data)
    assert NONE not in caution
    assert "omega.weight helps (solved share by level)" in caution
    assert NONE in importance_caution(sweep(noise=0.9, helps=False))


@pytest.mark.parametrize("noise", [None, 0.2, 0.9])
@pytest.mark.parametrize("helps", [True, False])
def test_the_sentences_of_a_page_come_from_one_decision(noise, helps):
    data = sweep(noise, helps=helps)
    (verdict,) = key_verdicts(data)
    said = {section.slug: section for section in SECTIONS}
    answer, caution = said["solved_share"].answer(data), said["importances"].caution(data)
    assert verdict.word.capitalize() in answer
    assert verdict.switches == helps
    assert (NONE in caution) == (verdict.important is False and not verdict.switches)
    assert ("Which value it has matters all the same" in answer) == (verdict.important is True and not helps)
    assert "luck" not in caution or noise is not None  # unknown


def test_keys_below_the_noise_are_named(data):
    text = importance_caution(dataclasses.replace(data, noise=0.2))
    assert "Not told from luck (below the dashed line): clip.threshold, sampling.q_max." in text
    assert "luck" not in importance_caution(data)


def test_several_switches_are_corrected_for_their_number():
    data = one_key({0.0: [LOST] * 2, 1.0: [WON] * 5})
    (key,) = data.space.keys
    alone = key_verdicts(data)[0].switch
    assert alone.p == alone.corrected == pytest.approx(1 / 21)  # 1 of C(7, 2) deals
    two = Space((*data.space, Dimension("init.gain", "categorical", choices=(0.0, 1.0))))
    trials = data.trials.assign(**{"init.gain": [float(number % 2) for number in data.trials["trial"]]})
    both = {verdict.key: verdict for verdict in key_verdicts(dataclasses.replace(data, space=two, trials=trials))}
    assert both[key].switch.corrected == pytest.approx(2 / 21)
    assert both[key].word == "undecided"
    assert "after correction for 2 keys (Holm)" in does_it_help(dataclasses.replace(data, space=two, trials=trials))


def test_what_the_sentence_counts_is_what_the_table_counts():
    data = one_key({0.0: [LOST, WON], 1.0: [WON, LOST], 2.0: [WON] * 2})
    table = levels(data).set_index("level")
    numbers = re.findall(r"(\d+) of (\d+)", does_it_help(data))
    on, off = table.drop("0"), table.loc["0"]
    assert numbers == [(str(on["solved"].sum()), str(on["replicas"].sum())), (str(off["solved"]), str(off["replicas"]))]
