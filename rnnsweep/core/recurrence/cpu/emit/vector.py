"""Vectors of numbers in LLVM IR, with Python operators; the width follows the host.

Everything here runs while numba compiles a kernel: it writes instructions, it does not compute.

Numerics:
    No fast-math flag is ever set: LLVM may neither reassociate nor contract. Fused multiply-adds appear exactly where
    `fma` is written, and every lane does the same operations, so that a number does not depend on its position.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.core.errors import TypingError
from numba.extending import intrinsic as _intrinsic

from rnnsweep.core.recurrence.cpu.host import UNIT_BYTES

I64 = ir.IntType(64)
intrinsic: Any = _intrinsic
"""Numba's decorator; what it returns is called from kernels without the typing context."""


def require(kind: type, given: Any) -> None:
    """Raise unless an intrinsic is given the named tuple that it takes.

    All members are whole numbers: without this check another tuple of the same length would be taken for it, and its
    sizes for addresses.
    """
    if getattr(given, "instance_class", None) is not kind:
        raise TypingError(f"this loop takes {kind.__name__}, not {given}")


def unpack(context: Any, builder: Any, kind: Any, tuple_type: Any, value: Any) -> Any:
    """The named tuple `kind` of IR values: the members of a numba tuple of whole numbers, as i64."""
    members = cgutils.unpack_tuple(builder, value, len(tuple_type))
    return kind(*(context.cast(builder, m, own, types.int64) for m, own in zip(members, tuple_type, strict=True)))


