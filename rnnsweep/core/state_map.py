"""The loops of a pack of trained rows as one differentiable map, and its derivatives; all rows at once.

    s_{t+1} = F(s_t, d_t),    J = dF/ds,    d_t = u_t W_in + b

For analyses, and for learning rules that look at J. Analyses take any `StateMap`, not only networks: a map of which a
value is published can be put in its place. Shapes: see `core.types`; S entries of the whole state, D of a drive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import pad

from rnnsweep.core import numerics
from rnnsweep.core.families.base import Family, path_of
from rnnsweep.errors import ConfigError

State = Float[Tensor, "P B S"]
Drive = Float[Tensor, "P B D"]


@runtime_checkable
class StateMap(Protocol):
    """One step of P dynamical systems, B states of each.

    Promises: differentiable in the state; neither rows nor states of one row mix.
    """

    def __call__(self, state: State, drive: Drive) -> State:
        """The next states."""
        ...


class LoopMap:
    """The `StateMap` of a family's loop, with constant weights.

    A state is whole: gates' memories and what an input filter remembers are entries of it.

    Attributes:
        size: S. loop_size: those of them that are the loop's; the rest is what an input filter remembers.

    Numerics:
        Products as in `numerics.matmul`: a row's numbers do not depend on the rows beside it.
    """

    def __init__(
        self, family: Family, values: Mapping[str, Float[Tensor, "P ..."]], hypers: Mapping[str, Float[Tensor, " P"]]
    ) -> None:
        """Fold rows.

        Args:
            family: of all rows. values: raw parameters. hypers: the family's per-row hyperparameters and state.

        Raises:
            ConfigError: the family has no step from one state to the next.
        """
        path = path_of(family)
        kept = {"zoneout", "zoneout_cell"} & set(family.random)
        if kept or (family.layer_norm and family.cell is None):
            what = min(kept, default="layer_norm")
            problem = f"the map of a state of the family {family.unit_name} is not known with it"
            raise ConfigError(problem, key=f"family.{what}", value=getattr(family, what), allowed="another sweep")
        if path is None and family.feeds:
            whole = "reads sequences from both ends" if family.bidirectional else "filters whole sequences"
            problem = f"the family {family.unit_name} {whole} and has no step from a state to the next"
            raise ConfigError(problem, key="family", allowed="a family without such a filter, or with an input_path")
        weights = family.weights(values, hypers)
        self._path_constants: dict[str, Tensor] = {}
        if path is not None:
            constants = path.constants(values, hypers)
            self._path_constants = {name: part[:, None] if part.ndim == 2 else part for name, part in constants.items()}
            weights = path.affine(values, hypers, weights)
        # P K -> P 1 K; matrices go as they are
        self._own = {name: part[:, None] if part.ndim == 2 else part for name, part in weights.cell.items()}
        self._act_bias = None if weights.act_bias is None else weights.act_bias[:, None]
        self._leak = None if weights.leak is None else weights.leak[:, None, None]
        self._visible = family.visible
        self._cell, self._activation, self._path, self._weights = family.cell, family.cell_activation, path, weights
        self.loop_size = weights.w_rec.shape[-1] if self._cell is None else self._cell.state
        memory = 0 if path is None else path.memory(0 if weights.w_in is None else weights.w_in.shape[-1])
        self.size = self.loop_size + memory

    def __call__(self, state: State, drive: Drive) -> State:
        """The states after one step."""
        s, memory = state[..., : self.loop_size], state[..., self.loop_size :]
        if self._path is not None:
            drive, memory = self._path.step(self._path_constants, drive, memory)
        s = self._moved(s, drive)
        return s if self._path is None else torch.cat((s, memory), -1)

    def shown(self, states: Float[Tensor, "... S"]) -> Float[Tensor, "... H"]:
        """What the read-out sees of whole states."""
        visible = self._visible(states[..., : self.loop_size])
        return visible if self._path is None else self._path.shown(visible, states[..., self.loop_size :])

    def drives(self, inputs: Float[Tensor, "P T B I"]) -> Float[Tensor, "P T B D"]:
        """What each step adds to the pre-activations: u_t W_in + b."""
        w, drive = self._weights, inputs
        if w.w_in is not None:
            drive = numerics.matmul(inputs.flatten(1, 2), w.w_in).unflatten(1, inputs.shape[1:3])
        return drive if w.bias is None else drive + w.bias[:, None, None]

    def initial_state(self, batch: int) -> State:
        """The states in which sequences begin."""
        state = self._weights.w_rec.new_zeros(len(self._weights.w_rec), batch, self.size)
        h0 = self._weights.h0
        # h_0 may be narrower than a cell's state: its memory begins at 0
        state = state if h0 is None else state + pad(h0, (0, self.size - h0.shape[-1]))[:, None]
        kept = None if self._path is None else self._path.first(self._path_constants)
        return state if kept is None else torch.cat((state[..., : self.loop_size], kept.expand(-1, batch, -1)), -1)

    def states(self, drives: Float[Tensor, "P T B D"]) -> Float[Tensor, "P T1 B S"]:
        """The trajectories under these drives; index 0 is the first state."""
        state = self.initial_state(drives.shape[2])
        found = [state]
        for t in range(drives.shape[1]):
            found.append(self(found[-1], drives[:, t]))
        return torch.stack(found, 1)

    def _moved(self, s: Tensor, drive: Tensor) -> Tensor:
        w = self._weights
        if self._cell is not None:
            return self._cell.moved(s, drive, w.w_rec, self._own)[0]
        y = self._activation.value(numerics.matmul(s, w.w_rec) + drive, self._act_bias)
        return y if self._leak is None else (1 - self._leak) * s + self._leak * y


def jacobian(step: StateMap, state: State, drive: Drive) -> Float[Tensor, "P B S S"]:
    """J[..., i, j] = d s'_i / d s_j of one step, for all rows and states in one pass.

    Numerics:
        Each state is copied S times, and copy i is pulled back with the unit vector i: states do not mix, so that one
        backward pass has all lines of all matrices.
    """
    P, B, S = state.shape
    with torch.enable_grad():
        copies = state.detach().repeat_interleave(S, 1).requires_grad_()  # P BS S
        new = step(copies, drive.repeat_interleave(S, 1))
        lines = torch.eye(S, dtype=state.dtype, device=state.device).repeat(B, 1).expand(P, -1, -1)
        (pulled,) = torch.autograd.grad(new, copies, lines, materialize_grads=True)
    return pulled.unflatten(1, (B, S))  # P BS S -> P B S S


_DOUBLINGS = 10


def spectral_norms(x: Float[Tensor, "X N N"]) -> Float[Tensor, " X"]:
    """The largest singular value of each matrix; NaN where it is not finite.

    Numerics:
        Of the 1024th power of x^T x, by squaring, every column points along the largest singular vectors; |x v| of the
        longest is theirs, to 1e-12 where the next value is below 0.98 of it; else at least N^(-1/1000) of it.
        Products as in `numerics.matmul`: no bit depends on the matrices beside one.
    """
    size = x.detach().flatten(1).abs().amax(1)
    scaled = x / torch.where(size > 0, size, torch.ones_like(size))[:, None, None]
    power = numerics.matmul(scaled.transpose(1, 2).contiguous(), scaled)
    for _ in range(_DOUBLINGS):
        # before each squaring, so that nothing overflows: the largest entry of such a matrix is on its diagonal
        power = power / power.diagonal(dim1=1, dim2=2).amax(1).clamp_min(torch.finfo(x.dtype).tiny)[:, None, None]
        power = numerics.matmul(power, power)
    longest = power.diagonal(dim1=1, dim2=2).argmax(1)
    v = power.gather(2, longest[:, None, None].expand(-1, power.shape[1], 1))  # X N 1
    length = v.square().sum((1, 2)).sqrt()
    v = v / torch.where(length > 0, length, torch.ones_like(length))[:, None, None]
    return size * numerics.matmul(scaled, v)[..., 0].square().sum(1).sqrt()


def pushed(step: StateMap, state: State, drive: Drive, tangent: State) -> tuple[State, State]:
    """(The next states, J times the tangents), without a Jacobian.

    Numerics:
        J v is the derivative by w of (J^T w) v, which is linear in w: two backward passes.
    """
    with torch.enable_grad():
        at = state.detach().requires_grad_()
        new = step(at, drive)
        any_w = torch.zeros_like(new, requires_grad=True)
        (pulled,) = torch.autograd.grad(new, at, any_w, create_graph=True, materialize_grads=True)
        if not pulled.requires_grad:  # a constant map
            return new.detach(), torch.zeros_like(tangent)
        (moved,) = torch.autograd.grad(pulled, any_w, tangent, materialize_grads=True)
    return new.detach(), moved


def product(left: Float[Tensor, "P B M K"], right: Float[Tensor, "P B K N"]) -> Float[Tensor, "P B M N"]:
    """Products of as many matrices, each as if it were alone; see `numerics.matmul`."""
    return numerics.matmul(left.flatten(0, 1), right.flatten(0, 1)).unflatten(0, left.shape[:2])
