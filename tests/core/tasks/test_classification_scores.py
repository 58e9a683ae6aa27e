"""Scores of a whole evaluation, beside scikit-learn's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from sklearn import metrics

from rnnsweep.core.tasks import classification_scores as scores

P, N = 4, 60


def drawn(classes: int, seed: int):
    """Logits with ties, and classes of which one is rare and in row 3 the last never occurs."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(P, N, classes, generator=generator).mul(2).round().div(2)
    wanted = torch.multinomial(torch.tensor([1.0] * (classes - 1) + [0.1]), P * N, True, generator=generator)
    wanted = wanted.view(P, N)
    wanted[3] = wanted[3].clamp(max=classes - 2)
    return logits, wanted


@pytest.mark.parametrize("classes", [3, 5])
@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
def test_classes_are_scored_as_by_scikit_learn(classes):
    logits, wanted = drawn(classes, classes)
    halves = [
        scores.confusion(logits[:, part], wanted[:, part], torch.ones_like(wanted[:, part]))
        for part in (slice(0, 25), slice(25, None))
    ]
    counts = torch.cat(halves, 1)
    for p in range(P):
        named = logits[p].argmax(-1)
        assert float(scores.balanced_accuracy(counts)[p]) == pytest.approx(
            metrics.balanced_accuracy_score(wanted[p], named), rel=1e-12
        )
        assert float(scores.f1_macro(counts)[p]) == pytest.approx(
            metrics.f1_score(wanted[p], named, average="macro"), rel=1e-12
        )
    probabilities = logits.softmax(-1)
    there = torch.nn.functional.one_hot(wanted, classes).bool()
    found = scores.auroc_macro(probabilities, there)
    for p in range(3):
        theirs = metrics.roc_auc_score(wanted[p], probabilities[p], multi_class="ovr", average="macro")
        assert float(found[p]) == pytest.approx(theirs, rel=1e-12)


def test_labels_are_scored_as_by_scikit_learn():
    generator = torch.Generator().manual_seed(9)
    logits = torch.randn(P, N, 3, generator=generator).round(decimals=1)
    there = torch.rand(P, N, 3, generator=generator).lt(torch.tensor([0.5, 0.2, 0.9])).double()
    there[0, :, 1] = 0
    logits[0, :, 1] = -1
    counts = torch.cat(
        [scores.label_counts(logits[:, :31], there[:, :31]), scores.label_counts(logits[:, 31:], there[:, 31:])], 1
    )
    for p in range(P):
        theirs = metrics.f1_score(there[p], logits[p] > 0, average="macro", zero_division=0)
        assert float(scores.label_f1_macro(counts)[p]) == pytest.approx(theirs, rel=1e-12)
    for p in range(1, P):
        theirs = metrics.roc_auc_score(there[p], logits[p], average="macro")
        assert float(scores.auroc_macro(logits, there > 0)[p]) == pytest.approx(theirs, rel=1e-12)
    assert math.isfinite(scores.auroc_macro(logits, there > 0)[0]), "a label that never occurs has no area"


def test_steps_that_do_not_count_are_not_counted():
    logits, wanted = drawn(3, 1)
    counted = torch.rand(P, N, generator=torch.Generator().manual_seed(2)) > 0.4
    counts = scores.confusion(logits, wanted, counted)
    for p in range(P):
        theirs = metrics.confusion_matrix(wanted[p][counted[p]], logits[p][counted[p]].argmax(-1), labels=range(3))
        assert np.array_equal(counts[p, 0, :, :3].numpy(), theirs)
        assert not counts[p, 0, :, 3].any()


def test_a_row_that_is_not_finite_is_wrong_and_harms_no_other():
    logits, wanted = drawn(3, 1)
    bad = logits.clone()
    bad[1, 5] = math.nan
    before, after = (scores.confusion(each, wanted, torch.ones_like(wanted)) for each in (logits, bad))
    assert torch.equal(before[[0, 2, 3]], after[[0, 2, 3]])
    assert after[1, 0, wanted[1, 5], 3] == 1
    there = torch.nn.functional.one_hot(wanted, 3).bool()
    area = scores.auroc_macro(bad, there)
    assert torch.isnan(area[1]) and torch.equal(area[[0, 2]], scores.auroc_macro(logits, there)[[0, 2]])


def test_a_row_alone_has_the_same_scores_to_the_bit():
    logits, wanted = drawn(4, 3)
    there = torch.nn.functional.one_hot(wanted, 4).bool()
    for p in range(P):
        alone = scores.auroc_macro(logits[p : p + 1], there[p : p + 1])
        assert torch.equal(alone, scores.auroc_macro(logits, there)[p : p + 1])
        counts = scores.confusion(logits, wanted, torch.ones_like(wanted))
        assert torch.equal(scores.f1_macro(counts[p : p + 1]), scores.f1_macro(counts)[p : p + 1])


def test_nothing_to_tell_apart_is_chance():
    logits, _ = drawn(3, 3)
    there = torch.zeros(P, N, 3, dtype=torch.bool)
    there[..., 1] = True
    assert scores.auroc_macro(logits, there).tolist() == [0.5] * P
    assert torch.isnan(scores.auroc(logits[..., 0], there[..., 0])).all()