class Lanes:
    """Writes vector instructions for one element type.

    Attributes:
        builder: where instructions go.
        real: element type, float or double.
        bits: bits of an element.
        width: elements per vector.
    """

    def __init__(self, builder: ir.IRBuilder, real: ir.Type, size: int = UNIT_BYTES) -> None:
        self.builder, self.real = builder, real
        self.bits = 32 if isinstance(real, ir.FloatType) else 64
        self.width = size * 8 // self.bits
        self.type = ir.VectorType(real, self.width)
        self.int_type = ir.VectorType(ir.IntType(self.bits), self.width)

    def pointer(self, address: Any, index: Any) -> Any:
        """Address (i64) of the element `index`."""
        offset = self.builder.mul(index, I64(self.bits // 8))
        return self.builder.inttoptr(self.builder.add(address, offset), self.real.as_pointer())

    def load(self, address: Any, index: Any) -> Vec:
        """The vector that starts at element `index`; any alignment."""
        # Aligned as a number, not as a vector: rows of a matrix begin anywhere.
        pointer = self.builder.bitcast(self.pointer(address, index), self.type.as_pointer())
        return Vec(self, self.builder.load(pointer, align=self.bits // 8))

    def store(self, value: Vec, address: Any, index: Any) -> None:
        """Write a vector from element `index` on; any alignment."""
        pointer = self.builder.bitcast(self.pointer(address, index), self.type.as_pointer())
        self.builder.store(value.value, pointer, align=self.bits // 8)

    def fetch(self, address: Any, index: Any, write: int = 1) -> None:
        """Bring the line of element `index` into the cache, to be written or read; no address is too wrong for it."""
        number, byte = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
        function = cgutils.get_or_insert_function(self.builder.module, kind, "llvm.prefetch.p0i8")
        place = self.builder.bitcast(self.pointer(address, index), byte)
        self.builder.call(function, [place, number(write), number(2), number(1)])

    def splat(self, scalar: Any) -> Vec:
        """All lanes equal to an IR scalar."""
        # The idiom that LLVM knows as a broadcast.
        lane0 = self.builder.insert_element(ir.Constant(self.type, ir.Undefined), scalar, ir.IntType(32)(0))
        # All lanes from lane 0.
        mask = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        return Vec(self, self.builder.shuffle_vector(lane0, ir.Constant(self.type, ir.Undefined), mask))

    def constant(self, number: float) -> Vec:
        """All lanes equal to a Python number."""
        return Vec(self, ir.Constant(self.type, [ir.Constant(self.real, float(number))] * self.width))

    def integers(self, number: int) -> Any:
        """All integer lanes equal to a Python number."""
        return ir.Constant(self.int_type, [ir.Constant(ir.IntType(self.bits), number)] * self.width)

    def fma(self, a: Vec, b: Vec, c: Vec) -> Vec:
        """a * b + c, rounded once."""
        kind = ir.FunctionType(self.type, [self.type] * 3)
        # The intrinsic, not a product and a sum: LLVM may not contract those on its own, and here it must.
        name = f"llvm.fma.v{self.width}f{self.bits}"
        function = cgutils.get_or_insert_function(self.builder.module, kind, name)
        return Vec(self, self.builder.call(function, [a.value, b.value, c.value]))

    def root(self, x: Vec) -> Vec:
        """Square root, correctly rounded."""
        kind = ir.FunctionType(self.type, [self.type])
        name = f"llvm.sqrt.v{self.width}f{self.bits}"
        return Vec(self, self.builder.call(cgutils.get_or_insert_function(self.builder.module, kind, name), [x.value]))

    def select(self, mask: Any, yes: Vec, no: Vec) -> Vec:
        """Lane by lane."""
        return Vec(self, self.builder.select(mask, yes.value, no.value))

    def swap_pairs(self, x: Vec) -> Vec:
        """Lanes 2i and 2i + 1 exchanged."""
        # Known when it is written, so that it becomes one shuffle.
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [i ^ 1 for i in range(self.width)])
        return Vec(self, self.builder.shuffle_vector(x.value, ir.Constant(self.type, ir.Undefined), order))

    def even(self) -> Any:
        """Mask of the even lanes."""
        bit = ir.IntType(1)
        return ir.Constant(ir.VectorType(bit, self.width), [bit(1 - i % 2) for i in range(self.width)])

    def bits_of(self, x: Vec) -> Any:
        """The integer lanes that hold the same bits."""
        return self.builder.bitcast(x.value, self.int_type)

    def from_bits(self, lanes: Any) -> Vec:
        """The numbers that these bits mean."""
        return Vec(self, self.builder.bitcast(lanes, self.type))

    def magnitude(self, x: Vec) -> Vec:
        """|x|."""
        return self.from_bits(self.builder.and_(self.bits_of(x), self.integers((1 << (self.bits - 1)) - 1)))

    def with_sign(self, size: Vec, x: Vec) -> Vec:
        """`size` (>= 0) with the sign bit of x."""
        sign = self.builder.and_(self.bits_of(x), self.integers(1 << (self.bits - 1)))
        return self.from_bits(self.builder.or_(self.bits_of(size), sign))


class Single(Lanes):
    """One number in place of a vector, for loops that LLVM makes vectors of: the same operations, so the same bits."""

    def __init__(self, builder: ir.IRBuilder, real: ir.Type) -> None:
        super().__init__(builder, real)
        self.width = 1
        self.type, self.int_type = real, ir.IntType(self.bits)

    def constant(self, number: float) -> Vec:
        """A Python number."""
        return Vec(self, ir.Constant(self.real, float(number)))

    def integers(self, number: int) -> Any:
        """A Python number."""
        return ir.Constant(self.int_type, number)

    def fma(self, a: Vec, b: Vec, c: Vec) -> Vec:
        """a * b + c, rounded once."""
        return Vec(self, self.builder.fma(a.value, b.value, c.value))


class FirstLanes(Lanes):
    """Vectors of which the first `count` lanes are in memory: the others are loaded as 0, and not stored.

    Attributes:
        mask: of those that are.
    """

    def __init__(self, builder: ir.IRBuilder, real: ir.Type, size: int, count: Any) -> None:
        super().__init__(builder, real, size)
        number = ir.IntType(self.bits)
        lanes = ir.Constant(self.int_type, [ir.Constant(number, lane) for lane in range(self.width)])
        lane0 = builder.insert_element(self.integers(0), builder.trunc(count, number), ir.IntType(32)(0))
        order = ir.Constant(ir.VectorType(ir.IntType(32), self.width), [0] * self.width)
        self.mask = builder.icmp_unsigned(">", builder.shuffle_vector(lane0, lane0, order), lanes)

    def load(self, address: Any, index: Any) -> Vec:
        """As `Lanes.load`; nothing is read beyond `count`."""
        place = self.builder.bitcast(self.pointer(address, index), self.type.as_pointer())
        arguments = [place, ir.IntType(32)(self.bits // 8), self.mask, ir.Constant(self.type, None)]
        return Vec(self, self._call("load", self.type, arguments))

    def store(self, value: Vec, address: Any, index: Any) -> None:
        """As `Lanes.store`; nothing is written beyond `count`."""
        place = self.builder.bitcast(self.pointer(address, index), self.type.as_pointer())
        self._call("store", ir.VoidType(), [value.value, place, ir.IntType(32)(self.bits // 8), self.mask])

    def _call(self, name: str, result: ir.Type, arguments: list[Any]) -> Any:
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        vector = f"v{self.width}f{self.bits}"
        function = cgutils.get_or_insert_function(
            self.builder.module, kind, f"llvm.masked.{name}.{vector}.p0{vector}"
        )  # fmt: skip
        return self.builder.call(function, arguments)


class Vec:
    """One vector value; + - * / and comparisons write one instruction each. Comparisons are false on NaN."""

    def __init__(self, lanes: Lanes, value: Any) -> None:
        self.lanes, self.value = lanes, value

    def _with(self, other: Vec | float) -> Vec:
        return other if isinstance(other, Vec) else self.lanes.constant(other)

    def __add__(self, other: Vec | float) -> Vec:
        return Vec(self.lanes, self.lanes.builder.fadd(self.value, self._with(other).value))

    def __sub__(self, other: Vec | float) -> Vec:
        return Vec(self.lanes, self.lanes.builder.fsub(self.value, self._with(other).value))

    def __rsub__(self, other: float) -> Vec:
        return self._with(other) - self

    def __mul__(self, other: Vec | float) -> Vec:
        return Vec(self.lanes, self.lanes.builder.fmul(self.value, self._with(other).value))

    __radd__, __rmul__ = __add__, __mul__

    def __neg__(self) -> Vec:
        return Vec(self.lanes, self.lanes.builder.fneg(self.value))

    def __truediv__(self, other: Vec | float) -> Vec:
        return Vec(self.lanes, self.lanes.builder.fdiv(self.value, self._with(other).value))

    def __gt__(self, other: Vec | float) -> Any:
        return self.lanes.builder.fcmp_ordered(">", self.value, self._with(other).value)

    def __le__(self, other: Vec | float) -> Any:
        return self.lanes.builder.fcmp_ordered("<=", self.value, self._with(other).value)
