"""Functions of the user's own, and of libraries, score evaluations: by scikit-learn on the same answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics

import rnnsweep
from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.core.evaluation import score
from rnnsweep.core.losses import BINARY_CROSS_ENTROPY
from rnnsweep.core.metrics.scorers import Scorer, answers
from rnnsweep.core.tasks.table_task import TableTask
from rnnsweep.core.training import train_rung
from rnnsweep.errors import ConfigError, ConfigWarning
from tests.kit.networks import Setup

HERE = __name__
PACKAGED = sorted((Path(rnnsweep.__file__).parents[1] / "conf/scorer").glob("*.yaml"))


def share(y_true, y_pred, add=0.0):
    return np.mean(y_true == y_pred) + add


def upside_down(preds, target):
    """As torch's and torchmetrics' functions: answers first, tensors."""
    assert isinstance(preds, torch.Tensor)
    return (preds - 2 * target).double().mean()


class Accumulating:
    """As torchmetrics' classes."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight, self.seen = weight, 0.0

    def reset(self) -> None:
        self.seen = 0.0

    def update(self, preds: torch.Tensor, target: torch.Tensor) -> None:
        self.seen += float((preds - 2 * target).double().mean())

    def compute(self) -> torch.Tensor:
        return torch.tensor(self.weight * self.seen)


def raising(y_true, y_pred):
    raise ValueError("no such thing\nat all")


def needing_both(y_true, y_pred):
    """Fails for some answers only."""
    if len(set(y_pred.tolist())) == 1:
        raise ValueError("one class only")
    return 1.0


def nothing(y_true, y_pred):
    return float("nan")


def several(y_true, y_pred):
    return [0.1, 0.2]


def scorer(name, target, response="predict", **arguments):
    return Scorer.of(name, {"_target_": target, "_response_": response, **arguments})


def evaluation(task, scorers, rows=3, seed=0, spoilt=None):
    """Scores of random networks on a whole validation part, and their outputs with what was wanted."""
    program = Setup(task=task, scorers=tuple(scorers), batch=7, eval_size=1000).program()
    generator = torch.Generator().manual_seed(seed)
    width = task.n_outputs
    kept = []

    def outputs(batch):
        shape = (1, *batch.inputs.shape[1:3], width) if task.per_step else (1, batch.inputs.shape[2], width)
        made = torch.cat([torch.randn(shape, generator=generator) for _ in range(rows)])
        if spoilt is not None:
            made[spoilt] = torch.nan
        kept.append((made, batch.targets, batch.mask))
        return made, torch.zeros(rows), made

    keys = torch.zeros(rows, dtype=torch.int64)
    return score(program, keys, torch.zeros(rows, dtype=torch.int64), outputs), kept


def joined(kept, row, per_step=False):
    outputs = [made[row].flatten(0, 1) if per_step else made[row] for made, _, _ in kept]
    targets = [wanted[row].flatten(0, 1) if per_step else wanted[row] for _, wanted, _ in kept]
    if per_step and kept[0][2] is not None:
        masks = [mask[row].flatten() > 0 for _, _, mask in kept]
        outputs, targets = ([v[m] for v, m in zip(values, masks, strict=True)] for values in (outputs, targets))
    return torch.cat(outputs).numpy(), torch.cat(targets).numpy()


def test_classes_are_scored_as_scikit_learn_scores_the_same_answers():
    task = TableTask()
    chosen = [
        scorer("mcc", "sklearn.metrics.matthews_corrcoef"),
        scorer("f2", "sklearn.metrics.fbeta_score", beta=2, average="macro"),
        scorer("top2", "sklearn.metrics.top_k_accuracy_score", response="predict_proba", k=2),
        scorer("own", f"{HERE}.share", add=3),
        scorer("torch", f"{HERE}.upside_down"),
        scorer("summed", f"{HERE}.Accumulating", weight=2.0),
    ]
    found, kept = evaluation(task, chosen)
    for row in range(3):
        outputs, wanted = joined(kept, row)
        named, shares = outputs.argmax(-1), torch.softmax(torch.from_numpy(outputs), -1).numpy()
        expected = {
            "mcc": metrics.matthews_corrcoef(wanted, named),
            "f2": metrics.fbeta_score(wanted, named, beta=2, average="macro"),
            "top2": metrics.top_k_accuracy_score(wanted, shares, k=2),
            "own": 3 + metrics.accuracy_score(wanted, named),
            "torch": np.mean(named - 2.0 * wanted),
            "summed": 2 * np.mean(named - 2.0 * wanted),
        }
        for name, value in expected.items():
            assert float(found.measured[f"valid/{name}"][row]) == pytest.approx(value, rel=1e-12), name


def test_numbers_are_in_their_units_and_steps_that_do_not_count_are_left_out(tmp_path):
    frame = "\n".join(
        f"{i},{i % 5 + t * 0.5},{100 + 10 * ((i * 7 + t) % 11)}" for i in range(40) for t in range(3 + i % 3)
    )
    (tmp_path / "x.csv").write_text("id,a,b\n" + frame)
    task = TableTask(str(tmp_path / "x.csv"), group="id", goal="forecast", target="b")
    found, kept = evaluation(task, [scorer("r2", "sklearn.metrics.r2_score"), scorer("low", f"{HERE}.lowest")])
    scale = task.prepared().targets.scale
    for row in range(3):
        outputs, wanted = joined(kept, row, per_step=True)
        outputs, wanted = scale.back(outputs.astype(np.float64)), scale.back(wanted.astype(np.float64))
        assert float(found.measured["valid/r2"][row]) == pytest.approx(metrics.r2_score(wanted, outputs), rel=1e-9)
    assert float(found.measured["valid/low"][0]) == pytest.approx(100)


