"""Masks and layer norm inside the loops, for every engine that has them; oracle: formulas of one row, autograd."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest
import torch
from torch.nn.functional import layer_norm, pad

from rnnsweep.core.activations import ACTIVATIONS, Activation
from rnnsweep.core.learners import truncation
from rnnsweep.core.recurrence.base import Engine
from rnnsweep.core.recurrence.cells import CellEngine
from rnnsweep.core.recurrence.cpu.emit import products
from rnnsweep.core.recurrence.cpu.engine.gated import GruEngine, LstmEngine
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.gated_cells import GruCell, LstmCell
from rnnsweep.core.recurrence.layer_norm import EPSILON
from rnnsweep.core.recurrence.normed_cells import NormedGruCell, NormedLstmCell
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Direct, LoopGradients, LoopMasks, LoopWeights, Record, Trace
from tests.contract.test_engines import tensors_of
from tests.kit.covering import covered

F64 = torch.float64
KINDS = ("tanh", "modrelu", "leaky tanh", "lstm", "gru")
CELLS = {"lstm": (LstmCell, NormedLstmCell, LstmEngine), "gru": (GruCell, NormedGruCell, GruEngine)}
WAYS = ("recurrent", "zone", "norm", "recurrent zone", "recurrent zone norm")


class Pack:
    """Some rows with everything that a loop of this kind may have, drawn from a seed."""

    def __init__(self, kind: str, ways: str, *, each: bool, steps: bool, H: int = 10, dtype: torch.dtype = F64) -> None:
        generator = torch.Generator().manual_seed(0)
        self.kind, self.P, self.T, self.B, self.H, self.normed = kind, 3, 9, 4, H, "norm" in ways
        P, T, B, I = 3, 9, 4, 5  # noqa: E741

        def normal(*size: int) -> torch.Tensor:
            return torch.randn(*size, generator=generator, dtype=F64).to(dtype)

        def binary(rate: float, *size: int) -> torch.Tensor:
            return (torch.rand(*size, generator=generator, dtype=F64) < rate).to(dtype)

        self.gated = kind in CELLS
        self.cell = CELLS[kind][self.normed](H) if self.gated else None
        S, A = (H, H) if self.cell is None else (self.cell.state, self.cell.product)
        # Layer norm of a gated cell's drives comes before its loop.
        driven = not (self.gated and self.normed)
        own = {"gain": normal(P, A)} if self.normed else {}
        if self.normed and not self.gated:
            own |= {"bias": normal(P, H)}
        if kind == "lstm" and self.normed:
            own |= {"cell_gain": normal(P, H), "cell_bias": normal(P, H)}
        if kind == "gru":
            own |= {"b_n": normal(P, H)}
        self.weights = LoopWeights(
            w_rec=normal(P, H, A) / H**0.5,
            w_in=normal(P, I, A) if driven else None,
            bias=normal(P, A) * 0.3 if not self.normed else None,
            act_bias=normal(P, H) * 0.1 if kind == "modrelu" else None,
            h0=normal(P, H),
            leak=binary(1.0, P) * 0.6 if kind == "leaky tanh" else None,
            cell=own,
            masks=LoopMasks(
                (1 - binary(0.3, P, B, H)) / 0.7 if "recurrent" in ways else None,
                binary(0.3, P, T, B, S) if "zone" in ways else None,
            ),
        )
        self.inputs = normal(P, T, B, I if driven else A)
        self.lengths = torch.tensor([[9, 3, 6, 1], [4, 9, 9, 2], [5, 5, 7, 8]]) if each else torch.tensor([9, 4, 6])
        begun = torch.arange(T) >= T - self.lengths.reshape(P, -1, 1)  # P S T
        on = begun.transpose(1, 2)[..., None]
        self.direct = Direct(steps=normal(P, T, B, H) * on) if steps else Direct(last=normal(P, B, H))
        self.activation = ACTIVATIONS["modrelu" if kind == "modrelu" else "tanh"]

    def engine(self, name: str) -> Engine:
        torch.set_num_threads(1)
        if self.cell is None:
            found: Engine = ReferenceEngine() if name == "reference" else CpuEngine(1)
        else:
            found = CellEngine(self.cell) if name == "reference" else CELLS[self.kind][2](self.cell, 1)
        if reason := found.refuses(self.activation, F64):
            pytest.skip(f"engine {name}: {reason}")
        assert found.regularised
        return found

    def run(self, engine: Engine) -> dict[str, torch.Tensor]:
        record = engine.forward(self.inputs, self.weights, self.activation, self.lengths)
        grads, trace = engine.backward(record, self.direct, self.activation)
        lean, none = engine.backward(record, self.direct, self.activation, keep=False)
        assert trace is not None
        assert none is None
        found = {**tensors_of(grads), **grads.cell}
        again = {**tensors_of(lean), **lean.cell}
        assert all(torch.equal(found[name], again[name]) for name in found)
        return found | {"h": record.h, "delta": trace.delta, "x": trace.x, "g": trace.totals()}

    def picked(self, p: slice, b: slice, t: int) -> Pack:
        """Some rows, some sequences of each, the last t steps."""
        other = object.__new__(Pack)
        other.__dict__.update(self.__dict__)
        w, masks = self.weights, self.weights.masks
        assert masks is not None
        recurrent = None if masks.recurrent is None else masks.recurrent[p, b]
        zone = None if masks.zone is None else masks.zone[p, -t:, b]
        other.weights = replace(
            w,
            **{name: value[p] for name, value in tensors_of(w).items()},
            cell={name: value[p] for name, value in w.cell.items()},
            masks=LoopMasks(recurrent, zone),
        )
        other.inputs = self.inputs[p, -t:, b]
        other.lengths = self.lengths[p] if self.lengths.ndim == 1 else self.lengths[p, b]
        last, steps = self.direct.last, self.direct.steps
        other.direct = Direct(None if last is None else last[p, b], None if steps is None else steps[p, -t:, b])
        return other


def step(pack: Pack, own: dict[str, torch.Tensor], s: torch.Tensor, u: torch.Tensor, seen: torch.Tensor):
    """(What a step makes of a state [S] of one sequence, its pre-activation); formulas of the papers."""
    H, norm = pack.H, pack.normed
    drive = u if "w_in" not in own else u @ own["w_in"]
    a = seen @ own["w_rec"]
    if pack.kind == "lstm":
        rec = layer_norm(a, (4 * H,), own["gain"], None, EPSILON) if norm else a + own["bias"]
        i, f, g, o = (rec + drive).chunk(4)
        c = torch.sigmoid(f) * s[H:] + torch.sigmoid(i) * torch.tanh(g)
        shown = layer_norm(c, (H,), own["cell_gain"], own["cell_bias"], EPSILON) if norm else c
        return torch.cat((torch.sigmoid(o) * torch.tanh(shown), c)), a
    if pack.kind == "gru":
        drive = drive if norm else drive + own["bias"]
        gates, inner = a[: 2 * H], a[2 * H :]
        gates = layer_norm(gates, (2 * H,), own["gain"][: 2 * H], None, EPSILON) if norm else gates
        inner = layer_norm(inner, (H,), own["gain"][2 * H :], None, EPSILON) if norm else inner
        r, z = torch.sigmoid(gates + drive[: 2 * H]).chunk(2)
        n = torch.tanh(drive[2 * H :] + r * (inner + own["b_n"]))
        return (1 - z) * n + z * s, a
    total = a + drive
    summed = layer_norm(total, (H,), own["gain"], own["bias"], EPSILON) if norm else total + own["bias"]
    if pack.kind == "modrelu":
        y = torch.sign(summed) * torch.relu(summed.abs() + own["act_bias"])
    else:
        y = torch.tanh(summed)
    return (y if "leak" not in own else (1 - own["leak"]) * s + own["leak"] * y), (total if norm else a)


def one_row(pack: Pack, p: int) -> dict[str, torch.Tensor]:
    """Row p sequence by sequence, own steps only, by autograd."""
    w, masks, T = pack.weights, pack.weights.masks, pack.T
    assert masks is not None
    own = {name: value[p].clone().requires_grad_() for name, value in {**tensors_of(w), **w.cell}.items()}
    inputs = pack.inputs[p].clone().requires_grad_()
    size = pack.H if pack.cell is None else pack.cell.state
    cost, states, pre = torch.zeros((), dtype=F64), {}, {}
    for b in range(pack.B):
        length = int(pack.lengths[p] if pack.lengths.ndim == 1 else pack.lengths[p, b])
        s = pad(own["h0"], (0, size - pack.H))
        for t in range(T - length, T):
            seen = s[: pack.H] if masks.recurrent is None else masks.recurrent[p, b] * s[: pack.H]
            new, a = step(pack, own, s, inputs[t, b], seen)
            a.retain_grad()
            s = new if masks.zone is None else masks.zone[p, t, b] * s + (1 - masks.zone[p, t, b]) * new
            s.retain_grad()
            states[t, b], pre[t, b] = s, a
            if pack.direct.steps is not None:
                cost = cost + pack.direct.steps[p, t, b] @ s[: pack.H]
        if pack.direct.last is not None:
            cost = cost + pack.direct.last[p, b] @ s[: pack.H]
    cost.backward()
    found = {name: value.grad for name, value in own.items() if name != "leak"}
    if "w_in" not in own:
        found["inputs"] = inputs.grad
    like = torch.zeros(T, pack.B, size, dtype=F64)
    h, g = like.clone(), like.clone()
    delta = torch.zeros(T, pack.B, w.w_rec.shape[-1], dtype=F64)
    for (t, b), s in states.items():
        h[t, b], g[t, b], delta[t, b] = s.detach(), s.grad, pre[t, b].grad
    return found | {"own h": h, "own g": g, "delta": delta}


@covered(whole=3, engine=["reference", "cpu"], kind=KINDS, ways=WAYS, each=[False, True], steps=[False, True])
def test_equals_formulas_of_one_row_by_autograd(engine: str, kind: str, ways: str, each: bool, steps: bool) -> None:
    pack = Pack(kind, ways, each=each, steps=steps)
    found = pack.run(pack.engine(engine))
    for p in range(pack.P):
        true = one_row(pack, p)
        begun = (torch.arange(pack.T) >= pack.T - pack.lengths[p].reshape(-1, 1)).T[..., None]  # T S 1
        # Before a sequence's start states and errors are those of its first step, not of the oracle's empty places.
        true["h"], true["g"] = true.pop("own h"), true.pop("own g")
        mine = {name: value[p] for name, value in found.items()}
        mine["h"], mine["g"] = mine["h"][1:] * begun, mine["g"] * begun
        for name, value in true.items():
            bound = 1e-11 * max(1.0, float(value.abs().max()))
            assert (mine[name] - value).abs().max() <= bound, (p, name)


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("kind", KINDS)
def test_a_sequence_is_the_sequence_alone_bit_for_bit(kind: str, ways: str) -> None:
    """In the fused loops: states, deltas and errors of each sequence as in a pack of one, as long as it is."""
    whole = Pack(kind, ways, each=True, steps=True)
    engine = whole.engine("cpu")
    found = whole.run(engine)
    for p in range(whole.P):
        for b in range(whole.B):
            n = int(whole.lengths[p, b])
            alone = whole.picked(slice(p, p + 1), slice(b, b + 1), n).run(engine)
            for name in ("h", "delta", "x"):
                assert torch.equal(found[name][p : p + 1, -n:, b : b + 1], alone[name][:, -n:]), (p, b, name)


@pytest.mark.parametrize("dtype", [torch.float32, F64])
@pytest.mark.parametrize("H", [7, 16, 33])
@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_strangers(kind: str, H: int, dtype: torch.dtype) -> None:
    """A row alone is the row in the pack, bit for bit, on the fused loops."""
    pack = Pack(kind, WAYS[-1], each=True, steps=False, H=H, dtype=dtype)
    engine = pack.engine("cpu")
    found = pack.run(engine)
    for p in range(pack.P):
        alone = pack.picked(slice(p, p + 1), slice(None), pack.T).run(engine)
        for name, value in alone.items():
            assert torch.equal(found[name][p : p + 1], value), (p, name)


@pytest.mark.parametrize("ways", ["recurrent", "zone", "recurrent zone"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_masks_that_do_nothing_change_no_bit(engine: str, kind: str, ways: str) -> None:
    """Only where some error passes a masked matrix by, the fused loop adds it after the product, not before."""
    pack = Pack(kind, ways, each=True, steps=True)
    runs, masks = pack.engine(engine), pack.weights.masks
    assert masks is not None
    ones = None if masks.recurrent is None else torch.ones_like(masks.recurrent)
    pack.weights.masks = LoopMasks(ones, None if masks.zone is None else torch.zeros_like(masks.zone))
    idle = pack.run(runs)
    pack.weights.masks = None
    exact = engine == "reference" or "recurrent" not in ways or kind not in ("leaky tanh", "gru")
    for name, value in pack.run(runs).items():
        assert torch.equal(idle[name], value) or (not exact and torch.allclose(idle[name], value, rtol=1e-12)), name


@pytest.mark.parametrize("kind", KINDS)
def test_zones_between_0_and_1_mix(kind: str) -> None:
    """What evaluation uses: the expected state; forward equals the reference's."""
    pack = Pack(kind, "zone", each=True, steps=True)
    masks = pack.weights.masks
    assert masks is not None
    assert masks.zone is not None
    pack.weights.masks = LoopMasks(zone=torch.full_like(masks.zone, 0.25))
    found, true = pack.run(pack.engine("cpu")), pack.run(pack.engine("reference"))
    assert all((found[name] - value).abs().max() <= 1e-11 * max(1, value.abs().max()) for name, value in true.items())
    h = found["h"][0]
    free = pack.picked(slice(None), slice(None), pack.T)
    free.weights.masks = None
    plain = free.run(free.engine("cpu"))["h"][0]
    first = pack.T - int(pack.lengths[0, 0])
    assert torch.allclose(h[first + 1, 0], 0.25 * h[first, 0] + 0.75 * plain[first + 1, 0], rtol=1e-12)


