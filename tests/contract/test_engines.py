"""The promises of `Engine`, for every engine there is; oracle: explicit loops over one row with torch's autograd."""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import fields, replace

import pytest
import torch

from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.types import Direct, LoopWeights, Record, Trace
from tests.kit.strangers import assert_rows_are_strangers

F64 = torch.float64
KNOWN = {
    "reference": ("rnnsweep.core.recurrence.reference", "ReferenceEngine"),
    "cpu": ("rnnsweep.core.recurrence.cpu.engine.simple", "CpuEngine"),
}


def build(name: str) -> Engine:
    module, cls = KNOWN[name]
    return getattr(importlib.import_module(module), cls)()


def usable(name: str) -> Engine:
    """An engine on one thread; skips where this machine's processor has no such loops."""
    torch.set_num_threads(1)
    found = build(name)
    reason = found.refuses(ACTIVATIONS["tanh"], F64)
    if reason:
        pytest.skip(f"engine {name}: {reason}")
    return found


@pytest.fixture(scope="module", params=list(KNOWN))
def engine(request: pytest.FixtureRequest) -> Engine:
    return usable(request.param)


def tensors_of(record: object) -> dict[str, torch.Tensor]:
    """The tensors among the fields of a dataclass."""
    # not `vars`: a matrix may be formed when it is asked for
    found = {item.name: getattr(record, item.name) for item in fields(record)}
    return {name: value for name, value in found.items() if isinstance(value, torch.Tensor)}


class Case:
    """A pack with everything in it: parameters, inputs, lengths, direct gradients, a step; drawn from a seed."""

    def __init__(self, name="tanh", shape=(3, 7, 4, 6, 2), *, leak=False, steps=False, driven=True, dtype=F64, seed=0):
        rng = torch.Generator().manual_seed(seed)
        self.P, self.T, self.B, self.H, self.I = P, T, B, H, I = shape  # noqa: E741

        def normal(*size):
            return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

        self.act = ACTIVATIONS[name]
        self.weights = LoopWeights(
            w_rec=normal(P, H, H) * 0.8 / H**0.5,
            w_in=normal(P, I, H) if driven else None,
            bias=normal(P, H) * 0.3,
            act_bias=normal(P, H) * 0.3 if self.act.has_bias else None,
            h0=normal(P, H),
            leak=torch.rand(P, generator=rng, dtype=F64).to(dtype) * 0.6 + 0.2 if leak else None,
        )
        self.inputs = normal(P, T, B, I if driven else H)
        self.lengths = torch.tensor([T - (p * 2) % T for p in range(P)])
        own = (torch.arange(T) >= (T - self.lengths)[:, None])[..., None, None]  # a direct part before the start is 0
        self.direct = Direct(steps=normal(P, T, B, H) * own) if steps else Direct(last=normal(P, B, H))
        self.step = normal(P, H, H) * 0.1

    def rows(self, index) -> Case:
        """The same rows in another pack."""
        other = object.__new__(Case)
        other.__dict__.update(self.__dict__)
        pick = lambda x: None if x is None else x[index].contiguous()  # noqa: E731
        other.weights = LoopWeights(**{k: pick(v) for k, v in tensors_of(self.weights).items()})
        other.inputs, other.lengths, other.step = pick(self.inputs), pick(self.lengths), pick(self.step)
        other.direct = Direct(pick(self.direct.last), pick(self.direct.steps))
        return other

    def run(self, engine: Engine) -> tuple[Record, Trace, dict[str, torch.Tensor]]:
        """Forward and backward; all results by name."""
        record = engine.forward(self.inputs, self.weights, self.act, self.lengths)
        grads, trace = engine.backward(record, self.direct, self.act)
        assert trace is not None
        found = tensors_of(grads)
        return record, trace, {**found, "h": record.h, "delta": trace.delta, "x": trace.x, "g": trace.totals()}

    def everything(self, engine: Engine) -> dict[str, torch.Tensor]:
        """Results of all methods of the contract."""
        record, trace, found = self.run(engine)
        horizon = (self.lengths - 1).clamp(min=1)
        tangent = engine.tangent(trace, self.step, horizon, self.act)
        found |= {f"tangent.{k}": v for k, v in vars(tangent).items()}
        weight = trace.x.square().mean(-1)
        found["outer"] = engine.outer(trace.x, trace.delta, weight)
        found["outer_plain"] = engine.outer(self.inputs, trace.delta)
        found["norms"] = engine.square_norms(trace.x)
        found["matmul"] = engine.matmul(
            self.inputs.flatten(1, 2),
            trace.x[:, 0, :, :1].transpose(1, 2).expand(-1, self.inputs.shape[-1], -1).contiguous(),
        )
        short, _ = engine.backward(record, self.direct, self.act, keep=False)
        return found | {f"lean.{k}": v for k, v in tensors_of(short).items()}


