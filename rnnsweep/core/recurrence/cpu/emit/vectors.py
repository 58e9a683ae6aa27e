"""Numbers at addresses, as numba intrinsics: one by one, copied, and in loops over padded matrices, vector by vector.

Kernels get plain addresses: they compile once per element type, whatever the arrays look like. `zero` is a number of
the element type; it carries the type and nothing else. A padded matrix is [rows, vectors * width] without gaps.
Addresses are in bytes. Each loop takes a named tuple of its own, and refuses any other when the kernel compiles.
"""

# pyright: reportIncompatibleMethodOverride=false
# Named tuples have a field `count`, as loops have; nobody asks them for tuple.count.

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit import formulas
from rnnsweep.core.recurrence.cpu.emit.vector import I64, FirstLanes, Lanes, intrinsic, require, unpack
from rnnsweep.core.recurrence.cpu.host import MASKS, PARTS, VECTOR_BYTES

LINE = 64
"""Bytes of a cache line."""
PLAIN, SLOPE, LEAKY = 0, 1, 2
"""What `activate` does besides h = f(a): nothing; store f'(a); store f'(a) and mix with the state before."""


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
        # Kernels count some sums in float64; what they store is of the loop's type.
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


def by_case(builder: Any, value: Any, cases: dict[int, Callable[[], None]]) -> None:
    """One of the cases, as the value says; none where it is none of them."""
    after = builder.append_basic_block("switch.done")
    switch = builder.switch(value, after)
    # One loop per case, behind one switch: a switch inside the loop would be taken for every vector.
    for number, write in cases.items():
        block = builder.append_basic_block(f"case.{number}")
        switch.add_case(I64(number), block)
        builder.position_at_end(block)
        write()
        builder.branch(after)
    builder.position_at_end(after)


def _own_function(module: ir.Module, name: str, count: int, write: Callable[[Any, Any], None]) -> ir.Function:
    """A function of `count` i64, kept out of line: its body exists once, however often it is called."""
    function = cgutils.get_or_insert_function(module, ir.FunctionType(ir.VoidType(), [I64] * count), name)
    if function.is_declaration:
        function.linkage = "linkonce_odr"
        # Kernels are compiled as one unit: inlined everywhere, the loops would dominate compile time.
        function.attributes.add("noinline")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        write(builder, function.args)
        builder.ret_void()
    return function


