"""Pull-back and first-order change of a map from raw parameters to the loop's matrix, by autograd."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from jaxtyping import Float
from torch import Tensor

Map = Callable[[Mapping[str, Float[Tensor, "P ..."]]], Float[Tensor, "P ..."]]


def pull(
    map_: Map, values: Mapping[str, Float[Tensor, "P ..."]], gradient: Float[Tensor, "P ..."]
) -> dict[str, Float[Tensor, "P ..."]]:
    """Gradients of the raw parameters `values` from the gradient of `map_(values)`; rows stay apart if `map_` does."""
    with torch.enable_grad():
        # Leaves of their own: nothing is recorded for the caller's tensors, which are views of one slab.
        live = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
        # allow_unused: a map need not read all that it is given; zeros stand for the rest.
        raw_gradients = torch.autograd.grad(map_(live), list(live.values()), gradient, allow_unused=True)
    return {
        name: torch.zeros_like(live[name]) if part is None else part
        for name, part in zip(live, raw_gradients, strict=True)
    }


def push(
    map_: Map, values: Mapping[str, Float[Tensor, "P ..."]], step: Mapping[str, Float[Tensor, "P ..."]]
) -> Float[Tensor, "P ..."]:
    """First-order change of `map_(values)` for a candidate step of the raw parameters.

    Numerics:
        Forward mode as the derivative of the pull-back in its gradient, which works for every operation that can be
        differentiated twice.
    """
    with torch.enable_grad():
        live = {name: value.detach().clone().requires_grad_() for name, value in values.items()}
        result = map_(live)
        # J^T dummy is linear in dummy: its derivative, weighted with the step, is J step, at 0 as anywhere.
        dummy = torch.zeros_like(result, requires_grad=True)
        back = torch.autograd.grad(result, list(live.values()), dummy, create_graph=True, allow_unused=True)
        # What the map does not read cannot move its result.
        used = [(part, step[name]) for name, part in zip(live, back, strict=True) if part is not None]
        total = torch.stack([(part * by).sum() for part, by in used]).sum()
        return torch.autograd.grad(total, dummy)[0]
