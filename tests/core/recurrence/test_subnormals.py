"""Kernels take subnormal numbers for 0, and leave the thread as they found it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from llvmlite import binding, ir

from rnnsweep.core import subnormals
from rnnsweep.core.activations import activation
from rnnsweep.core.recurrence.cpu.emit.subnormals import FLUSH_ARM, read_mode, write_mode
from rnnsweep.core.recurrence.cpu.emit.vector import I64
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.types import Direct, LoopWeights

KERNELS = Path(__file__).resolve().parents[3] / "rnnsweep/core/recurrence/cpu/kernels"
TYPES = (torch.float32, torch.float64)


def _kernels() -> list[tuple[str, ast.FunctionDef]]:
    found: list[tuple[str, ast.FunctionDef]] = []
    for path in sorted(KERNELS.glob("*.py")):
        functions = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.FunctionDef)]
        found += [
            (f"{path.stem}.{one.name}", one) for one in functions if "kernel" in map(ast.unparse, one.decorator_list)
        ]
    return found


@pytest.mark.parametrize(("name", "function"), _kernels(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_kernel_begins_and_ends_with_the_mode(name: str, function: ast.FunctionDef) -> None:
    first, last = ast.unparse(function.body[1]), ast.unparse(function.body[-1])
    assert (first, last) == ("mode = flush_subnormals()", "restore_mode(mode)")
    assert not any(isinstance(node, ast.Return) for node in ast.walk(function)), "the mode would stay"


def _vanishing(dtype: torch.dtype, factor: float) -> tuple[torch.Tensor, torch.Tensor]:
    """The gradient of w_rec by both engines, where errors fall by `factor` a step."""
    P, T, B, H = 2, 40, 3, 5
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(P, T, B, 2, generator=generator, dtype=dtype)
    w_rec = (torch.eye(H, dtype=dtype) * factor).expand(P, H, H).contiguous()
    weights = LoopWeights(w_rec, torch.randn(P, 2, H, generator=generator, dtype=dtype), None)
    direct, lengths = Direct(last=torch.ones(P, B, H, dtype=dtype)), torch.full((P,), T)
    found = []
    for engine in (CpuEngine(1), ReferenceEngine()):
        record = engine.forward(inputs, weights, activation("identity"), lengths)
        trace = engine.backward(record, direct, activation("identity"))[1]
        assert trace is not None
        found.append(trace.delta.clone())
    return found[0], found[1]


@pytest.mark.parametrize("dtype", TYPES)
def test_errors_below_the_normal_numbers_are_nothing(dtype: torch.dtype) -> None:
    factor = 1e-3 if dtype == torch.float32 else 1e-12
    fused, reference = _vanishing(dtype, factor)
    tiny = torch.finfo(dtype).tiny
    assert ((reference.abs() > 0) & (reference.abs() < tiny)).any(), "the input shows nothing"
    assert not ((fused != 0) & (fused.abs() < tiny)).any()
    torch.testing.assert_close(fused, reference, rtol=1e-5, atol=tiny)
    assert not subnormals.are_flushed()


@pytest.mark.parametrize("dtype", TYPES)
def test_where_a_network_trains_torch_flushes_too(dtype: torch.dtype) -> None:
    small = torch.full((20,), torch.finfo(dtype).tiny, dtype=dtype)
    with subnormals.flushed():
        assert subnormals.are_flushed()
        assert (small * 0.5 == 0).all()
        with subnormals.flushed():
            pass
        assert subnormals.are_flushed(), "the inner one found it so"
    assert not subnormals.are_flushed()
    assert (small * 0.5 > 0).all()


def test_arm_has_a_register_of_its_own() -> None:
    module = ir.Module()
    module.triple = "aarch64-unknown-linux-gnu"
    function = ir.Function(module, ir.FunctionType(I64, []), "both")
    builder = ir.IRBuilder(function.append_basic_block())
    before = read_mode(builder, arm=True)
    write_mode(builder, arm=True, mode=builder.or_(before, I64(FLUSH_ARM)))
    builder.ret(before)
    binding.initialize_all_targets()
    binding.initialize_all_asmprinters()
    try:
        target = binding.Target.from_triple(module.triple)
    except RuntimeError:
        pytest.skip("this llvmlite writes code for its own processor only")
    text = target.create_target_machine().emit_assembly(binding.parse_assembly(str(module)))
    _, _, code = text.lower().partition("both:")
    assert [line.split()[0] for line in code.splitlines() if "fpcr" in line] == ["mrs", "msr"]
    assert "#0x1000000" in code