def plain(name: str, a: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    """The activations of docs/maths.md#activations, as one would write them down."""
    if name == "oplu":
        even, odd = a[..., 0::2], a[..., 1::2]
        return torch.stack((torch.maximum(even, odd), torch.minimum(even, odd)), -1).flatten(-2)
    if name == "modrelu":
        assert bias is not None
        return torch.sign(a) * torch.relu(a.abs() + bias)
    table = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "identity": lambda v: v * 1.0}
    table |= {"leaky_relu": lambda v: torch.where(v > 0, v, 0.01 * v)}
    table |= {"elu": lambda v: torch.where(v > 0, v, torch.expm1(v))}
    return table[name](a)


def one_row(case: Case, p: int) -> dict[str, torch.Tensor]:
    """Row p alone, its own steps only, by docs/maths.md#notation and autograd: derivatives from tensors of its own."""
    own = int(case.lengths[p])
    leaf = {k: v[p].clone().requires_grad_() for k, v in tensors_of(case.weights).items() if k != "leak"}
    leak = 1.0 if case.weights.leak is None else float(case.weights.leak[p])
    state = leaf["h0"].expand(case.B, case.H).clone()
    states, pre, cost = [state], [], torch.zeros((), dtype=F64)
    for t in range(case.T - own, case.T):
        u = case.inputs[p, t]
        drive = u @ leaf["w_in"] if "w_in" in leaf else u
        a = states[-1] @ leaf["w_rec"] + drive + leaf["bias"]
        a.retain_grad()
        state = (1 - leak) * states[-1] + leak * plain(case.act.name, a, leaf.get("act_bias"))
        state.retain_grad()
        pre, states = [*pre, a], [*states, state]
        if case.direct.steps is not None:
            cost = cost + (case.direct.steps[p, t] * state).sum()
    if case.direct.last is not None:
        cost = (case.direct.last[p] * state).sum()
    cost.backward()
    found = {k: v.grad for k, v in leaf.items()}
    found |= {"h": torch.stack(states).detach(), "g": torch.stack([s.grad for s in states[1:]])}
    return found | {"delta": torch.stack([a.grad for a in pre])}


def assert_close(mine: torch.Tensor, true: torch.Tensor, tolerance: float, what: str) -> None:
    assert mine.shape == true.shape, what
    if not true.numel():  # errors of a product that a loop does not have
        return
    error = (mine - true).abs().max().item() / max(1.0, true.abs().max().item())
    assert error <= tolerance, f"{what}: {error:.2e}"


def check_against_one_row(engine: Engine, case: Case, tolerance: float = 1e-10) -> None:
    record, trace, found = case.run(engine)
    for p in range(case.P):
        own = int(case.lengths[p])
        true = one_row(case, p)
        for name in ("w_rec", "w_in", "bias", "act_bias", "h0"):
            if name in found:
                assert_close(found[name][p], true[name], tolerance, name)
        assert_close(record.h[p, case.T - own :], true["h"], tolerance, "h")
        assert_close(found["g"][p, case.T - own :], true["g"], tolerance, "g")
        assert_close(trace.delta[p, case.T - own :], true["delta"], tolerance, "delta")
        assert (trace.delta[p, : case.T - own] == 0).all()