@dataclass
class Ran:
    """A loop that has run, as far as truncation knows it."""

    engine: Engine
    record: Record
    activation: Activation

    def backward(self, direct: Direct, *, keep: bool) -> tuple[LoopGradients, Trace | None]:
        return self.engine.backward(self.record, direct, self.activation, keep=keep)


@pytest.mark.parametrize("ways", WAYS)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("engine", ["reference", "cpu"])
def test_a_cut_of_the_sequence_takes_its_masks_along(engine: str, kind: str, ways: str) -> None:
    """Errors of the last step through the last four: as if the sequence began there."""
    pack = Pack(kind, ways, each=False, steps=False)
    pack.lengths = torch.full((3,), pack.T)
    runs = pack.engine(engine)
    record = runs.forward(pack.inputs, pack.weights, pack.activation, pack.lengths)
    cut, trace = truncation.backward(Ran(runs, record, pack.activation), pack.direct, 4, keep=True)  # type: ignore[arg-type]
    assert trace is not None
    whole, all_of = runs.backward(record, pack.direct, pack.activation)
    assert all_of is not None
    assert torch.allclose(trace.delta, all_of.delta[:, -4:], rtol=1e-12, atol=1e-14)
    left = record.h[:, -5:-1, :, : pack.H]
    masks = pack.weights.masks
    assert masks is not None
    left = left if masks.recurrent is None else left * masks.recurrent[:, None]
    assert torch.allclose(cut.w_rec, torch.einsum("ptbk,ptbm->pkm", left, trace.delta), rtol=1e-10, atol=1e-12)
    assert not torch.allclose(cut.w_rec, whole.w_rec)


def test_layer_norm_is_the_same_constant_everywhere() -> None:
    assert products.EPSILON == EPSILON == torch.nn.LayerNorm(1).eps
