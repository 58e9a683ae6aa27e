"""The promises of `Engine` for cells that formulas describe, for every engine; oracle: one row in torch, autograd.

What a step does is written down here once more, as the papers have it, for one row and without blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import CellEngine
from rnnsweep.core.recurrence.continuous import (
    EulerCell,
    GatedIncrementCell,
    IncrementCell,
    MinimalGateCell,
    OscillatorCell,
    SharedGatesCell,
)
from rnnsweep.core.recurrence.cpu.engine.described import DescribedEngine
from rnnsweep.core.recurrence.descent import GradientDescentCell, HeavyBallCell, NesterovCell
from rnnsweep.core.recurrence.described_cells import DescribedCell
from rnnsweep.core.recurrence.diagonal import OwnUnitsReluCell, OwnUnitsTanhCell, PairedCell
from rnnsweep.core.recurrence.exponential_gates import ExponentialForgetCell, ScalarMemoryCell
from rnnsweep.core.recurrence.gated_cells import LongMemoryCell
from rnnsweep.core.recurrence.known_formulas import FORMULAS
from rnnsweep.core.recurrence.modrelu import ComplexModReluCell
from rnnsweep.core.recurrence.oscillators import LinearOscillatorCell, UndampedCell
from rnnsweep.core.types import Direct, LoopGradients, LoopWeights, Record, Trace
from tests.contract.test_engines import assert_close, tensors_of
from tests.kit.strangers import assert_rows_are_strangers, assert_short_rows_are_shorter_packs

F64 = torch.float64
NONE = ACTIVATIONS["identity"]
ENGINES = {"reference": CellEngine, "cpu": DescribedEngine}
StateAfter = Callable[[Tensor, Tensor, Tensor, Mapping[str, Tensor]], Tensor]


def coupled_oscillators(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Rusch, Mishra (2021): y'' = tanh(a + d) - gamma y - epsilon y', the new velocity in y's step."""
    y, z = s.chunk(2, -1)
    velocity = z + own["dt"] * (torch.tanh(a + d) - own["gamma"] * y - own["epsilon"] * z)
    return torch.cat((y + own["dt"] * velocity, velocity), -1)


