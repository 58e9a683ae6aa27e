"""Success rules on hand-made outputs."""

import math

import torch

from rnnsweep.core.tasks.success import (
    absolute_errors,
    any_step,
    argmax_errors,
    mean_squared_errors,
    share_of_steps,
    squared_errors,
)


def test_argmax():
    logits = torch.tensor([[1.0, 2.0, 0.0], [3.0, 3.0, 0.0], [0.0, math.nan, 1.0], [0.0, 1.0, math.inf]])
    assert argmax_errors(logits, torch.tensor([1, 0, 2, 2])).tolist() == [False, False, True, True]
    assert argmax_errors(logits, torch.tensor([2, 1, 0, 1])).tolist() == [True, True, True, True]


def test_squared_error_counts_from_above_the_limit_and_sums_outputs():
    outputs = torch.tensor([[0.5, 0.0], [0.5, 0.25], [math.nan, 0.0], [math.inf, 0.0], [0.0, 0.0]])
    assert squared_errors(outputs, torch.zeros(5, 2), 0.25).tolist() == [False, True, True, True, False]


def test_absolute_error_counts_from_above_the_limit():
    outputs = torch.tensor([[0.5], [-0.5], [0.5625], [math.nan], [-math.inf]])
    assert absolute_errors(outputs, torch.zeros(5, 1), 0.5).tolist() == [False, False, True, True, True]


def test_steps_that_do_not_count_cannot_be_wrong():
    wrong = torch.tensor([[[True, False], [False, False], [False, True]]])  # P=1 T=3 B=2
    assert any_step(wrong, torch.tensor([[0, 1, 1]])).tolist() == [[False, True]]
    assert any_step(wrong, torch.tensor([[[1, 0], [0, 0], [0, 0]]])).tolist() == [[True, False]]
    assert share_of_steps(wrong, torch.tensor([[1, 1, 0]])).tolist() == [[0.5, 0]]
    assert share_of_steps(wrong, torch.tensor([[[1, 0], [1, 0], [1, 1]]])).tolist() == [[1 / 3, 1]]
    assert share_of_steps(wrong, torch.zeros(1, 3)).tolist() == [[0, 0]]


def test_mean_squared_error_counts_from_above_the_limit():
    outputs = torch.tensor([[[[1.0], [math.nan]], [[0.0], [0.5]]]])  # P=1 T=2 B=2 O=1
    zeros = torch.zeros(1, 2, 2, 1)
    assert mean_squared_errors(outputs, zeros, torch.tensor([[1, 1]]), 0.5).tolist() == [[False, True]]
    assert mean_squared_errors(outputs, zeros, torch.tensor([[1, 1]]), 0.49).tolist() == [[True, True]]
    assert mean_squared_errors(outputs, zeros, torch.tensor([[0, 1]]), 0.25).tolist() == [[False, False]]
