"""Rows of a pack are strangers: not one bit of a row depends on its neighbours, whatever they hold."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch

from rnnsweep.core.types import Direct

Close = Callable[[torch.Tensor, torch.Tensor, float, str], None]
"""Compares (found, true, tolerance, name)."""


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


def assert_short_rows_are_shorter_packs(case: Any, engine: Any, gradients: Sequence[str], close: Close) -> None:
    """A row that begins late has what it has alone in a pack of its own length: states and errors to the bit.

    Args:
        case: `rows(index)` picks some of its rows, `run(engine)` runs them and gives all results by name.
        gradients: names of those that are compared, within 1e-13, where there are such.
        close: compares.
    """
    _, found = case.run(engine)
    for p in range(case.P):
        own = int(case.lengths[p])
        short = case.rows(slice(p, p + 1))
        short.T, short.inputs = own, short.inputs[:, -own:].contiguous()
        if short.direct.steps is not None:
            short.direct = Direct(steps=short.direct.steps[:, -own:].contiguous())
        _, true = short.run(engine)
        assert torch.equal(found["h"][p, -own - 1 :], true["h"][0])
        for key in ("delta", "x"):
            assert torch.equal(found[key][p, -own:], true[key][0]), key
        for key in gradients:
            if key in true:
                close(found[key][p], true[key][0], 1e-13, key)
