"""Weights of sequences, and targets that are lists: against torch and scikit-learn on the same file."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import linear_model, metrics

from rnnsweep.core import rng
from rnnsweep.core.readout import cost, read_out
from rnnsweep.core.recurrence.choose import engine_for
from rnnsweep.core.tasks.table_metrics import AUROC, BALANCED, F1, MAE, RMSE
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.errors import ConfigError
from tests.core.tasks.test_table_task import made, whole
from tests.kit.networks import Setup


@pytest.fixture
def file(tmp_path):
    def write(frame):
        frame.to_csv(tmp_path / "x.csv", index=False)
        return str(tmp_path / "x.csv")

    return write


def weighed(frame=None):
    frame = made(even=False) if frame is None else frame
    numbers = frame["id"].str[1:].astype(int)
    return frame.assign(weight=1 + numbers % 4, zero=0.0)


def by_sequence(task, frame, split):
    names = list(dict.fromkeys(frame["id"]))
    firsts = frame.groupby("id", sort=False).first()
    return firsts.loc[[names[sequence] for _, _, sequence in task.prepared().samples[split]]]


GOALS = {
    "classify": {"target": "kind"},
    "labels": {"target": ["high", "late"], "goal": "classify"},
    "regress": {"goal": "regress", "target": "total"},
    "label": {"goal": "label", "target": "step"},
    "forecast": {"goal": "forecast", "target": ["a", "b"]},
}


@pytest.mark.parametrize("goal", GOALS)
def test_the_loss_is_torch_s_of_each_sequence_times_its_weight(goal, file):
    """Loss and the gradient by the read-out, of random states; weights scaled to a training mean of 1."""
    frame = weighed()
    task = TableTask(file(frame), inputs=["a"], group="id", weights="weight", **GOALS[goal])
    batch, T = whole(task, "valid"), task.max_length
    B, O = batch.inputs.shape[2], task.n_outputs  # noqa: E741
    weight = by_sequence(task, frame, "valid")["weight"].to_numpy() / by_sequence(task, frame, "train")["weight"].mean()
    np.testing.assert_allclose(batch.weights[0].numpy(), weight, rtol=1e-6)
    states = torch.randn(1, T + 1, B, 3, generator=torch.Generator().manual_seed(1))
    w_out = torch.randn(1, 3, O, generator=torch.Generator().manual_seed(2), requires_grad=True)
    engine, _ = engine_for(Setup().family.cell, "reference", Setup().family.cell_activation, torch.float64, "cpu")
    out = read_out(task, {"w_out": w_out.detach()}, states, batch, engine)
    hidden = states[0, 1:] if task.per_step else states[0, -1]
    outputs = hidden @ w_out[0]
    if goal in ("classify", "label"):
        each = torch.nn.functional.cross_entropy(outputs.movedim(-1, 1), batch.targets[0], reduction="none")
    elif goal == "labels":
        each = torch.nn.functional.binary_cross_entropy_with_logits(outputs, batch.targets[0], reduction="none").sum(-1)
    else:
        each = ((outputs - batch.targets[0]) ** 2).sum(-1)
    each = each * torch.from_numpy(weight)
    if task.per_step:
        own = torch.arange(T)[:, None] >= T - batch.lengths.expand(1, B)[0]
        counted = own if batch.mask is None else batch.mask[0] > 0
        wanted = (each * counted).sum() / counted.sum()
    else:
        wanted = each.mean()
    torch.testing.assert_close(out.loss[0], wanted.detach(), rtol=1e-6, atol=0)
    (slope,) = torch.autograd.grad(wanted, w_out)
    torch.testing.assert_close(out.gradients["w_out"], slope, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("goal", ["classify", "labels", "regress"])
def test_chance_is_the_best_constant_output_under_the_weights(goal, file):
    frame = weighed()
    task = TableTask(file(frame), inputs=["a"], group="id", weights="weight", **GOALS[goal])
    batch = whole(task, "train")
    constant = torch.zeros(task.n_outputs, requires_grad=True)

    def loss():
        return cost(task, constant.expand(1, batch.inputs.shape[2], -1), batch)[0]

    solver = torch.optim.LBFGS([constant], max_iter=300, tolerance_grad=1e-12, line_search_fn="strong_wolfe")
    solver.step(lambda: (solver.zero_grad(), found := loss(), found.backward())[1])
    assert task.chance_loss == pytest.approx(float(loss().detach()), rel=1e-6)


def test_weights_of_one_are_no_weights_but_for_the_name(file):
    frame = weighed().assign(weight=2.0)
    plain, same = (
        TableTask(file(frame), inputs=["a"], target="kind", group="id", weights=w) for w in ("none", "weight")
    )
    one, two = whole(plain, "train"), whole(same, "train")
    outputs = torch.randn(1, one.inputs.shape[2], 2)
    assert cost(plain, outputs, one).equal(cost(same, outputs, two))
    assert plain.errors(outputs, one).equal(same.errors(outputs, two))
    assert plain.chance == same.chance


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weight": -1.0}, "column weight=-1.0: is negative; allowed: a number >= 0"),
        ({"weight": [math.nan if name == "s3" else 1.0 for name in weighed()["id"]]}, "column weight: is empty"),
        ({"weight": 0.0}, "task.weights='weight': is 0 in all of the training part"),
    ],
)
def test_what_is_no_weight(change, words, file):
    with pytest.raises(ConfigError) as caught:
        TableTask(file(weighed().assign(**change)), inputs=["a"], target="kind", group="id", weights="weight")
    assert words in str(caught.value)
    with pytest.raises(ConfigError, match=r"task\.weights='wait': .*no such column.*Did you mean 'weight'"):
        TableTask(file(weighed()), inputs=["a"], target="kind", group="id", weights="wait")
    with pytest.raises(ConfigError, match=r"column a=.*differs"):
        TableTask(file(weighed()), inputs=["b"], target="kind", group="id", weights="a")


def test_a_column_of_weights_is_no_input(file):
    task = TableTask(file(weighed()), target="kind", group="id", time="t", weights="weight")
    assert "weight" not in task.prepared().recipe.columns


# ------------------------------------------------------------------ lists


def records(*wanted, count=24):
    """A target that is a list, beside the steps of a."""
    generator = np.random.default_rng(0)
    tags = ("jazz", "rock", "folk")
    for index in range(count):
        a = generator.normal(size=4 + index % 3).round(3).tolist()
        item = {
            "a": a,
            "numbers": [round(sum(a), 3), index * 10.0],
            "labels": [index % 2, int(index % 3 == 0), 1 - index % 2],
            "tags": [tag for bit, tag in enumerate(tags) if index >> bit & 1],
        }
        yield {name: item[name] for name in ("a", *wanted)}


@pytest.fixture(params=["jsonl", "parquet"])
def lists(request, tmp_path):
    def write(name):
        path = tmp_path / f"{name}.{request.param}"
        if request.param == "jsonl":
            path.write_text("".join(json.dumps(item) + "\n" for item in records(name)))
        else:
            pd.DataFrame(list(records(name))).to_parquet(path, index=False)
        return str(path)

    return write


def every(task):
    """Targets of all sequences, by their number."""
    found = {}
    for split in ("train", "valid", "test"):
        batch = whole(task, split)
        numbers = task.prepared().samples[split][:, 2].tolist()
        found |= dict(zip(numbers, batch.targets[0], strict=True))
    return [found[index] for index in range(24)]


def test_a_list_of_numbers_is_several_outputs(lists):
    task = TableTask(lists("numbers"), goal="regress", inputs=["a"], target="numbers", standardise=False)
    assert task.output_names == ("numbers0", "numbers1")
    for item, target in zip(records("numbers"), every(task), strict=True):
        np.testing.assert_allclose(target.numpy(), item["numbers"], rtol=1e-6)


def test_a_list_of_zeros_and_ones_is_several_labels(lists):
    task = TableTask(lists("labels"), inputs=["a"], target="labels")
    assert (task.several, task.output_names) == (True, ("labels0", "labels1", "labels2"))
    assert [target.tolist() for target in every(task)] == [item["labels"] for item in records("labels")]
    assert BALANCED not in TableTask.declares({"path": lists("labels"), "inputs": ["a"], "target": "labels"})


def test_a_list_of_texts_has_a_label_for_each(lists):
    task = TableTask(lists("tags"), inputs=["a"], target="tags")
    assert task.output_names == ("tags=folk", "tags=jazz", "tags=rock")
    for item, target in zip(records("tags"), every(task), strict=True):
        assert {name[5:] for name, there in zip(task.output_names, target, strict=True) if there} == set(item["tags"])


def test_lists_with_an_item_per_step_stay_steps(tmp_path):
    items = [{"a": [1.0, 2.0, float(i)], "kind": ["xy"[i % 2]] * 3} for i in range(9)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    task = TableTask(str(tmp_path / "x.jsonl"), target="kind")
    assert (task.n_inputs, task.max_length, task.output_names) == (1, 3, ("x", "y"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": [1, 0]}, "row 3, column labels: has 2 values, the first row has 3"),
        ({"labels": 1}, "row 3, column labels: is no list, unlike in other rows"),
        ({"labels": [1, 0, 2]}, "row 3, step 1, column labels2='2': is neither 0 nor 1"),
        ({"labels": [1, 0, None]}, "row 3, step 1, column labels2='empty': is neither 0 nor 1"),
    ],
)
def test_a_list_that_is_unlike_the_others_is_one_line(change, words, tmp_path):
    items = list(records("labels"))
    items[2] |= change
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    with pytest.raises(ConfigError) as caught:
        TableTask(str(tmp_path / "x.jsonl"), inputs=["a"], target="labels")
    assert words in str(caught.value)


def evaluated(task, outputs):
    batch = whole(task, "valid")
    found = {key: value.mean() for key, value in task.measure(outputs, batch).items()}
    return found | {key: value[0] for key, value in task.summarise(task.collect(outputs, batch)).items()}, batch


def test_scores_of_several_outputs_are_scikit_learn_s(lists):
    task = TableTask(lists("numbers"), goal="regress", inputs=["a"], target="numbers")
    outputs = torch.randn(1, task.samples_of("valid"), 2, generator=torch.Generator().manual_seed(0))
    found, batch = evaluated(task, outputs)
    wanted, given = (task.in_units(values[0].numpy()) for values in (batch.targets, outputs))
    assert float(found[MAE]) == pytest.approx(metrics.mean_absolute_error(wanted, given), rel=1e-6)
    assert float(found[RMSE]) == pytest.approx(math.sqrt(metrics.mean_squared_error(wanted, given)), rel=1e-6)
    labels = TableTask(lists("labels"), inputs=["a"], target="labels")
    outputs = torch.randn(1, labels.samples_of("valid"), 3, generator=torch.Generator().manual_seed(0))
    found, batch = evaluated(labels, outputs)
    there, named = batch.targets[0].numpy().astype(int), (outputs[0] > 0).numpy().astype(int)
    assert float(found[F1]) == pytest.approx(metrics.f1_score(there, named, average="macro", zero_division=0))
    varied = [index for index in range(3) if 0 < there[:, index].mean() < 1]
    each = [metrics.roc_auc_score(there[:, index], outputs[0, :, index]) for index in varied]
    assert float(found[AUROC]) == pytest.approx(np.mean(each))
    assert float(found["valid/accuracy"]) == pytest.approx((there == named).mean())


def test_ridge_of_weighted_sequences_is_scikit_learn_s(file):
    """Several outputs at once, each sequence as often as its weight says."""
    from rnnsweep.core.learners.ridge import Ridge

    frame = weighed(made(count=24))
    task = TableTask(
        file(frame), inputs=["a", "b"], goal="regress", target=["total", "high"], group="id", weights="weight"
    )
    batch = whole(task, "train")
    states = torch.randn(1, task.max_length + 1, batch.inputs.shape[2], 3, generator=torch.Generator().manual_seed(1))
    program = Setup(task=task).program()
    x, y = Ridge()._rows(program, states, batch, bias=True)
    gram = (x.transpose(1, 2) @ x)[0]
    gram[:3, :3] += 0.5 * torch.eye(3)
    solved = torch.linalg.solve(gram, (x.transpose(1, 2) @ y)[0])
    model = linear_model.Ridge(alpha=0.5).fit(states[0, -1].numpy(), batch.targets[0].numpy(), batch.weights[0].numpy())
    np.testing.assert_allclose(solved[:3].T.numpy(), model.coef_, rtol=1e-6)
    np.testing.assert_allclose(solved[3].numpy(), model.intercept_, rtol=1e-6)


def test_draws_bring_their_weights_along(file):
    task = TableTask(file(weighed()), inputs=["a"], target="kind", group="id", weights="weight")
    ids, zero = torch.tensor([[3, 1, 3]]), torch.zeros(1, dtype=torch.int64)
    batch = task.batch(rng.Draws(zero, ids, zero, dtype=torch.float64))
    every_weight = whole(task, "train").weights[0]
    assert batch.weights[0].tolist() == every_weight[ids[0]].tolist()
