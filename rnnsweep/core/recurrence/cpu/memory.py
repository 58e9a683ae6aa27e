"""Single numbers at addresses, and the sizes of the element type, as numba intrinsics.

Kernels get plain addresses: they compile once per element type, whatever the arrays look like. `zero` is a number of
the element type; it carries the type and nothing else.
"""

from __future__ import annotations

from typing import Any

from numba.core import types

from rnnsweep.core.recurrence.cpu.vector import I64, Lanes, intrinsic


def _place(context: Any, builder: Any, kind: Any, address: Any) -> Any:
    return builder.inttoptr(address, context.get_value_type(kind).as_pointer())


@intrinsic
def load(typingctx, zero, address):
    """The number of the type of `zero` at a byte address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, signature.args[0], args[1]))

    return zero(zero, types.int64), codegen


@intrinsic
def store(typingctx, zero, value, address):
    """Write a number at a byte address, rounded to the type of `zero`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        number = context.cast(builder, args[1], signature.args[1], signature.args[0])
        builder.store(number, _place(context, builder, signature.args[0], args[2]))
        return context.get_dummy_value()

    return types.void(zero, value, types.int64), codegen


@intrinsic
def number(typingctx, zero, value):
    """`value` rounded to the type of `zero`."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return context.cast(builder, args[1], signature.args[1], signature.args[0])

    return zero(zero, value), codegen


@intrinsic
def load_int(typingctx, address):
    """The int64 at a byte address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(_place(context, builder, types.int64, args[0]))

    return types.int64(types.int64), codegen


@intrinsic
def store_int(typingctx, value, address):
    """Write an int64 at a byte address."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[0], _place(context, builder, types.int64, args[1]))
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), codegen


@intrinsic
def item_bytes(typingctx, zero):
    """Bytes of one number."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return I64(Lanes(builder, context.get_value_type(signature.args[0])).bits // 8)

    return types.int64(zero), codegen


@intrinsic
def vector_width(typingctx, zero):
    """Numbers per unit of a vector."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return I64(Lanes(builder, context.get_value_type(signature.args[0])).width)

    return types.int64(zero), codegen
