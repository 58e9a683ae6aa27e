"""Evaluations at other lengths than those of training, each under keys of its own."""

import math
from dataclasses import replace

import pytest
import torch

from rnnsweep.app.config.load import load
from rnnsweep.app.config.unit_checks import metrics_of
from rnnsweep.core.evaluation import evaluate
from rnnsweep.core.families.gru import Gru
from rnnsweep.core.tasks.adding import Adding
from rnnsweep.core.tasks.copying import Copying
from rnnsweep.core.tasks.parity import Parity
from rnnsweep.core.tasks.temporal_order import TemporalOrder
from rnnsweep.core.training import tiles, train_rung
from rnnsweep.errors import ConfigError
from tests.kit.networks import Setup, assert_same_row


def scores_of(task, replica=1):
    ((_, tile),) = tiles(Setup(task=task, batch=6, eval_size=14).pack([replica]))
    return evaluate(tile, tile.keys["eval"])


@pytest.mark.parametrize("task", [TemporalOrder(), Adding(variant="urnn"), Copying()], ids=str)
def test_a_length_scores_what_a_task_of_that_length_scores(task):
    """The weights do not depend on the length, so the same network is evaluated twice."""
    found = scores_of(replace(task, length=12, eval_lengths=[30, 10]))
    for length in (10, 30):
        alone = scores_of(replace(task, length=length))
        # mini-batches at the greater length are smaller, which reorders sums
        assert float(found.measured[f"valid/loss.length{length}"]) == pytest.approx(float(alone.loss), rel=1e-12)
        assert float(found.measured[f"valid/error.length{length}"]) == float(alone.error)
    plain = scores_of(replace(task, length=12))
    assert torch.equal(found.loss, plain.loss)
    assert torch.equal(found.error, plain.error)
    assert plain.measured == {}


def test_training_does_not_know_of_them():
    plain = Setup(task=TemporalOrder(length=12), family=Gru(hidden=5))
    probed = Setup(task=TemporalOrder(length=12, eval_lengths=[24]), family=Gru(hidden=5))
    packs = [setup.pack([0, 1]) for setup in (plain, probed)]
    first, second = ([train_rung(pack, 3, 1) for _ in range(2)][-1] for pack in packs)
    assert_same_row(packs[0].row(1), packs[1].row(1))
    assert [{key: row[key] for key in first[0]} for row in second] == first
    assert {"valid/error.length24", "valid/loss.length24"} == second[0].keys() - first[0].keys()


def test_measures_of_the_task_come_along():
    found = scores_of(Parity(length=6, eval_lengths=[9]))
    assert set(found.measured) == {
        "valid/step_error",
        "valid/step_error.length9",
        "valid/error.length9",
        "valid/loss.length9",
    }


def test_chance_and_worst_have_them_and_each_can_be_the_objective():
    task = Parity(length=3, eval_lengths=[5])
    assert task.chance["valid/error.length5"] == 1 - 2**-5
    assert task.chance["valid/loss.length5"] == math.log(2)
    assert task.worst["valid/error.length5"] == task.worst["valid/step_error.length5"] == 1
    assert "train/loss.length5" not in task.worst
    chosen = ["name=t", "task=parity", "task.eval_lengths=[40,80]", "objective.metric=valid/step_error.length80"]
    config = load(None, chosen)
    assert config.plan.worst["valid/step_error.length80"] == 1
    declared = metrics_of(config.variants)
    assert set(task_keys := [key for key in declared if ".length" in key]) == {
        f"valid/{what}.length{length}" for what in ("error", "loss", "step_error") for length in (40, 80)
    }
    assert all(declared[key].meaning.endswith(key.rpartition("length")[2]) for key in task_keys)
    with pytest.raises(ConfigError, match=r"not all trials"):
        load(None, ["name=t", "task=parity", "objective.metric=valid/error.length80"])


@pytest.mark.parametrize("lengths", [[0], [3, 3], ["a"], 40, [1.5], "40"])
def test_wrong_lengths_are_one_line(lengths):
    with pytest.raises(ConfigError) as caught:
        Parity(eval_lengths=lengths)
    assert caught.value.key == "task.eval_lengths"


def test_a_length_that_no_memory_holds_is_refused():
    with pytest.raises(ConfigError) as caught:
        load(None, ["name=t", "task=parity", "task.eval_lengths=[1000000000000]"])
    assert caught.value.key == "task.eval_lengths"
