"""The promises of `Engine` for gated cells, for every engine that runs them; oracle: formulas of one row, autograd."""

from __future__ import annotations

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import CellEngine
from rnnsweep.core.recurrence.cpu.engine.gated import GatedEngine, GruEngine, LstmEngine
from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace
from tests.contract.test_engines import assert_close, tensors_of
from tests.kit.strangers import assert_rows_are_strangers, assert_short_rows_are_shorter_packs

F64 = torch.float64
NONE = ACTIVATIONS["identity"]
CELLS = {"lstm": LstmCell, "gru": GruCell}


def fused(cell: LstmCell | GruCell, threads: int | None = None) -> GatedEngine:
    """The fused engine of a gated cell."""
    return (LstmEngine if isinstance(cell, LstmCell) else GruEngine)(cell, threads)


ENGINES = {"reference": CellEngine, "cpu": fused}


class Case:
    """A pack with everything in it: parameters, inputs or drives, lengths, direct gradients; drawn from a seed."""

    def __init__(self, cell="lstm", shape=(3, 7, 4, 6, 2), *, steps=False, driven=True, wide=False, dtype=F64, seed=0):
        rng = torch.Generator().manual_seed(seed)
        self.name, (self.P, self.T, self.B, self.H, self.I) = cell, shape
        P, T, B, H, I = shape  # noqa: E741

        def normal(*size):
            return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

        self.cell = CELLS[cell](H)
        A, S = (4 if cell == "lstm" else 3) * H, self.cell.state
        self.weights = LoopWeights(
            w_rec=normal(P, H, A) / H**0.5,
            w_in=normal(P, I, A) if driven else None,
            bias=normal(P, A) * 0.3,
            h0=normal(P, S if wide else H),
            cell={} if cell == "lstm" else {"b_n": normal(P, H)},
        )
        self.inputs = normal(P, T, B, I if driven else A)
        self.lengths = torch.tensor([T - (p * 2) % T for p in range(P)])
        own = (torch.arange(T) >= (T - self.lengths)[:, None])[..., None, None]  # a direct part before the start is 0
        seen = S if wide else H
        self.direct = Direct(steps=normal(P, T, B, seen) * own) if steps else Direct(last=normal(P, B, seen))

    def rows(self, index) -> Case:
        """The same rows in another pack."""
        other = object.__new__(Case)
        other.__dict__.update(self.__dict__)
        pick = lambda x: None if x is None else x[index].contiguous()  # noqa: E731
        own = {name: pick(value) for name, value in self.weights.cell.items()}
        other.weights = LoopWeights(**{k: pick(v) for k, v in tensors_of(self.weights).items()}, cell=own)
        other.inputs, other.lengths = pick(self.inputs), pick(self.lengths)
        other.direct = Direct(pick(self.direct.last), pick(self.direct.steps))
        other.P = len(other.lengths)
        return other

    def record(self, engine: Engine) -> Record:
        return engine.forward(self.inputs, self.weights, NONE, self.lengths)

    def run(self, engine: Engine) -> tuple[Trace, dict[str, torch.Tensor]]:
        """Forward and backward; all results by name."""
        record = self.record(engine)
        grads, trace = engine.backward(record, self.direct, NONE)
        assert trace is not None
        return trace, {**named(grads), "h": record.h, "delta": trace.delta, "x": trace.x, "g": trace.totals()}

    def everything(self, engine: Engine) -> dict[str, torch.Tensor]:
        """Results of all methods, as the training core uses them."""
        trace, found = self.run(engine)
        short, none = engine.backward(trace.record, self.direct, NONE, keep=False)
        assert none is None
        found |= {f"lean.{name}": value for name, value in named(short).items()}
        norms = engine.square_norms(trace.x)
        found["norms"], found["omega"] = norms, engine.outer(trace.x[..., : self.H], trace.delta, norms)
        found["matmul"] = engine.matmul(trace.record.h[:, -1], trace.x[:, 0].transpose(1, 2).contiguous())
        return found


def named(grads: LoopGradients) -> dict[str, torch.Tensor]:
    return {**tensors_of(grads), **grads.cell}


def build(engine: str, case: Case) -> Engine:
    """An engine for the case's cell; skips where this machine has no such loops."""
    torch.set_num_threads(1)
    found = ENGINES[engine](case.cell)
    reason = found.refuses(NONE, F64)
    if reason:
        pytest.skip(f"engine {engine}: {reason}")
    return found


def state_after(case: Case, a: torch.Tensor, d: torch.Tensor, s: torch.Tensor, b_n: torch.Tensor | None):
    """torch.nn.LSTM's and torch.nn.GRU's documentation, written down."""
    H = case.H
    if case.name == "gru":
        assert b_n is not None
        r, z = torch.sigmoid(a[:, :H] + d[:, :H]), torch.sigmoid(a[:, H : 2 * H] + d[:, H : 2 * H])
        n = torch.tanh(d[:, 2 * H :] + r * (a[:, 2 * H :] + b_n))
        return (1 - z) * n + z * s
    i, f, g, o = (a + d).chunk(4, -1)
    c = torch.sigmoid(f) * s[:, H:] + torch.sigmoid(i) * torch.tanh(g)
    return torch.cat((torch.sigmoid(o) * torch.tanh(c), c), -1)


