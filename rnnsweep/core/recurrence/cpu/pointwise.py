"""Loops over padded matrices, vector by vector, as numba intrinsics: activations, their pull-backs, sums, maxima.

All matrices are [rows, vectors * width] without gaps; addresses in bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu import formulas
from rnnsweep.core.recurrence.cpu.host import PARTS, VECTOR_BYTES
from rnnsweep.core.recurrence.cpu.products import unpack
from rnnsweep.core.recurrence.cpu.vector import I64, Lanes, Vec, intrinsic

PLAIN, SLOPE, LEAKY = 0, 1, 2
"""What `activate` does besides h = f(a): nothing; store f'(a); store f'(a) and mix with the state before."""


def _switch(builder: Any, value: Any, cases: dict[int, Callable[[], None]]) -> None:
    after = builder.append_basic_block("switch.done")
    switch = builder.switch(value, after)
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
        function.attributes.add("noinline")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        write(builder, function.args)
        builder.ret_void()
    return function


def _out_of_line(name: str, write: Callable[[Lanes, Any], None]) -> Any:
    """Codegen of an intrinsic (zero, tuple of int64): calls a function of its own."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        real = context.get_value_type(signature.args[0])
        numbers = unpack(context, builder, signature.args[1], args[1])
        full = f"rnnsweep_{name}_{'f32' if isinstance(real, ir.FloatType) else 'f64'}"
        function = _own_function(builder.module, full, len(numbers), lambda b, a: write(Lanes(b, real), a))
        builder.call(function, numbers)
        return context.get_dummy_value()

    return codegen


@intrinsic
def activate(typingctx, zero, numbers):
    """h = f(a) in place, for numbers = (code * 3 + mode, h, before, slope, bias, leak, rows, vectors).

    `before` is the state before and `leak` the address of the leak (both only in mode LEAKY); `slope` where f' goes
    (not in mode PLAIN); `bias` the padded bias of modReLU.
    """
    return types.void(zero, numbers), _out_of_line("activate", _write_activate)


def _write_activate(k: Lanes, args: Any) -> None:
    cases: dict[int, Callable[[], None]] = {}
    for code, name in enumerate(formulas.CODES):
        for mode in (SLOPE, LEAKY):
            cases[code * 3 + mode] = lambda name=name, mode=mode: _activate_loop(k, name, mode, args[1:])
        if name in formulas.FROM_OUTPUT:
            cases[code * 3 + PLAIN] = lambda name=name: _activate_flat(k, name, args[1:])
    _switch(k.builder, args[0], cases)


def _activate_flat(k: Lanes, name: str, args: Any) -> None:
    """Mode PLAIN over all entries as they lie: in full vectors, which keeps more of them in flight, then in units."""
    b, h = k.builder, args[0]
    units = b.mul(args[5], args[6])
    whole = Lanes(b, k.real, VECTOR_BYTES)
    full = b.udiv(units, I64(PARTS))
    with cgutils.for_range(b, full) as loop:
        at = b.mul(loop.index, I64(whole.width))
        a = whole.load(h, at)
        whole.store(formulas.value(whole, name, a, a), h, at)
    with cgutils.for_range_slice(b, b.mul(full, I64(PARTS)), units, I64(1), I64) as (unit, _):
        at = b.mul(unit, I64(k.width))
        a = k.load(h, at)
        k.store(formulas.value(k, name, a, a), h, at)


def _activate_loop(k: Lanes, name: str, mode: int, args: Any) -> None:
    h, before, slope, bias, leak_at, rows, vectors = args
    b = k.builder
    leak = _scalar(k, leak_at) if mode == LEAKY else k.constant(1.0)
    with cgutils.for_range(b, rows) as row, cgutils.for_range(b, vectors) as vector:
        column = b.mul(vector.index, I64(k.width))
        at = b.add(b.mul(b.mul(row.index, vectors), I64(k.width)), column)
        a = k.load(h, at)
        own = k.load(bias, column) if name == "modrelu" else k.constant(0.0)
        y = formulas.value(k, name, a, own)
        if mode != PLAIN:
            k.store(formulas.slope(k, name, a, own, y), slope, at)
        if mode == LEAKY:
            y = (1.0 - leak) * k.load(before, at) + leak * y
        k.store(y, h, at)


def _scalar(k: Lanes, address: Any) -> Vec:
    return k.splat(k.builder.load(k.pointer(address, I64(0))))


@intrinsic
def pull(typingctx, zero, numbers):
    """delta = J_f^T (leak g), for numbers = (code, stored, delta, g, source, leak, count of vectors).

    `source` is f' itself where `stored`, else the state; `leak` the address of a factor.
    """
    return types.void(zero, numbers), _out_of_line("pull", _write_pull)


