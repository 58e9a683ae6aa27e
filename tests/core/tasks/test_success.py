"""Success rules on hand-made outputs."""

import math

import torch

from rnnsweep.core.tasks.success import absolute_errors, argmax_errors, squared_errors


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