def out_of_line(name: str, kind: Any, write: Callable[[Lanes, Any], None]) -> Any:
    """Codegen of an intrinsic (zero, named tuple `kind`): calls a function of its own, which `write` writes."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        real = context.get_value_type(signature.args[0])
        operands = unpack(context, builder, kind, signature.args[1], args[1])
        full = f"rnnsweep_{name}_{'f32' if isinstance(real, ir.FloatType) else 'f64'}"
        function = _own_function(builder.module, full, len(operands), lambda b, a: write(Lanes(b, real), kind(*a)))
        builder.call(function, operands)
        return context.get_dummy_value()

    return codegen


class MatrixActivation(NamedTuple):
    """h = f(a) in place, of a padded matrix.

    Attributes:
        code: index of f in `formulas.CODES`. mode: PLAIN, SLOPE or LEAKY.
        h: pre-activations, then states.
        before: the state before, in mode LEAKY only; so `leak`, the address of the leak.
        slope: where f' goes, not in mode PLAIN. bias: the padded row of modReLU's biases.
        rows, vectors: of the matrix.
    """

    code: int
    mode: int
    h: int
    before: int
    slope: int
    bias: int
    leak: int
    rows: int
    vectors: int


@intrinsic
def activate(typingctx, zero, operands):
    """See `MatrixActivation`."""
    require(MatrixActivation, operands)
    return types.void(zero, operands), out_of_line("activate", MatrixActivation, _write_activate)


def _write_activate(k: Lanes, args: MatrixActivation) -> None:
    cases: dict[int, Callable[[], None]] = {}
    for code, name in enumerate(formulas.CODES):
        for mode in (SLOPE, LEAKY):
            cases[code * 3 + mode] = lambda name=name, mode=mode: _activate_loop(k, name, mode, args)
        if name in formulas.FROM_OUTPUT:  # the others always store f', so they have no plain case
            cases[code * 3 + PLAIN] = lambda name=name: _activate_flat(k, name, args)
    by_case(k.builder, k.builder.add(k.builder.mul(args.code, I64(3)), args.mode), cases)


def _activate_flat(k: Lanes, name: str, args: MatrixActivation) -> None:
    """Mode PLAIN over all entries as they lie: rows have no gaps, so that the matrix is one long vector here."""
    units = k.builder.mul(args.rows, args.vectors)

    def body(v: Lanes, at: Any) -> None:
        a = v.load(args.h, at)
        v.store(formulas.value(v, name, a, a), args.h, at)
        v.fetch(args.h, k.builder.add(at, k.builder.mul(units, I64(k.width))))

    by_vector(k, units, body)


def _activate_loop(k: Lanes, name: str, mode: int, args: MatrixActivation) -> None:
    b = k.builder
    # Factors come by address, not by value: all arguments of these functions are then of one type.
    factor = _number(k, args.leak) if mode == LEAKY else None

    def body(v: Lanes, at: Any, column: Any) -> None:
        a = v.load(args.h, at)
        bias = v.load(args.bias, column) if name == "modrelu" else v.constant(0.0)
        y = formulas.value(v, name, a, bias)
        v.store(formulas.slope(v, name, a, bias, y), args.slope, at)
        if mode == LEAKY:
            leak = v.splat(factor)
            y = (1.0 - leak) * v.load(args.before, at) + leak * y
        v.store(y, args.h, at)
        step = b.mul(b.mul(args.rows, args.vectors), I64(k.width))
        for place in (args.h, args.slope):
            v.fetch(place, b.add(at, step))

    if name != "modrelu":
        by_vector(k, b.mul(args.rows, args.vectors), lambda v, at: body(v, at, I64(0)))
        return
    # Biases are those of a row, which the others need not know of.
    with cgutils.for_range(b, args.rows) as row:
        first = b.mul(b.mul(row.index, args.vectors), I64(k.width))
        by_vector(k, args.vectors, lambda v, column: body(v, b.add(first, column), column))


def _number(k: Lanes, address: Any) -> Any:
    return k.builder.load(k.pointer(address, I64(0)))


class PullBack(NamedTuple):
    """delta = J_f^T (leak g), of `count` vectors.

    Attributes:
        code: index of f. stored: whether `source` is f' itself (an address or 1; 0: it is the state after the step).
        delta, g, source: addresses. leak: address of a factor.
    """

    code: int
    stored: int
    delta: int
    g: int
    source: int
    leak: int
    count: int


@intrinsic
def pull(typingctx, zero, operands):
    """See `PullBack`."""
    require(PullBack, operands)
    return types.void(zero, operands), out_of_line("pull", PullBack, _write_pull)


def _write_pull(k: Lanes, args: PullBack) -> None:
    cases: dict[int, Callable[[], None]] = {}
    for number, name in enumerate(formulas.CODES):
        if name in formulas.FROM_OUTPUT:
            cases[number] = lambda name=name: _pull_loop(k, name, False, args)
    # With f' at hand all activations are one product but OPLU, whose Jacobian swaps the pair: two further cases.
    cases[len(formulas.CODES)] = lambda: _pull_loop(k, "identity", True, args)
    cases[len(formulas.CODES) + 1] = lambda: _pull_loop(k, "oplu", True, args)
    b = k.builder
    product, pairs = I64(len(formulas.CODES)), I64(len(formulas.CODES) + 1)
    permuting = b.icmp_signed("==", args.code, I64(formulas.CODES.index("oplu")))
    with_slope = b.select(permuting, pairs, product)
    by_case(b, b.select(b.icmp_signed("!=", args.stored, I64(0)), with_slope, args.code), cases)


def _pull_loop(k: Lanes, name: str, stored: bool, args: PullBack) -> None:
    leak, step = _number(k, args.leak), k.builder.mul(args.count, I64(k.width))

    def body(v: Lanes, at: Any) -> None:
        source = v.load(args.source, at)
        slope = source if stored else formulas.slope_from_output(v, name, source)
        error = v.splat(leak) * v.load(args.g, at)
        v.store(formulas.pullback(v, name, slope, error), args.delta, at)
        v.fetch(args.source, k.builder.sub(at, step), write=0)

    by_vector(k, args.count, body)


class Sum(NamedTuple):
    """out = factor x + y, of `count` vectors; `factor` is the address of a number."""

    out: int
    factor: int
    x: int
    y: int
    count: int


@intrinsic
def combine(typingctx, zero, operands):
    """See `Sum`."""
    require(Sum, operands)
    return types.void(zero, operands), out_of_line("combine", Sum, _write_combine)


def _write_combine(k: Lanes, args: Sum) -> None:
    factor = _number(k, args.factor)

    def body(v: Lanes, at: Any) -> None:
        v.store(v.splat(factor) * v.load(args.x, at) + v.load(args.y, at), args.out, at)

    by_vector(k, args.count, body)


class Multiple(NamedTuple):
    """out = factor x, of `count` vectors; `factor` is the address of a number."""

    out: int
    factor: int
    x: int
    count: int


@intrinsic
def scale(typingctx, zero, operands):
    """See `Multiple`."""
    require(Multiple, operands)
    return types.void(zero, operands), out_of_line("scale", Multiple, _write_scale)


def _write_scale(k: Lanes, args: Multiple) -> None:
    factor = _number(k, args.factor)
    by_vector(k, args.count, lambda v, at: v.store(v.splat(factor) * v.load(args.x, at), args.out, at))


def by_vector(k: Lanes, units: Any, body: Callable[[Lanes, Any], None]) -> None:
    """`body(lanes, offset)` over so many units side by side: in full vectors, then the units that are left."""
    b, full = k.builder, Lanes(k.builder, k.real, VECTOR_BYTES)
    whole = b.udiv(units, I64(PARTS))
    with cgutils.for_range(b, whole) as loop:
        body(full, b.mul(loop.index, I64(full.width)))
    if PARTS > 1:
        with cgutils.for_range_slice(b, b.mul(whole, I64(PARTS)), units, I64(1), I64) as (unit, _):
            body(k, b.mul(unit, I64(k.width)))


def neighbours(k: Lanes, count: Any, body: Callable[[Lanes, Any], None]) -> None:
    """`body(lanes, offset)` over `count` neighbouring numbers: in full vectors, then what is less than one."""
    b = k.builder
    width = VECTOR_BYTES * 8 // k.bits
    done = b.and_(count, I64(-width))
    with cgutils.for_range(b, b.udiv(count, I64(width))) as loop:
        body(Lanes(b, k.real, VECTOR_BYTES), b.mul(loop.index, I64(width)))
    if MASKS:
        with b.if_then(b.icmp_unsigned("!=", count, done)):
            body(FirstLanes(b, k.real, VECTOR_BYTES, b.sub(count, done)), done)
        return
    # In ever smaller vectors: the binary digits of what is left say which ones make it up.
    while width > 1:
        before, width = b.and_(count, I64(-width)), width // 2
        with b.if_then(b.icmp_unsigned("!=", b.and_(count, I64(width)), I64(0))):
            body(Lanes(b, k.real, width * k.bits // 8), before)


class Move(NamedTuple):
    """target = source, of `count` numbers that lie without gaps; the two do not overlap. Below 1: none."""

    target: int
    source: int
    count: int


@intrinsic
def move(typingctx, zero, operands):
    """See `Move`."""
    require(Move, operands)
    return types.void(zero, operands), out_of_line("move", Move, _write_move)


def _write_move(k: Lanes, args: Move) -> None:
    def body(v: Lanes, j: Any) -> None:
        v.store(v.load(args.source, j), args.target, j)

    neighbours(k, _at_least_none(k, args.count), body)


class Blank(NamedTuple):
    """target = 0, of `count` numbers that lie without gaps. Below 1: none."""

    target: int
    count: int


@intrinsic
def blank(typingctx, zero, operands):
    """See `Blank`."""
    require(Blank, operands)
    return types.void(zero, operands), out_of_line("blank", Blank, _write_blank)


def _write_blank(k: Lanes, args: Blank) -> None:
    neighbours(k, _at_least_none(k, args.count), lambda v, j: v.store(v.constant(0.0), args.target, j))


class Ahead(NamedTuple):
    """Bring `count` numbers from `address` on into the second cache; `write`: to be written (1) or read (0).

    No number depends on it, and no address is too wrong for it: what is not there is not brought.
    """

    address: int
    count: int
    write: int


@intrinsic
def fetch_ahead(typingctx, zero, operands):
    """See `Ahead`."""
    require(Ahead, operands)
    return types.void(zero, operands), out_of_line("fetch_ahead", Ahead, _write_fetch_ahead)


def _write_fetch_ahead(k: Lanes, args: Ahead) -> None:
    b, number, byte = k.builder, ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, number, number, number])
    function = cgutils.get_or_insert_function(b.module, kind, "llvm.prefetch.p0i8")
    lines = b.udiv(b.add(b.mul(_at_least_none(k, args.count), I64(k.bits // 8)), I64(LINE - 1)), I64(LINE))
    # The kind of access must be a constant of the instruction: hence two loops.
    with b.if_else(b.icmp_signed("!=", args.write, I64(0))) as (writing, reading):
        for branch, intent in ((writing, 1), (reading, 0)):
            with branch, cgutils.for_range(b, lines) as loop:
                place = b.inttoptr(b.add(args.address, b.mul(loop.index, I64(LINE))), byte)
                b.call(function, [place, number(intent), number(2), number(1)])


def _at_least_none(k: Lanes, count: Any) -> Any:
    """Counts are differences of sizes, and loops over vectors take them for unsigned."""
    return k.builder.select(k.builder.icmp_signed("<", count, I64(0)), I64(0), count)