def _write_pull(k: Lanes, args: Any) -> None:
    code, stored = args[:2]
    cases: dict[int, Callable[[], None]] = {}
    for number, name in enumerate(formulas.CODES):
        if name in formulas.FROM_OUTPUT:
            cases[number] = lambda name=name: _pull_loop(k, name, False, args[2:])
    cases[len(formulas.CODES)] = lambda: _pull_loop(k, "identity", True, args[2:])
    cases[len(formulas.CODES) + 1] = lambda: _pull_loop(k, "oplu", True, args[2:])
    b = k.builder
    product, pairs = I64(len(formulas.CODES)), I64(len(formulas.CODES) + 1)
    permuting = b.icmp_signed("==", code, I64(formulas.CODES.index("oplu")))
    kept = b.select(permuting, pairs, product)
    _switch(b, b.select(b.icmp_signed("!=", stored, I64(0)), kept, code), cases)


def _pull_loop(k: Lanes, name: str, stored: bool, args: Any) -> None:
    delta, g, source, leak_at, count = args
    leak = _scalar(k, leak_at)
    with cgutils.for_range(k.builder, count) as loop:
        at = k.builder.mul(loop.index, I64(k.width))
        given = k.load(source, at)
        slope = given if stored else formulas.slope_from_output(k, name, given)
        k.store(formulas.pullback(k, name, slope, leak * k.load(g, at)), delta, at)


@intrinsic
def combine(typingctx, zero, numbers):
    """out = s x + y, for numbers = (out, s, x, y, count of vectors); s is the address of a factor."""
    return types.void(zero, numbers), _out_of_line("combine", _write_combine)


def _write_combine(k: Lanes, args: Any) -> None:
    out, s, x, y, count = args
    factor = _scalar(k, s)
    with cgutils.for_range(k.builder, count) as loop:
        at = k.builder.mul(loop.index, I64(k.width))
        k.store(factor * k.load(x, at) + k.load(y, at), out, at)


@intrinsic
def scale(typingctx, zero, numbers):
    """out = s x, for numbers = (out, s, x, count of vectors); s is the address of a factor."""
    return types.void(zero, numbers), _out_of_line("scale", _write_scale)


def _write_scale(k: Lanes, args: Any) -> None:
    out, s, x, count = args
    factor = _scalar(k, s)
    with cgutils.for_range(k.builder, count) as loop:
        at = k.builder.mul(loop.index, I64(k.width))
        k.store(factor * k.load(x, at), out, at)


@intrinsic
def largest(typingctx, zero, numbers):
    """One vector of max|x| by lane (NaN ignored), for numbers = (out, x, count of vectors)."""
    return types.void(zero, numbers), _out_of_line("largest", _write_largest)


def _write_largest(k: Lanes, args: Any) -> None:
    _reduce(k, args, lambda total, x: k.select(k.magnitude(x) > total, k.magnitude(x), total))


@intrinsic
def squares(typingctx, zero, numbers):
    """One vector of the sums of squares by lane, for numbers = (out, x, count of vectors)."""
    return types.void(zero, numbers), _out_of_line("squares", _write_squares)


def _write_squares(k: Lanes, args: Any) -> None:
    _reduce(k, args, lambda total, x: k.fma(x, x, total))


def _reduce(k: Lanes, args: Any, step: Callable[[Vec, Vec], Vec]) -> None:
    out, x, count = args
    b = k.builder
    total = cgutils.alloca_once(b, k.type)
    b.store(k.constant(0.0).value, total)
    with cgutils.for_range(b, count) as loop:
        b.store(step(Vec(k, b.load(total)), k.load(x, b.mul(loop.index, I64(k.width)))).value, total)
    k.store(Vec(k, b.load(total)), out, I64(0))


@intrinsic
def row_squares(typingctx, zero, numbers):
    """out[r] = sum of squares of row r, for numbers = (out, x, rows, vectors): lane by lane, then over the lanes."""
    return types.void(zero, numbers), _out_of_line("row_squares", _write_row_squares)


def _write_row_squares(k: Lanes, args: Any) -> None:
    out, x, rows, vectors = args
    b = k.builder
    total = cgutils.alloca_once(b, k.type)
    with cgutils.for_range(b, rows) as row:
        b.store(k.constant(0.0).value, total)
        first = b.mul(row.index, vectors)
        with cgutils.for_range(b, vectors) as loop:
            term = k.load(x, b.mul(b.add(first, loop.index), I64(k.width)))
            b.store(k.fma(term, term, Vec(k, b.load(total))).value, total)
        lanes = b.load(total)
        whole = b.extract_element(lanes, ir.IntType(32)(0))
        for lane in range(1, k.width):
            whole = b.fadd(whole, b.extract_element(lanes, ir.IntType(32)(lane)))
        b.store(whole, k.pointer(out, row.index))