def lowest(y_true, y_pred):
    """Steps of the padding would be 0 standardised, and so far from here."""
    assert y_true.ndim == 1
    return y_true.min()


def test_labels_come_as_zeros_and_ones():
    rows = torch.tensor([[2.0, -1.0], [-1.0, 3.0]], dtype=torch.float64)

    class Labels:
        loss = BINARY_CROSS_ENTROPY

    wanted, named = answers(Labels(), rows, torch.tensor([[1.0, 0.0], [1.0, 1.0]]), "predict")
    assert (wanted.tolist(), named.tolist()) == ([[1, 0], [1, 1]], [[1, 0], [0, 1]])
    _, shares = answers(Labels(), rows, torch.zeros(2, 2), "predict_proba")
    np.testing.assert_allclose(shares, 1 / (1 + np.exp(-rows.numpy())))


def test_a_row_is_scored_alone_as_in_a_pack_to_the_bit():
    chosen = (scorer("f1", "sklearn.metrics.f1_score", average="weighted"),
              scorer("ap", "sklearn.metrics.average_precision_score", response="predict_proba"))  # fmt: skip
    setup = Setup(task=TableTask(), scorers=chosen, eval_size=150)
    packed = train_rung(setup.pack([4, 1, 7]), 3, 1)
    for row, replica in enumerate([4, 1, 7]):
        (alone,) = train_rung(setup.pack([replica]), 3, 1)
        for key in ("valid/f1", "valid/ap"):
            assert packed[row][key] == alone[key]


def test_a_row_without_finite_answers_has_no_score_and_harms_no_other():
    found, _ = evaluation(TableTask(), [scorer("mcc", "sklearn.metrics.matthews_corrcoef")], spoilt=1)
    assert torch.isfinite(found.measured["valid/mcc"]).tolist() == [True, False, True]


def test_one_that_fails_for_a_rows_answers_is_a_warning_and_no_score():
    chosen = [scorer("both", f"{HERE}.needing_both"), scorer("own", f"{HERE}.share")]
    program = Setup(task=TableTask(), scorers=tuple(chosen), batch=50, eval_size=100).program()

    def outputs(batch):
        made = torch.zeros(2, batch.inputs.shape[2], 9)
        made[0, :, 3] = 1
        made[1].scatter_(-1, batch.targets[1][:, None], 1.0)
        return made, torch.zeros(2), made

    zero = torch.zeros(2, dtype=torch.int64)
    with pytest.warns(ConfigWarning, match=r"scorers\.both has no value: cannot be computed \(ValueError: one class"):
        found = score(program, zero, zero, outputs)
    assert torch.isnan(found.measured["valid/both"]).tolist() == [True, False]
    assert found.measured["valid/own"].tolist()[1] == 1


@pytest.mark.parametrize(
    ("block", "words"),
    [
        ({"_target_": f"{HERE}.raising"}, "scorers.x='%s.raising': cannot be computed (ValueError: no such thing)"),
        ({"_target_": f"{HERE}.nothing"}, "scorers.x=nan: is not finite"),
        ({"_target_": f"{HERE}.several"}, "cannot be computed (float() argument"),
        ({"_target_": f"{HERE}.HERE"}, "cannot be computed ("),
        ({"_target_": "nowhere.f"}, "scorers.x._target_='nowhere.f': cannot be imported"),
        ({"_target_": f"{HERE}.share", "beta": 1}, "unexpected keyword argument 'beta'"),
        ({"_target_": f"{HERE}.share", "_response_": "proba"}, "scorers.x._response_='proba': unknown value"),
        ({"_target_": f"{HERE}.share", "_worst_": "bad"}, "scorers.x._worst_='bad': is no number"),
        ({"beta": 1}, "names no function"),
    ],
)
def test_what_cannot_score_is_one_line(block, words):
    with pytest.raises(ConfigError) as caught:
        Scorer.of("x", block).score(np.array([0, 1, 1]), np.array([0, 1, 0]))
    assert (words % HERE if "%s" in words else words) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("file", PACKAGED, ids=lambda file: file.stem)
def test_each_packaged_yaml_scores_right_answers_best(file):
    block = read_yaml(file)
    found = Scorer.of(file.stem, block)
    wanted = np.array([0, 1, 2, 1, 0, 2])
    right = np.eye(3)[wanted] if found.response == "predict_proba" else wanted
    wrong = np.eye(3)[(wanted + 1) % 3] if found.response == "predict_proba" else (wanted + 1) % 3
    best = {"median_absolute_error": 0.0, "mape": 0.0}.get(file.stem, 1.0)
    assert found.score(wanted, right) == pytest.approx(best)
    assert found.score(wanted, wrong) != pytest.approx(best)
    lines = file.read_text().splitlines()
    assert lines[0].startswith("# ") and len(lines) <= 20
    assert all(" # " in line for line in lines[1:])
