"""The vector unit's treatment of subnormal numbers: a kernel takes them for 0, and leaves the thread as it found it.

Errors that vanish on their way back are what networks are made of here, and where they fall below 1e-38 (float32) an
Intel core takes some 150 cycles for every operation that meets one: a way back of 300 steps took 18 times as long.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.vector import I64, intrinsic
from rnnsweep.core.recurrence.cpu.host import host_features

FLUSH_X86 = 0x8040
"""Of MXCSR: results that are subnormal become 0 (FTZ, bit 15), and so do operands (DAZ, bit 6)."""
FLUSH_ARM = 1 << 24
"""Of FPCR: FZ, both."""
_I32 = ir.IntType(32)


@intrinsic
def flush_subnormals(typingctx):
    """Take subnormal numbers for 0 in this thread from now on; gives the mode that was, for `restore_mode`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        arm = _is_arm()
        before = read_mode(builder, arm)
        write_mode(builder, arm, builder.or_(before, I64(FLUSH_ARM if arm else FLUSH_X86)))
        return before

    return types.int64(), codegen


@intrinsic
def restore_mode(typingctx, mode):
    """Let this thread treat subnormal numbers as it did before `flush_subnormals`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        write_mode(builder, _is_arm(), args[0])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


def _is_arm() -> bool:
    return bool(host_features().get("neon"))


def read_mode(builder: ir.IRBuilder, arm: bool) -> Any:
    """This thread's control register, i64."""
    if arm:
        kind = ir.FunctionType(I64, [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.get.fpcr"), [])
    place = cgutils.alloca_once(builder, _I32)
    builder.call(_x86(builder, "stmxcsr"), [_pointer(builder, place)])
    return builder.zext(builder.load(place), I64)


def write_mode(builder: ir.IRBuilder, arm: bool, mode: Any) -> None:
    """Set it; a side effect, which arithmetic on memory cannot be moved across."""
    if arm:
        kind = ir.FunctionType(ir.VoidType(), [I64])
        builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.aarch64.set.fpcr"), [mode])
        return
    place = cgutils.alloca_once(builder, _I32)
    builder.store(builder.trunc(mode, _I32), place)
    builder.call(_x86(builder, "ldmxcsr"), [_pointer(builder, place)])


def _x86(builder: ir.IRBuilder, name: str) -> Any:
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    return cgutils.get_or_insert_function(builder.module, kind, f"llvm.x86.sse.{name}")


def _pointer(builder: ir.IRBuilder, place: Any) -> Any:
    return builder.bitcast(place, ir.IntType(8).as_pointer())