def lipschitz(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Erichson et al. (2021): h' = h A + tanh(h W + d), by Euler's rule."""
    linear, inner = a.chunk(2, -1)
    return s + own["step"] * (linear + torch.tanh(inner + d))


def antisymmetric(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Chang et al. (2019), eq. 11."""
    return s + own["step"] * torch.tanh(a + d)


def minimal_gate(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Feng et al. (2024), section 3.1."""
    del a, own
    z, n = d.chunk(2, -1)
    return (1 - torch.sigmoid(z)) * s + torch.sigmoid(z) * n


def undamped(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Rusch, Mishra (2021), UnICORNN, eq. 4."""
    del a
    y, z = s.chunk(2, -1)
    velocity = z - own["step"] * (torch.tanh(own["w"] * y + d) + own["alpha"] * y)
    return torch.cat((y + own["step"] * velocity, velocity), -1)


def linear_oscillators(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Rusch, Rus (2025), eq. 3 and 5."""
    del a
    y, z = s.chunk(2, -1)
    velocity = own["shrink"] * (z + own["dt"] * (d - own["stiffness"] * y))
    return torch.cat((y + own["dt"] * velocity, velocity), -1)


def complex_modrelu(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Arjovsky et al. (2016), eq. 8, with the constants of Maduranga et al. (2019)."""
    del s
    z = torch.complex(*(a + d).chunk(2, -1))
    size = torch.sqrt(z.real**2 + z.imag**2 + 1e-5)
    h = z * (torch.relu(size + own["act_bias"]) / (size + 1e-5))
    return torch.cat((h.real, h.imag), -1)


def energy_gradient(a: Tensor, d: Tensor, h: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Of |h - relu(h W + d)|^2 / 2 (Zhang et al. 2021); the W of its second product is a matrix of its own here."""
    x = a + d
    residual = h - torch.relu(x)
    return residual - (residual * (x > 0)) @ own["w_back"].T


def paired(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """A product with the whole matrix."""
    del a
    quarters = [torch.diag(own[name]) for name in ("pp", "pq", "qp", "qq")]
    return s @ torch.cat((torch.cat(quarters[:2], 1), torch.cat(quarters[2:], 1)), 0) + d


def own_units(f: Callable[[Tensor], Tensor]) -> StateAfter:
    """Li et al. (2018), IndRNN, eq. 2."""
    return lambda a, d, s, own: f(own["w"] * s + d)


def descent(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    return s - own["eta"] * energy_gradient(a, d, s, own)


def heavy_ball(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    h, v = s.chunk(2, -1)
    v = own["mu"] * v - own["eta"] * energy_gradient(a, d, h, own)
    return torch.cat((h + v, v), -1)


def nesterov(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    h, before = s.chunk(2, -1)
    v = h - own["eta"] * energy_gradient(a, d, h, own)
    return torch.cat((v + own["mu"] * (v - before), v), -1)


def gated_increment(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Chang et al. (2019), eq. 12-13."""
    gate, new = d.chunk(2, -1)
    return s + own["step"] * torch.sigmoid(a + gate) * torch.tanh(a + new)


def long_memory(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Rusch et al. (2022), eq. 3."""
    (y, z), H = s.chunk(2, -1), s.shape[-1] // 2
    first, second = (own["dt"] * torch.sigmoid(x) for x in (a + d[:, : 3 * H])[:, : 2 * H].chunk(2, -1))
    z = (1 - first) * z + first * torch.tanh(a[:, 2 * H :] + d[:, 2 * H : 3 * H])
    y = (1 - second) * y + second * torch.tanh(z @ own["w_y"] + d[:, 3 * H :])
    return torch.cat((y, z), -1)


def shared_gates(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Feng et al. (2024), section 3.2."""
    del a, own
    f, i, new = d.chunk(3, -1)
    total = torch.sigmoid(f) + torch.sigmoid(i)
    return torch.sigmoid(f) / total * s + torch.sigmoid(i) / total * new


def scalar_memory(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """Beck et al. (2024), eq. 8-17, with the forget gate's logarithm in float64's own way."""
    del own
    return exponential_memory(torch.nn.functional.logsigmoid, a + d, s)


def exponential_forget(a: Tensor, d: Tensor, s: Tensor, own: Mapping[str, Tensor]) -> Tensor:
    """The same with f an exponential."""
    del own
    return exponential_memory(lambda f: f, a + d, s)


def exponential_memory(log_forget: Callable[[Tensor], Tensor], x: Tensor, s: Tensor) -> Tensor:
    i, f, z, o = x.chunk(4, -1)
    _, c, n, m = s.chunk(4, -1)
    log_f = log_forget(f)
    new_m = torch.where(n == 0, i, torch.maximum(log_f + m, i))
    keep = torch.where(n == 0, torch.ones_like(m), torch.exp(log_f + m - new_m))
    write = torch.exp(i - new_m)
    c, n = keep * c + write * torch.tanh(z), keep * n + write
    return torch.cat((torch.sigmoid(o) * c / n, c, n, new_m), -1)


@dataclass(frozen=True)
class Kind:
    """A cell and its oracle.

    Attributes:
        cell: built with a number of hidden units. after: the next state of one row's samples.
        numbers, vectors: the cell's own parameters, of one number and of a block each; in (0.1, 0.6). signed: vectors
            around 0.
        matrix: name of the cell's own matrix, or empty.
        smallest: number of hidden units of the smallest one, of which others are multiples.
        positive: block of the state that never is below 0, where there is one.
    """

    cell: type[DescribedCell]
    after: StateAfter
    numbers: tuple[str, ...] = ()
    vectors: tuple[str, ...] = ()
    signed: tuple[str, ...] = ()
    matrix: str = ""
    smallest: int = 1
    positive: int | None = None


KINDS = {
    "cornn": Kind(OscillatorCell, coupled_oscillators, ("dt", "gamma", "epsilon")),
    "lipschitz": Kind(EulerCell, lipschitz, ("step",)),
    "antisymmetric": Kind(IncrementCell, antisymmetric, ("step",)),
    "mingru": Kind(MinimalGateCell, minimal_gate),
    "unicornn": Kind(UndampedCell, undamped, ("alpha",), ("w", "step")),
    "linoss": Kind(LinearOscillatorCell, linear_oscillators, (), ("stiffness", "dt", "shrink")),
    "scurnn": Kind(ComplexModReluCell, complex_modrelu, signed=("act_bias",), smallest=2),
    "paired": Kind(PairedCell, paired, (), ("pp", "pq", "qp", "qq")),
    "indrnn": Kind(OwnUnitsReluCell, own_units(torch.relu), (), ("w",)),
    "indrnn tanh": Kind(OwnUnitsTanhCell, own_units(torch.tanh), (), ("w",)),
    "gated antisymmetric": Kind(GatedIncrementCell, gated_increment, ("step",)),
    "lem": Kind(LongMemoryCell, long_memory, ("dt",), matrix="w_y"),
    "min_lstm": Kind(SharedGatesCell, shared_gates),
    "slstm": Kind(ScalarMemoryCell, scalar_memory, positive=2),
    "slstm exp": Kind(ExponentialForgetCell, exponential_forget, positive=2),
    "sbo": Kind(GradientDescentCell, descent, ("eta",), matrix="w_back"),
    "sbo heavy": Kind(HeavyBallCell, heavy_ball, ("eta", "mu"), matrix="w_back"),
    "sbo nesterov": Kind(NesterovCell, nesterov, ("eta", "mu"), matrix="w_back"),
}


class Case:
    """A pack with everything in it: parameters, inputs or drives, lengths, direct gradients; drawn from a seed."""

    def __init__(self, kind="cornn", shape=(3, 7, 4, 6, 2), *, steps=False, driven=True, wide=False, dtype=F64, seed=0):
        rng = torch.Generator().manual_seed(seed)
        P, T, B, H, I = shape  # noqa: E741
        self.kind = KINDS[kind]
        H += -H % self.kind.smallest
        self.P, self.T, self.B, self.H, self.I = P, T, B, H, I

        def normal(*size):
            return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

        def share(*size):
            return (0.1 + 0.5 * torch.rand(*size, generator=rng, dtype=F64)).to(dtype)

        self.cell = cell = self.kind.cell(H)
        numbers = {name: share(P, 1) for name in self.kind.numbers}
        signed = {name: normal(P, cell.units) * 0.5 for name in self.kind.signed}
        matrices = {self.kind.matrix: 0.3 * normal(P, H, H) / H**0.5} if self.kind.matrix else {}
        self.weights = LoopWeights(
            # small, so that errors of forty steps of the unstable ones do not outgrow float32's digits
            w_rec=0.3 * normal(P, cell.recurrent, cell.product) / H**0.5,
            w_in=normal(P, I, cell.drive) if driven else None,
            bias=normal(P, cell.drive) * 0.3,
            h0=normal(P, cell.state if wide else H),
            cell=numbers | signed | matrices | {name: share(P, cell.units) for name in self.kind.vectors},
        )
        if wide and self.kind.positive is not None:
            n = self.weights.h0[:, self.kind.positive * H :][:, :H]
            n.copy_(torch.where(n > 1, torch.zeros_like(n), n.abs()))  # some have written nothing yet
        self.inputs = normal(P, T, B, I if driven else cell.drive)
        self.lengths = torch.tensor([T - (p * 2) % T for p in range(P)])
        own = (torch.arange(T) >= (T - self.lengths)[:, None])[..., None, None]  # a direct part before the start is 0
        seen = cell.state if wide else H
        self.direct = Direct(steps=normal(P, T, B, seen) * own) if steps else Direct(last=normal(P, B, seen))

    def rows(self, index) -> Case:
        """The same rows in another pack."""
        other = object.__new__(type(self))
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

    def run(self, engine: Engine) -> tuple[Trace, dict[str, Tensor]]:
        """Forward and backward; all results by name."""
        record = self.record(engine)
        grads, trace = engine.backward(record, self.direct, NONE)
        assert trace is not None
        return trace, {**named(grads), "h": record.h, "delta": trace.delta, "x": trace.x, "g": trace.totals()}

    def everything(self, engine: Engine) -> dict[str, Tensor]:
        """Results of all methods, as the training core uses them."""
        trace, found = self.run(engine)
        short, none = engine.backward(trace.record, self.direct, NONE, keep=False)
        assert none is None
        found |= {f"lean.{name}": value for name, value in named(short).items()}
        norms = engine.square_norms(trace.x)
        found["norms"] = norms
        if self.cell.product:
            found["omega"] = engine.outer(trace.x[..., : self.cell.recurrent], trace.delta, norms)
        found["matmul"] = engine.matmul(trace.record.h[:, -1], trace.x[:, 0].transpose(1, 2).contiguous())
        return found


def named(grads: LoopGradients) -> dict[str, Tensor]:
    return {**tensors_of(grads), **grads.cell}


def build(engine: str, case: Case, threads: int | None = None) -> Engine:
    """An engine for the case's cell; skips where this machine has no such loops."""
    torch.set_num_threads(1)
    found = CellEngine(case.cell) if engine == "reference" else DescribedEngine(case.cell, threads)
    reason = found.refuses(NONE, F64)
    if reason:
        pytest.skip(f"engine {engine}: {reason}")
    return found


def one_row(case: Case, p: int) -> dict[str, Tensor]:
    """Row p alone, its own steps only, by autograd: every total derivative from a tensor of its own."""
    own, w, cell = int(case.lengths[p]), case.weights, case.cell
    leaf = {name: value[p].clone().requires_grad_() for name, value in {**tensors_of(w), **w.cell}.items()}
    drives = case.inputs[p, case.T - own :].clone().requires_grad_()
    start = torch.nn.functional.pad(leaf["h0"], (0, cell.state - leaf["h0"].numel())).expand(case.B, -1)
    states, pre, cost = [start.clone()], [], torch.zeros((), dtype=F64)
    for t in range(own):
        d = (drives[t] @ leaf["w_in"] if "w_in" in leaf else drives[t]) + leaf["bias"]
        a = states[-1][:, : cell.recurrent] @ leaf["w_rec"]
        if cell.product:
            a.retain_grad()
        s = case.kind.after(a, d, states[-1], {name: leaf[name] for name in w.cell})
        s.retain_grad()
        pre, states = [*pre, a], [*states, s]
        if case.direct.steps is not None:
            direct = case.direct.steps[p, case.T - own + t]
            cost = cost + (direct * s[:, : direct.shape[-1]]).sum()
    if case.direct.last is not None:
        cost = (case.direct.last[p] * states[-1][:, : case.direct.last.shape[-1]]).sum()
    cost.backward()
    # what is a constant of the family has no gradient here
    trained = {"w_rec", "w_in", "bias", "h0", case.kind.matrix, *cell.formulas.trained}
    found = {name: value.grad for name, value in leaf.items() if name in trained and value.numel()}
    if "w_in" not in leaf:
        found["inputs"] = drives.grad
    found |= {"h": torch.stack(states).detach(), "g": torch.stack([s.grad for s in states[1:]])}
    return found | ({"delta": torch.stack([a.grad for a in pre])} if cell.product else {})


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
    for name in set(case.weights.cell) - {case.kind.matrix, *case.cell.formulas.trained}:
        assert (found[name] == 0).all(), name


def test_every_description_is_here() -> None:
    assert {type(kind.cell(kind.smallest).formulas) for kind in KINDS.values()} == set(FORMULAS)
    for kind in KINDS.values():
        formulas = kind.cell(kind.smallest).formulas
        assert ({*kind.numbers, *kind.vectors, *kind.signed}, kind.matrix) == (set(formulas.own), formulas.matrix)
        assert set(formulas.trained) <= set(formulas.own)
        assert bool(formulas.made) == bool(kind.cell.read)


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("kind", list(KINDS))
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("driven", [False, True])
def test_equals_one_row_reference(engine: str, kind: str, steps: bool, driven: bool, wide: bool) -> None:
    check_against_one_row(engine, Case(kind, steps=steps, driven=driven, wide=wide))
    check_against_one_row(engine, Case(kind, (2, 3, 2, 18, 1), steps=steps, driven=driven, wide=wide, seed=1))


@pytest.mark.parametrize("flags", [{}, {"steps": True, "wide": True}, {"driven": False, "steps": True}])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("kind", list(KINDS))
def test_rows_are_strangers(engine: str, kind: str, flags: dict[str, bool], dtype: torch.dtype) -> None:
    case = Case(kind, (5, 6, 3, 22, 3), dtype=dtype, **flags)
    assert_rows_are_strangers(case, build(engine, case))


@pytest.mark.parametrize("flags", [{}, {"steps": True, "wide": True}, {"driven": False}])
@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("kind", list(KINDS))
def test_short_rows_are_shorter_packs(engine: str, kind: str, flags: dict[str, bool]) -> None:
    case = Case(kind, (3, 9, 4, 16, 3), **flags)
    assert_short_rows_are_shorter_packs(
        case, build(engine, case), ("w_rec", "w_in", "bias", "h0", *case.weights.cell), assert_close
    )


@pytest.mark.parametrize("engine", list(ENGINES))
@pytest.mark.parametrize("kind", list(KINDS))
def test_what_lies_before_a_row_is_not_read(engine: str, kind: str) -> None:
    case = Case(kind, (2, 5, 3, 7, 2))
    case.lengths = torch.tensor([2, 5])
    runs = build(engine, case)
    _, want = case.run(runs)
    case.inputs[0, :3] = torch.nan if engine == "cpu" else 1e30
    _, found = case.run(runs)
    assert all(torch.equal(found[key], want[key]) for key in ("w_rec", "bias", "h0", "h", "delta", "x"))
