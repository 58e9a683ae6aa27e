"""What only the fused CPU engine promises: accuracy of its formulas, threads, recycled buffers, the kernel cache."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import mpmath
import numba
import numpy as np
import pytest
import torch

from rnnsweep import user_cache
from rnnsweep.core.activations import ACTIVATIONS, Tanh
from rnnsweep.core.recurrence.cpu import compiling
from rnnsweep.core.recurrence.cpu.engine import dispatch
from rnnsweep.core.recurrence.cpu.engine.dispatch import Workspace
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.types import Direct, LoopWeights, Record

F64 = torch.float64


def applied(name: str, a: torch.Tensor) -> torch.Tensor:
    """f(a) by the engine's loop: one step, no recurrent weight."""
    n = a.numel()
    weights = LoopWeights(w_rec=a.new_zeros(n // 64, 64, 64), act_bias=None)
    lengths = torch.ones(n // 64, dtype=torch.int64)
    record = CpuEngine(1).forward(a.reshape(-1, 1, 1, 64), weights, ACTIVATIONS[name], lengths)
    return record.h[:, 1].flatten()


def ulps(mine: np.ndarray, true: np.ndarray) -> float:
    """Largest error in units of the last place of the true value."""
    return float(np.max(np.abs(mine.astype(true.dtype) - true) / np.spacing(np.abs(true).astype(mine.dtype))))


def sizes(count: int) -> np.ndarray:
    """Numbers of both signs from 1e-8 to 30."""
    half = np.concatenate((np.logspace(-8, np.log10(30), count // 4), np.linspace(1e-3, 10, count // 4)))
    return np.concatenate((half, -half))


def test_tanh_in_float32_is_within_2_ulp() -> None:
    # of all numbers from 2^-14 to 12 the worst are near 0.52, with 1.98
    a = np.concatenate((sizes(1 << 16), np.linspace(0.1, 1, 1 << 18))).astype(np.float32)
    assert ulps(applied("tanh", torch.from_numpy(a)).numpy(), np.tanh(a.astype(np.float64))) <= 2


def test_tanh_and_expm1_in_float64_are_within_3_ulp() -> None:
    a = sizes(2048)
    for name, function in (("tanh", mpmath.tanh), ("elu", lambda v: mpmath.expm1(v) if v < 0 else v)):
        true = np.array([float(function(mpmath.mpf(v))) for v in a])
        assert ulps(applied(name, torch.from_numpy(a)).numpy(), true) <= 3, name


@pytest.mark.parametrize("dtype", [torch.float32, F64])
def test_special_values(dtype: torch.dtype) -> None:
    inf, nan = float("inf"), float("nan")
    a = torch.tensor([0.0, -0.0, inf, -inf, nan, 1e30, -1e30, 1e-40] * 8, dtype=dtype)
    y = applied("tanh", a)[:8]
    assert y[:2].tolist() == [0.0, 0.0]
    assert y[[2, 3, 5, 6]].tolist() == [1.0, -1.0, 1.0, -1.0]
    assert torch.isnan(y[4])
    for name in ("sigmoid", "relu", "leaky_relu", "elu", "identity"):
        y = applied(name, a)[:8]
        assert torch.isnan(y[4]), name
        true = ACTIVATIONS[name].value(a[:8].to(dtype))
        assert torch.allclose(y, true, equal_nan=True), name


def problem(P: int, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, LoopWeights, torch.Tensor, Direct]:
    rng = torch.Generator().manual_seed(7)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng, dtype=F64).to(dtype)

    weights = LoopWeights(w_rec=normal(P, 36, 36) * 0.15, w_in=normal(P, 3, 36), bias=normal(P, 36))
    return normal(P, 41, 7, 3), weights, 41 - torch.arange(P) * 3, Direct(last=normal(P, 7, 36))


def gradients(engine: CpuEngine, P: int = 7) -> list[torch.Tensor]:
    inputs, weights, lengths, direct = problem(P)
    record = engine.forward(inputs, weights, ACTIVATIONS["tanh"], lengths)
    grads, trace = engine.backward(record, direct, ACTIVATIONS["tanh"])
    lean, _ = engine.backward(record, direct, ACTIVATIONS["tanh"], keep=False)
    assert trace is not None
    tangent = engine.tangent(trace, weights.w_rec, (lengths - 1).clamp(min=1), ACTIVATIONS["tanh"])
    assert lean.w_in is not None
    assert grads.bias is not None
    return [record.h, trace.delta, trace.x, grads.w_rec, grads.bias, lean.w_rec, lean.w_in, tangent.ddelta]


def test_threads_change_no_bit() -> None:
    one = gradients(CpuEngine(1))
    for threads in (2, 3, 16):
        for mine, true in zip(gradients(CpuEngine(threads)), one, strict=True):
            assert torch.equal(mine, true)


def test_gradients_of_a_short_row_are_those_of_a_shorter_pack_bit_for_bit() -> None:
    inputs, weights, lengths, direct = problem(3)
    engine, act = CpuEngine(1), ACTIVATIONS["tanh"]
    whole, _ = engine.backward(engine.forward(inputs, weights, act, lengths), direct, act)
    for p in range(3):
        one = LoopWeights(weights.w_rec[p : p + 1], weights.w_in[p : p + 1], weights.bias[p : p + 1])  # type: ignore[index]
        own = int(lengths[p])
        record = engine.forward(inputs[p : p + 1, -own:], one, act, torch.tensor([own]))
        short, _ = engine.backward(record, Direct(last=direct.last[p : p + 1]), act)  # type: ignore[index]
        assert torch.equal(whole.w_rec[p], short.w_rec[0])
        assert torch.equal(whole.bias[p], short.bias[0])  # type: ignore[index]


def test_foreign_layouts_are_read_right() -> None:
    """Weights inside a larger slab, states from elsewhere without padding."""
    inputs, weights, lengths, direct = problem(3, F64)
    engine, act = CpuEngine(1), ACTIVATIONS["tanh"]
    record = engine.forward(inputs, weights, act, lengths)
    true, trace = engine.backward(record, direct, act)
    assert trace is not None
    slab = torch.randn(3, 36 * 36 + 24, dtype=F64)
    slab[:, 8 : 8 + 36 * 36] = weights.w_rec.flatten(1)
    weights.w_rec = slab[:, 8 : 8 + 36 * 36].unflatten(1, (36, 36))
    tight = Record(inputs, record.h.contiguous(), None, weights, lengths)
    mine, _ = engine.backward(tight, direct, act)
    assert torch.equal(mine.w_rec, true.w_rec)
    assert torch.equal(engine.outer(trace.x.contiguous(), trace.delta.contiguous()), engine.outer(trace.x, trace.delta))
    assert torch.equal(engine.square_norms(trace.x.contiguous()), engine.square_norms(trace.x))
    assert torch.allclose(engine.outer(record.h[:, :-1], trace.delta), true.w_rec, rtol=0, atol=1e-12)


def test_buffers_return_only_when_nobody_holds_them() -> None:
    workspace = Workspace()
    first = workspace.take((4, 8), F64)
    view, place = first[1:], first.data_ptr()
    del first
    assert workspace.take((4, 8), F64).data_ptr() != place
    del view
    assert workspace.take((4, 8), F64).data_ptr() in (place, workspace.take((4, 8), F64).data_ptr())
    assert workspace.take((3, 3), torch.float32).data_ptr() % 64 == 0


def test_a_record_survives_later_calls() -> None:
    inputs, weights, lengths, _ = problem(2)
    engine = CpuEngine(1)
    record = engine.forward(inputs, weights, ACTIVATIONS["tanh"], lengths)
    before = record.h.clone()
    engine.forward(-inputs, weights, ACTIVATIONS["tanh"], lengths)
    assert torch.equal(record.h, before)


def test_refusals_say_why(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = CpuEngine(1)
    assert engine.refuses(ACTIVATIONS["tanh"], torch.float32) is None
    assert "float16" in (engine.refuses(ACTIVATIONS["tanh"], torch.float16) or "")
    assert "swish" in (engine.refuses(Tanh("swish"), torch.float32) or "")
    monkeypatch.setattr("rnnsweep.core.recurrence.cpu.host.VECTOR_BYTES", 0)
    assert "AVX2" in (engine.refuses(ACTIVATIONS["tanh"], torch.float32) or "")


def test_without_numba_the_engine_refuses() -> None:
    code = (
        "import sys; sys.modules['numba'] = None\n"
        "import torch; from rnnsweep.core.activations import ACTIVATIONS\n"
        "from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine\n"
        "print(CpuEngine(1).refuses(ACTIVATIONS['tanh'], torch.float32))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120)
    assert "numba" in run.stdout


def test_cache_folder_falls_back(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(blocked / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user"))
    folder = compiling.cache_folder()
    assert folder is not None
    assert folder.is_relative_to(tmp_path / "user")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked / "b"))
    monkeypatch.setattr(user_cache.tempfile, "gettempdir", lambda: str(blocked / "c"))
    assert compiling.cache_folder() is None
    assert os.access(tmp_path, os.W_OK)


def plus_one(x: float) -> float:
    return x + 1.0


def test_compiling_is_told_where_it_happens_and_not_where_the_cache_has_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    told: list[bool] = []
    watch = compiling.CompileWatch(told.append)
    assert compiling.kernel(plus_one)(1.0) == 2.0
    assert told == [True, False]
    assert compiling.kernel(plus_one)(1.0) == 2.0  # another dispatcher, as in another process: from the disk
    assert told == [True, False]
    assert compiling.kernel(plus_one)(1) == 2  # another type
    assert told == [True, False, True, False]
    watch.end()
    compiling.kernel(lambda x: x)(1.0)
    assert len(told) == 4


@compiling.inlined
def doubled_until(x: float, limit: float) -> float:
    while x < limit:
        x = 2 * x
    return x


@compiling.inlined
def added_up(n: int, limit: float) -> float:
    total = 0.0
    for i in range(n):
        total += doubled_until(1.0 + i, limit) if i % 3 else doubled_until(0.5, i + limit)
    return total


def pieces_in_pieces(n: int) -> float:
    return added_up(n, 10.0) - added_up(2 * n, 7.0)


def machine_code(dispatcher: Any) -> str:
    """Its assembly without names, which have a number of their own in each compilation."""
    (text,) = dispatcher.inspect_asm().values()
    lines = [line for line in text.splitlines() if line.startswith("\t") and not line.startswith("\t.")]
    return re.sub(r"[.\w$]*(?:pieces_in_pieces|_dynfunc)[.\w$]*", "NAME", "\n".join(lines))


def test_code_is_what_numbas_own_compiler_makes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    ours = compiling.kernel(pieces_in_pieces)
    theirs = numba.njit(nogil=True, error_model="numpy")(pieces_in_pieces)
    assert ours(9) == theirs(9) == pieces_in_pieces(9)  # dispatchers may be called from plain Python too
    assert machine_code(ours) == machine_code(theirs)
    assert "__deepcopy__" not in vars(numba.core.ir.Scope), "others' code is compiled as ever"


def test_width_is_whole_vectors() -> None:
    assert dispatch.width_of(1, torch.float32) * 4 == dispatch.UNIT_BYTES
    assert dispatch.width_of(64, torch.float32) == 64


def test_other_types_are_not_misread() -> None:
    """More of these: test_launch.py."""
    inputs, weights, lengths, _ = problem(2)
    with pytest.raises(TypeError, match="float64"):
        CpuEngine(1).forward(inputs, LoopWeights(weights.w_rec.double(), weights.w_in), ACTIVATIONS["tanh"], lengths)
    with pytest.raises(TypeError, match="lengths"):
        CpuEngine(1).forward(inputs, weights, ACTIVATIONS["tanh"], lengths.int())