def one_row(case: Case, p: int) -> dict[str, torch.Tensor]:
    """Row p alone, its own steps only, by autograd: every total derivative from a tensor of its own."""
    own, w = int(case.lengths[p]), case.weights
    leaf = {name: value[p].clone().requires_grad_() for name, value in {**tensors_of(w), **w.cell}.items()}
    drives = case.inputs[p, case.T - own :].clone().requires_grad_()
    start = torch.nn.functional.pad(leaf["h0"], (0, case.cell.state - leaf["h0"].numel())).expand(case.B, -1)
    states, pre, cost = [start.clone()], [], torch.zeros((), dtype=F64)
    for t in range(own):
        d = (drives[t] @ leaf["w_in"] if "w_in" in leaf else drives[t]) + leaf["bias"]
        a = states[-1][:, : case.H] @ leaf["w_rec"]
        a.retain_grad()
        s = state_after(case, a, d, states[-1], leaf.get("b_n"))
        s.retain_grad()
        pre, states = [*pre, a], [*states, s]
        if case.direct.steps is not None:
            direct = case.direct.steps[p, case.T - own + t]
            cost = cost + (direct * s[:, : direct.shape[-1]]).sum()
    if case.direct.last is not None:
        cost = (case.direct.last[p] * states[-1][:, : case.direct.last.shape[-1]]).sum()
    cost.backward()
    found = {name: value.grad for name, value in leaf.items()}
    if "w_in" not in leaf:
        found["inputs"] = drives.grad
    found |= {"h": torch.stack(states).detach(), "g": torch.stack([s.grad for s in states[1:]])}
    return found | {"delta": torch.stack([a.grad for a in pre])}


def check_against_one_row(engine: str, case: Case, tolerance: float = 1e-11) -> None:
    trace, found = case.run(build(engine, case))
    for p in range(case.P):
        own = int(case.lengths[p])
        timed = {"h", "g", "delta", "inputs"}
        for name, true in one_row(case, p).items():
            mine = found[name][p, case.T - own :] if name in timed else found[name][p]
            assert_close(mine, true, tolerance, name)
        assert (trace.delta[p, : case.T - own] == 0).all()
        assert (found["x"][p, : case.T - own] == found["x"][p, case.T - own]).all()


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("cell", list(CELLS))
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("driven", [False, True])
def test_equals_one_row_reference(engine: str, cell: str, steps: bool, driven: bool, wide: bool) -> None:
    check_against_one_row(engine, Case(cell, steps=steps, driven=driven, wide=wide))
    check_against_one_row(engine, Case(cell, (2, 3, 2, 18, 1), steps=steps, driven=driven, wide=wide, seed=1))


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("cell", list(CELLS))
def test_equals_torch(engine: str, cell: str) -> None:
    """torch.nn.LSTM and torch.nn.GRU with one row's weights: states and all gradients."""
    case = Case(cell, (2, 8, 5, 13, 3), steps=True)
    case.lengths = torch.full((2,), 8)
    _, found = case.run(build(engine, case))
    w, H = case.weights, case.H
    module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[cell](case.I, H).double()
    for p in range(2):
        assert w.w_in is not None
        assert w.bias is not None
        assert w.h0 is not None
        hidden_bias = torch.zeros_like(w.bias[p])
        if cell == "gru":
            hidden_bias[2 * H :] = w.cell["b_n"][p]
        values = {"weight_ih_l0": w.w_in[p].T, "weight_hh_l0": w.w_rec[p].T, "bias_ih_l0": w.bias[p]}
        live = {k: v.clone().requires_grad_() for k, v in {**values, "bias_hh_l0": hidden_bias}.items()}
        h0 = w.h0[p].expand(1, case.B, H).contiguous()
        start = (h0, torch.zeros_like(h0)) if cell == "lstm" else h0
        h, _ = torch.func.functional_call(module, live, (case.inputs[p], start))
        assert_close(found["h"][p, 1:, :, :H], h, 1e-12, "h")
        (case.direct.steps[p] * h).sum().backward()  # type: ignore[index]
        mine = {"weight_ih_l0": found["w_in"][p].T, "weight_hh_l0": found["w_rec"][p].T, "bias_ih_l0": found["bias"][p]}
        for name, value in mine.items():
            assert_close(value, live[name].grad, 1e-12, name)
        if cell == "gru":
            assert_close(found["b_n"][p], live["bias_hh_l0"].grad[2 * H :], 1e-12, "b_n")


@pytest.mark.parametrize("flags", [{}, {"steps": True, "wide": True}, {"driven": False, "steps": True}])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("cell", list(CELLS))
def test_rows_are_strangers(engine: str, cell: str, flags: dict[str, bool], dtype: torch.dtype) -> None:
    case = Case(cell, (5, 6, 3, 22, 3), dtype=dtype, **flags)
    assert_rows_are_strangers(case, build(engine, case))


@pytest.mark.parametrize("flags", [{}, {"steps": True, "wide": True}, {"driven": False}])
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("cell", list(CELLS))
def test_short_rows_are_shorter_packs(engine: str, cell: str, flags: dict[str, bool]) -> None:
    case = Case(cell, (3, 9, 4, 16, 3), **flags)
    assert_short_rows_are_shorter_packs(case, build(engine, case), ("w_rec", "w_in", "bias", "h0", "b_n"), assert_close)


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("cell", list(CELLS))
def test_what_lies_before_a_row_is_not_read(engine: str, cell: str) -> None:
    case = Case(cell, (2, 5, 3, 7, 2))
    case.lengths = torch.tensor([2, 5])
    runs = build(engine, case)
    _, want = case.run(runs)
    case.inputs[0, :3] = torch.nan if engine == "cpu" else 1e30
    _, found = case.run(runs)
    assert all(torch.equal(found[key], want[key]) for key in ("w_rec", "bias", "h0", "h", "delta", "x"))
