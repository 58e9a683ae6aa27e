"""Sequences of the user's own: what the network reads and what it is to say, by a plain account of the file."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn import metrics

from rnnsweep.core import rng
from rnnsweep.core.datasets.dataset_files import SPLITS
from rnnsweep.core.datasets.table_inputs import Scale
from rnnsweep.core.evaluation import score
from rnnsweep.core.losses import CROSS_ENTROPY, WeightedCrossEntropy
from rnnsweep.core.readout import cost
from rnnsweep.core.tasks.table_metrics import AUROC, BALANCED, F1, MAE, RMSE
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.core.training import train_rung
from tests.kit.networks import Setup, assert_same_row


def whole(task, split, **options):
    """All samples of a part, each once, in one mini-batch of one row."""
    ids = torch.arange(task.samples_of(split))[None]
    zero = torch.zeros(1, dtype=torch.int64)
    return task.batch(rng.Draws(zero, ids, zero, split=split, dtype=torch.float64, **options))


def test_a_file_that_is_written_anew_in_one_process_is_read_anew(tmp_path):
    path = tmp_path / "x.csv"
    made(30).to_csv(path, index=False)
    before = TableTask(path=str(path), group="id", target="kind")
    assert before.samples == TableTask(path=str(path), group="id", target="kind").samples
    made(60).to_csv(path, index=False)
    after = TableTask(path=str(path), group="id", target="kind")
    assert after.samples > before.samples
    assert len(after.read_new(str(path))) == 60
    made(10).to_csv(path, index=False)
    assert len(after.read_new(str(path))) == 10
    # what is being trained goes on with what it began with
    assert whole(after, "train").inputs.shape[2] == after.samples


def made(count=30, steps=6, seed=0, even=True, shortest=2):
    """A long table of `count` sequences; the class is whether a's sum is positive."""
    generator, parts = np.random.default_rng(seed), []
    for index in range(count):
        length = steps if even else int(generator.integers(shortest, steps + 1))
        a, b = generator.normal(size=(2, length))
        part = pd.DataFrame(
            {"id": f"s{index}", "t": np.arange(length), "a": a, "b": 5 + 3 * b, "c": 7.0, "site": index // 8}
        )
        part["kind"] = "up" if a.sum() > 0.5 else "down"
        part["high"], part["late"] = int(b.sum() > 0), int(a[-1] > 0)
        part["total"], part["step"] = 100 + 10 * a.sum(), np.where(a > 0, "plus", "minus")
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


@pytest.fixture
def file(tmp_path):
    def write(frame=None, **options):
        frame = made(**options) if frame is None else frame
        frame.to_csv(tmp_path / "x.csv", index=False)
        return str(tmp_path / "x.csv")

    return write


def own(task, batch, b):
    """One sequence's own steps of a batch's inputs, [steps, I]."""
    length = int(batch.lengths[0]) if batch.lengths.ndim == 1 else int(batch.lengths[0, b])
    return batch.inputs[0, task.max_length - length :, b].numpy()


def by_name(task, frame, split):
    """The part's sequences in the order of the samples, as frames."""
    found = task.prepared().samples[split]
    names = list(dict.fromkeys(frame["id"]))
    return [frame[frame["id"] == names[sequence]] for _, _, sequence in found]


def test_inputs_are_standardised_by_the_training_part_alone(file):
    frame = made(even=False)
    task = TableTask(file(frame), inputs=["a", "b", "c"], target="kind", group="id", time="t")
    training = pd.concat(by_name(task, frame, "train"))
    mean, deviation = training[["a", "b"]].mean(), training[["a", "b"]].std(ddof=0)
    for split in SPLITS:
        batch = whole(task, split)
        for b, sequence in enumerate(by_name(task, frame, split)):
            wanted = ((sequence[["a", "b"]] - mean) / deviation).to_numpy()
            np.testing.assert_allclose(own(task, batch, b)[:, :2], wanted, rtol=1e-6, atol=1e-6)
            assert not own(task, batch, b)[:, 2].any(), "a constant column is 0"
            assert task.output_names[int(batch.targets[0, b])] == sequence["kind"].iloc[0]
    raw = TableTask(task.path, inputs=["a", "b"], target="kind", group="id", standardise=False)
    np.testing.assert_allclose(own(raw, whole(raw, "valid"), 0), by_name(raw, frame, "valid")[0][["a", "b"]], rtol=1e-6)


def test_all_columns_of_numbers_are_inputs_unless_they_have_another_role(file):
    path = file()
    assert TableTask(path, target="kind", group="id", time="t").n_inputs == 7
    assert TableTask(path, target="total", goal="regress", group="id", split="group", split_by="site").n_inputs == 6
    assert TableTask(path, goal="forecast", group="id", target="a").n_inputs == 8


@pytest.mark.parametrize("missing", ["zero", "mean", "previous"])
def test_gaps_are_filled_and_flagged(missing, file):
    frame = made()
    frame.loc[frame["t"].isin([0, 3, 4]), "a"] = np.nan
    options = {"inputs": ["b", "a"], "target": "kind", "group": "id", "time": "t", "missing": missing}
    task = TableTask(file(frame), missing_flags=True, **options)
    assert task.n_inputs == 3, "only columns with gaps are flagged"
    training = pd.concat(by_name(task, frame, "train"))["a"]
    for b, sequence in enumerate(by_name(task, frame, "test")):
        column = sequence["a"].reset_index(drop=True)
        filled = column.ffill() if missing == "previous" else column
        filled = filled.fillna(0 if missing == "zero" else training.mean())
        wanted = (filled - training.mean()) / training.std(ddof=0)
        np.testing.assert_allclose(own(task, whole(task, "test"), b)[:, 1], wanted, rtol=1e-5, atol=1e-6)
        assert own(task, whole(task, "test"), b)[:, 2].tolist() == column.isna().astype(float).tolist()
    assert TableTask(task.path, **options).n_inputs == 2


def test_numbers_are_predicted_standardised_and_measured_in_their_own_units(file):
    frame = made()
    task = TableTask(file(frame), goal="regress", inputs=["a"], target=["total", "late"], group="id")
    batch, wanted = whole(task, "valid"), [s[["total", "late"]].iloc[0] for s in by_name(task, frame, "valid")]
    np.testing.assert_allclose(task.in_units(batch.targets[0].numpy()), wanted, rtol=1e-5, atol=1e-6)
    outputs = batch.targets + torch.tensor([1.0, -0.5])
    units = np.array([s[["total", "late"]].iloc[0] for s in by_name(task, frame, "train")]).std(0)
    collected = task.collect(outputs, batch)
    assert float(task.measure(outputs, batch)[MAE].mean()) == pytest.approx((units @ [1, 0.5]) / 2, rel=1e-6)
    rmse = math.sqrt(((units * [1, 0.5]) ** 2).mean())
    assert float(task.summarise(collected)[RMSE]) == pytest.approx(rmse, rel=1e-6)
    # off by 1 and .5 deviations: .79 in the mean of squares
    assert task.errors(outputs, batch).all()
    wide = TableTask(task.path, goal="regress", inputs=["a"], target=["total", "late"], group="id", tolerance=0.8)
    assert not wide.errors(outputs, batch).any()


@pytest.mark.parametrize(("horizon", "length"), [(1, None), (3, None), (2, 4), (1, 1)])
def test_a_forecast_s_target_is_the_value_to_come(horizon, length, file):
    frame = made(count=12, steps=9, even=False, shortest=4)
    task = TableTask(
        file(frame), goal="forecast", inputs=["a", "b"], target="b", group="id", horizon=horizon, length=length
    )
    scale, seen = task.prepared().targets.scale, 0
    for split in SPLITS:
        batch = whole(task, split)
        for b, (first, steps, sequence) in enumerate(task.prepared().samples[split]):
            rows = frame.iloc[first + horizon : first + horizon + steps]
            assert (rows["id"] == f"s{sequence}").all()
            found = scale.back(batch.targets[0, task.max_length - steps :, b, 0].numpy())
            np.testing.assert_allclose(found, rows["b"], rtol=1e-5)
            assert batch.mask[0, :, b].tolist() == [0.0] * (task.max_length - steps) + [1.0] * steps
            seen += steps
    assert seen == sum(max(0, size - horizon) for size in frame.groupby("id").size()), "every step once"


def test_one_series_is_cut_by_time_and_no_part_sees_another(file):
    frame = made(count=1, steps=100)
    task = TableTask(file(frame), goal="forecast", inputs=["a"], split="time", length=20, horizon=2)
    assert [task.prepared().samples[split].tolist() for split in SPLITS] == [
        [[0, 20, 0], [20, 20, 0], [40, 20, 0], [60, 8, 0]],
        [[70, 13, 0]],
        [[85, 13, 0]],
    ]


def test_steps_without_a_label_are_not_scored(file):
    frame = made()
    frame.loc[frame["t"] < 2, "step"] = np.nan
    options = {"goal": "label", "inputs": ["a"], "target": "step", "group": "id"}
    with pytest.raises(Exception, match=r"row 2, column step: is empty"):
        TableTask(file(frame), **options)
    task = TableTask(file(frame), missing="mean", **options)
    batch = whole(task, "train")
    assert batch.mask[0].sum(0).tolist() == [4.0] * task.samples
    assert task.output_names == ("minus", "plus")
    assert task.chance_error == pytest.approx(
        1
        - max(
            np.mean([(s["a"] > 0)[2:].mean() for s in by_name(task, frame, "train")]),
            np.mean([(s["a"] <= 0)[2:].mean() for s in by_name(task, frame, "train")]),
        )
    )


def constant(task, output):
    """Loss and error of one output for everything in the training part."""
    batch = whole(task, "train")
    shape = batch.targets.shape if task.loss.name == "cross_entropy" else batch.targets.shape[:-1]
    outputs = torch.as_tensor(output, dtype=torch.float64).expand(*shape, task.n_outputs)
    weight = torch.ones(1, batch.inputs.shape[2]) if batch.mask is None else batch.mask.sum(1)
    wrong = (task.errors(outputs, batch) * weight).sum() / weight.sum()
    return float(cost(task, outputs, batch)), float(wrong)


@pytest.mark.parametrize("weights", ["none", "balanced"])
@pytest.mark.parametrize(("goal", "target"), [("classify", "kind"), ("label", "step")])
def test_chance_is_the_best_constant_class(goal, target, weights, file):
    task = TableTask(file(), goal=goal, inputs=["a"], target=target, group="id", weights=weights)
    batch = whole(task, "train")
    shares = torch.bincount(batch.targets.flatten()).double() / batch.targets.numel()
    best = shares.log() if weights == "none" else torch.zeros(2)
    loss, _ = constant(task, best)
    assert loss == pytest.approx(task.chance_loss)
    assert constant(task, shares.log())[1] == pytest.approx(task.chance_error)
    if weights == "balanced":
        assert loss == pytest.approx(math.log(2))


def test_chance_is_the_mean_of_numbers_and_each_label_s_share(file):
    path = file()
    for options in ({"goal": "regress", "target": ["total"]}, {"goal": "forecast", "target": ["a", "b"]}):
        task = TableTask(path, inputs=["a"], group="id", **options)
        batch = whole(task, "train")
        mean = batch.targets.flatten(0, -2).mean(0)
        assert constant(task, mean) == pytest.approx((task.chance_loss, task.chance_error), rel=1e-5)
    task = TableTask(path, inputs=["a"], group="id", target=["high", "late"])
    shares = whole(task, "train").targets[0].mean(0)
    assert constant(task, torch.logit(shares)) == pytest.approx((task.chance_loss, task.chance_error))


def test_weighted_classes_are_torch_s():
    generator = torch.Generator().manual_seed(0)
    outputs, targets = torch.randn(2, 9, 3, generator=generator), torch.randint(3, (2, 9), generator=generator)
    outputs.requires_grad_()
    loss = WeightedCrossEntropy((0.5, 2.0, 1.5))
    each, slope = loss.score(outputs.detach(), targets)
    theirs = torch.nn.functional.cross_entropy(
        outputs.transpose(1, 2), targets, weight=torch.tensor(loss.weights, dtype=outputs.dtype), reduction="none"
    )
    assert torch.allclose(each, theirs.detach(), rtol=1e-12)
    (gradient,) = torch.autograd.grad(theirs.sum(), outputs)
    assert torch.allclose(slope, gradient, rtol=1e-12, atol=1e-12)
    change = torch.randn(2, 9, 3, generator=generator)
    _, second = torch.autograd.functional.hvp(
        lambda y: (
            torch.nn.functional.cross_entropy(
                y.transpose(1, 2), targets, weight=torch.tensor(loss.weights, dtype=y.dtype), reduction="none"
            )
        ).sum(),
        outputs.detach(),
        change,
    )
    assert torch.allclose(loss.curvature(outputs.detach(), targets, change), second, rtol=1e-10, atol=1e-12)
    assert torch.equal(
        WeightedCrossEntropy((1.0, 1.0, 1.0)).score(outputs.detach(), targets)[0],
        CROSS_ENTROPY.score(outputs.detach(), targets)[0],
    )


def test_labels_may_be_true_and_false(file, tmp_path):
    frame = made()
    numbers = TableTask(file(frame), inputs=["a"], target=["high", "late"], group="id")
    wanted = whole(numbers, "train").targets
    frame[["high", "late"]] = frame[["high", "late"]].astype(bool)
    frame.to_csv(tmp_path / "words.csv", index=False)  # a process reads a file once
    words = TableTask(str(tmp_path / "words.csv"), inputs=["a"], target=["late", "high"], group="id")
    assert torch.equal(whole(words, "train").targets.flip(-1), wanted)


def test_balanced_weights_are_scikit_learn_s(file):
    from sklearn.utils.class_weight import compute_class_weight

    task = TableTask(file(), inputs=["a"], target="kind", group="id", weights="balanced")
    targets = whole(task, "train").targets[0].numpy()
    assert task.loss.weights == pytest.approx(compute_class_weight("balanced", classes=np.arange(2), y=targets))


GOALS = {
    "classify": {"target": "kind"},
    "balanced": {"target": "kind", "weights": "balanced"},
    "labels": {"target": ["high", "late"]},
    "label": {"goal": "label", "target": "step"},
    "regress": {"goal": "regress", "target": "total"},
    "forecast": {"goal": "forecast", "target": ["a", "b"]},
}


@pytest.mark.parametrize("engine", ["reference", "cpu"])
@pytest.mark.parametrize("goal", GOALS)
def test_every_goal_trains_alone_as_in_a_pack_and_reports_its_metrics(goal, engine, file):
    task = TableTask(file(count=40), inputs=["a", "b"], group="id", time="t", **GOALS[goal])
    setup = Setup(task=task, engine=engine, dtype=torch.float32, batch=4, eval_size=100)
    pack, alone = setup.pack([0, 1, 2]), setup.pack([1])
    for _ in range(2):
        results, (wanted,) = train_rung(pack, 3, 1), train_rung(alone, 3, 1)
        assert results[1] == wanted
    assert_same_row(pack.row(1), alone.row(0))
    declared = TableTask.declares({name: getattr(task, name) for name in task.fields()})
    assert set(declared) < set(wanted)
    assert set(declared) < set(task.worst)
    assert all(math.isfinite(task.worst[key]) for key in declared)


def test_scores_are_of_the_whole_evaluation_whatever_the_mini_batch(file):
    """Those of scikit-learn on all validation sequences, though they come in mini-batches of three."""
    task = TableTask(file(count=60), inputs=["a", "b"], target="kind", group="id", shares=[1, 1, 1])
    batch = whole(task, "valid")
    outputs = torch.randn(*batch.targets.shape, 2, generator=torch.Generator().manual_seed(1))
    wanted, named = batch.targets[0], outputs[0].argmax(-1)
    place = iter(range(0, 100, 3))

    def answer(part):
        start = next(place)
        found = outputs[:, start : start + part.inputs.shape[2]]
        return found, cost(task, found, part), part.inputs.new_empty(0)

    program = Setup(task=task, batch=3, eval_size=100).program()
    key = torch.zeros(1, dtype=torch.int64)
    found = score(program, key, key, answer)
    assert float(found.measured[BALANCED]) == pytest.approx(metrics.balanced_accuracy_score(wanted, named))
    assert float(found.measured[F1]) == pytest.approx(metrics.f1_score(wanted, named, average="macro"))
    area = metrics.roc_auc_score(wanted, outputs[0].softmax(-1)[:, 1])
    assert float(found.measured[AUROC]) == pytest.approx(area)
    assert float(found.error) == pytest.approx(float((wanted != named).double().mean()))


def test_another_file_is_prepared_with_the_same_numbers(file, tmp_path):
    frame = made(even=False)
    task = TableTask(file(frame), inputs=["b", "a"], target="kind", group="id", time="t")
    frame[frame["id"] == "s3"].drop(columns=["kind", "total"]).to_csv(tmp_path / "new.csv", index=False)
    ((name, values),) = task.read_new(str(tmp_path / "new.csv"))
    samples = {
        int(sample[2]): (split, b) for split in SPLITS for b, sample in enumerate(task.prepared().samples[split])
    }
    split, b = samples[3]
    assert name == "s3"
    np.testing.assert_array_equal(values, own(task, whole(task, split), b).astype(np.float32))


def test_standardising_leaves_constants_and_forgets_gaps():
    scale = Scale.of(np.array([[1.0, 5.0, np.nan], [3.0, 5.0, 2.0], [5.0, 5.0, 4.0]]))
    assert scale.mean.tolist() == [3, 5, 3]
    assert scale.deviation.tolist() == pytest.approx([math.sqrt(8 / 3), 1, 1])
    assert scale.back(scale.apply(np.array([[7.0, 6.0, 5.0]]))).tolist() == [[7, 6, 5]]


def test_what_other_goals_look_at_is_unread(file):
    path = file()
    assert set(TableTask(path, target="kind", group="id").unread()) == {
        "horizon",
        "length",
        "tolerance",
        "missing_flags",
        "vocabulary",
    }
    balanced = TableTask(path, target="total", group="id", goal="regress", weights="balanced")
    assert "weights" in balanced.unread()
    assert "split_by" in TableTask(path, target="kind", group="id", split_by="t").unread()


@pytest.fixture
def texts(tmp_path):
    """Twelve sentences, one per row."""
    lines = [f"the cat number {i} didn't sit, {'never' if i % 3 else 'ever'} here" for i in range(12)]
    pd.DataFrame({"words": lines, "part": ["train"] * 8 + ["val"] * 2 + ["test"] * 2}).to_csv(
        tmp_path / "texts.csv", index=False
    )
    return str(tmp_path / "texts.csv"), lines


def said(task, batch, b):
    """Tokens of one sequence that come in, and those that are wanted."""
    own_steps = batch.mask[0, :, b].bool()
    codes = batch.inputs[0, own_steps, b].argmax(-1).tolist()
    assert (batch.inputs[0, own_steps, b].sum(-1) == 1).all()
    return [[task.output_names[c] for c in each] for each in (codes, batch.targets[0, own_steps, b].tolist())]


def test_the_next_word_by_a_vocabulary_of_the_training_part(texts):
    path, lines = texts
    task = TableTask(path, goal="next_word", target="words", split="given", split_by="part")
    assert {"<unknown>", "didn't", ",", "cat", "7"} < set(task.output_names)
    assert "9" not in task.output_names, "only the validation part has it"
    assert (
        task.output_names
        == TableTask(path, goal="next_word", target="words", split="given", split_by="part").output_names
    )
    batch = whole(task, "valid")
    for b, (*_, row) in enumerate(task.prepared().samples["valid"]):
        words = lines[row].replace("9", "<unknown>").replace("8", "<unknown>").replace(",", " ,").split()
        assert said(task, batch, b) == [words[:-1], words[1:]]
    small = TableTask(path, goal="next_word", target="words", split="given", split_by="part", vocabulary=3)
    assert small.output_names == ("<unknown>", ",", "cat", "didn't"), "the commonest, of equal ones the first by name"


def test_a_column_of_parts_may_be_called_as_the_tokens_are(tmp_path):
    """The parts would be read instead of the texts."""
    lines = [("to be or not", "train"), ("to be that is", "train"), ("be not", "valid"), ("or to", "test")]
    for name in ("token", "part"):
        pd.DataFrame(lines, columns=["text", name]).to_csv(tmp_path / f"{name}.csv", index=False)
    one, two = (
        TableTask(str(tmp_path / f"{name}.csv"), goal="next_word", target="text", split="given", split_by=name)
        for name in ("token", "part")
    )
    assert one.output_names == two.output_names == ("<unknown>", "be", "is", "not", "or", "that", "to")
    assert one.samples_of("valid") == 1


def test_the_next_character_of_a_file_of_text(tmp_path):
    (tmp_path / "x.txt").write_text("abcd" * 50)
    task = TableTask(str(tmp_path / "x.txt"), goal="next_character", split="time", length=10, horizon=2)
    assert task.output_names == ("<unknown>", "a", "b", "c", "d")
    assert said(task, whole(task, "train"), 0) == [list("abcdabcdab"), list("cdabcdabcd")]
    assert sum(int(whole(task, split).mask.sum()) for split in SPLITS) == 200 - 3 * 2
    assert task.chance_loss == pytest.approx(math.log(4), rel=1e-3)
    assert [name for name, _ in task.read_new(str(tmp_path / "x.txt"))] == ["0"]
    with pytest.raises(Exception, match=r"holds 1 sequence, too few.*task\.split=time"):
        TableTask(str(tmp_path / "x.txt"), goal="next_character")


@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_perplexity_is_the_exponential_of_the_loss(texts, engine):
    task = TableTask(texts[0], goal="next_word", target="words", shares=[2, 1, 1])
    setup = Setup(task=task, engine=engine, dtype=torch.float32, batch=2, eval_size=100)
    pack, alone = setup.pack([0, 1, 2]), setup.pack([1])
    results, (wanted,) = train_rung(pack, 3, 1), train_rung(alone, 3, 1)
    assert results[1] == wanted
    assert wanted["valid/perplexity"] == pytest.approx(math.exp(wanted["valid/loss"]), rel=1e-6)
    assert wanted["valid/accuracy"] + wanted["valid/error"] == pytest.approx(1)


def test_texts_that_say_nothing(tmp_path):
    for text, words in (("\n", "is empty"), ("aaaaaa", "has one token only")):
        (tmp_path / "x.txt").write_text(text)
        with pytest.raises(Exception, match=words):
            TableTask(str(tmp_path / "x.txt"), goal="next_character", split="time")
