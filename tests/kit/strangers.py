"""Rows of a pack are strangers: not one bit of a row depends on its neighbours, whatever they hold."""

from __future__ import annotations

from typing import Any

import torch


def assert_rows_are_strangers(case: Any, engine: Any) -> None:
    """Run five rows together, in another order, one by one, and beside a row that is poisoned with NaN.

    Args:
        case: `rows(index)` picks some of its rows, `everything(engine)` runs them and gives all results by name.
        engine: of the case's kind.
    """
    whole = case.everything(engine)
    order = torch.tensor([3, 0, 4, 2, 1])
    turned = case.rows(order).everything(engine)
    alone = [case.rows(slice(p, p + 1)).everything(engine) for p in range(case.P)]
    poisoned = case.rows(slice(None))
    poisoned.inputs[2, 0, 0] = torch.nan
    # A loop without a matrix reads its bias at all steps.
    read = poisoned.weights.w_rec if poisoned.weights.w_rec.numel() else poisoned.weights.bias
    read[2].view(-1)[0] = torch.nan
    sick = poisoned.everything(engine)
    for key, value in whole.items():
        assert torch.isfinite(value).all(), key
        assert torch.equal(turned[key], value[order]), key
        assert torch.equal(torch.cat([one[key] for one in alone]), value), key
        healthy = [0, 1, 3, 4]
        assert torch.equal(sick[key][healthy], value[healthy]), key
    assert torch.isnan(sick["h"][2]).any()