@pytest.mark.parametrize("leak", [False, True])
@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_equals_one_row_reference(engine: Engine, name: str, steps: bool, leak: bool) -> None:
    check_against_one_row(engine, Case(name, leak=leak, steps=steps))
    check_against_one_row(engine, Case(name, (2, 3, 2, 18, 1), leak=leak, steps=steps, driven=False))


@pytest.mark.parametrize("steps", [False, True])
@pytest.mark.parametrize("name", list(ACTIVATIONS))
def test_totals_and_deltas_are_central_differences(engine: Engine, name: str, steps: bool) -> None:
    """delta_t: shake the pre-activation of step t; g_t: restart from a shaken h_t. Step 1e-6: error 1e-9 by size."""
    case = Case(name, (1, 5, 1, 4, 1), steps=steps, driven=False, leak=True, seed=5)
    _, trace, found = case.run(engine)

    def cost(inputs, h0, first):
        record = engine.forward(inputs[:, first:], replace(case.weights, h0=h0), case.act, case.lengths - first)
        if case.direct.last is not None:
            return (case.direct.last * record.h[:, -1]).sum().item()
        return (case.direct.steps[:, first:] * record.h[:, 1:]).sum().item()

    small = 1e-6
    for t in range(case.T):
        for i in range(case.H):
            shake = torch.zeros_like(case.inputs)
            shake[0, t, 0, i] = small
            up, down = (cost(case.inputs + s * shake, case.weights.h0, 0) for s in (1, -1))
            assert trace.delta[0, t, 0, i].item() == pytest.approx((up - down) / (2 * small), abs=1e-7)
            if t + 1 < case.T:
                up, down = (cost(case.inputs, found["h"][:, t + 1, 0] + s * shake[:, t, 0], t + 1) for s in (1, -1))
                direct = 0.0 if case.direct.steps is None else case.direct.steps[0, t, 0, i].item()
                assert found["g"][0, t, 0, i].item() == pytest.approx((up - down) / (2 * small) + direct, abs=1e-7)


def test_first_total_of_a_last_step_loss_is_not_zero(engine: Engine) -> None:
    _, trace, _ = Case(shape=(2, 6, 3, 8, 2)).run(engine)
    assert (trace.totals()[:, 0].abs().amax((1, 2)) > 1e-6).all()


@pytest.mark.parametrize("name", ["tanh", "modrelu", "oplu", "elu"])
@pytest.mark.parametrize("flags", [{}, {"leak": True, "steps": True}, {"driven": False, "steps": True}])
@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_rows_are_strangers(engine: Engine, name: str, flags: dict[str, bool], dtype: torch.dtype) -> None:
    case = Case(name, (5, 6, 3, 22, 3), dtype=dtype, **flags)
    assert_rows_are_strangers(case, engine)


@pytest.mark.parametrize("name", ["tanh", "modrelu"])
@pytest.mark.parametrize("flags", [{}, {"leak": True}, {"steps": True}])
def test_short_rows_are_shorter_packs(engine: Engine, name: str, flags: dict[str, bool]) -> None:
    case = Case(name, (3, 9, 4, 16, 3), **flags)
    _, _, found = case.run(engine)
    for p in range(case.P):
        own = int(case.lengths[p])
        short = case.rows(slice(p, p + 1))
        short.T, short.inputs = own, short.inputs[:, -own:].contiguous()
        if short.direct.steps is not None:
            short.direct = Direct(steps=short.direct.steps[:, -own:].contiguous())
        _, _, true = short.run(engine)
        assert torch.equal(found["h"][p, -own - 1 :], true["h"][0])
        assert torch.equal(found["delta"][p, -own:], true["delta"][0])
        assert torch.equal(found["x"][p, -own:], true["x"][0])
        for key in ("w_rec", "w_in", "bias", "h0", "act_bias"):
            if key in true:
                assert_close(found[key][p], true[key][0], 1e-13, key)
