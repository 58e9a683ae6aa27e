"""Register-tiled products as numba intrinsics, where most of the time goes; masks and layer norm beside them.

A tile holds up to 10 x 2 vectors of the result in registers and runs over the whole inner size; each entry is
summed in the order of the inner index with one fused multiply-add per term, whatever the tile: results do not depend
on how a matrix is cut into tiles.

Both intrinsics take one `Product`:
    rows: c[m] = start[m] + a1[m] . B1 + a2[m] . B2 with B packed in panels (see `kernels.matrices.pack`)
    cols: c[m] = start[m] + sum_k a1[k, m] * b[k]      (a transposed product; b row-major, not packed)

Of masks, a factor of 1 and a zone of 0 change no bit, and where a zone is 1 the state is what it was, whatever the step
made. Layer norm sums over full vectors lane by lane, then over the lanes in order, then over what is left one by one:
an order that depends on the number of columns only. Mean first, then the variance of what is left: no cancellation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.gates import Sample, every
from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require, unpack
from rnnsweep.core.recurrence.cpu.emit.vectors import neighbours, out_of_line
from rnnsweep.core.recurrence.cpu.host import PANEL, PARTS, TILES, VECTOR_BYTES

EPSILON = 1e-5
"""`recurrence.layer_norm.EPSILON`, here once more: what compiled code is made of lies in this package."""


class Product(NamedTuple):
    """One tile's operands: addresses in bytes, all else in elements.

    Attributes:
        a1, lda1, k1: left matrix, entries from one of its rows to the next, its inner size; a2, lda2, k2 likewise.
        b, ldb: right matrix; ldb counts for "cols" only, as packed panels have no row stride.
        start, ldstart: what the sums begin with; ldstart = 0 adds one and the same row everywhere.
        c, ldc: the result; may be `start`.
        units: columns of the result in units of a vector.
    """

    a1: int
    lda1: int
    k1: int
    a2: int
    lda2: int
    k2: int
    b: int
    ldb: int
    start: int
    ldstart: int
    c: int
    ldc: int
    units: int


def _codegen_for(form: str) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        real = context.get_value_type(signature.args[0])
        operands = unpack(context, builder, Product, signature.args[2], args[2])
        after = builder.append_basic_block("tile.done")
        switch = builder.switch(args[1], after)
        for rows in TILES:  # one function per height: a switch here is cheaper than a loop over rows inside the tile
            block = builder.append_basic_block(f"tile.{rows}")
            switch.add_case(I64(rows), block)
            builder.position_at_end(block)
            builder.call(tile_function(builder.module, real, form, rows), operands)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return codegen


@intrinsic
def product_rows(typingctx, zero, rows, operands):
    """See the module; `rows` is the number of result rows, one of TILES."""
    require(Product, operands)
    return types.void(zero, types.int64, operands), _codegen_for("rows")


@intrinsic
def product_cols(typingctx, zero, rows, operands):
    """See the module; `rows` is the number of result rows, one of TILES."""
    require(Product, operands)
    return types.void(zero, types.int64, operands), _codegen_for("cols")


def tile_function(module: ir.Module, real: ir.Type, form: str, rows: int) -> ir.Function:
    """The function of one tile height, written into the module on first use."""
    name = f"rnnsweep_{form}_{rows}_{'f32' if isinstance(real, ir.FloatType) else 'f64'}"
    kind = ir.FunctionType(ir.VoidType(), [I64] * len(Product._fields))
    function = cgutils.get_or_insert_function(module, kind, name)
    if function.is_declaration:
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")  # a tile is large, and called from many places
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        operands = dict(zip(Product._fields, function.args, strict=True))
        _Tile(Lanes(builder, real), form, rows, operands).write()
        builder.ret_void()
    return function


class _Tile:
    """Writes the body of one tile function."""

    def __init__(self, lanes: Lanes, form: str, rows: int, arg: dict[str, Any]) -> None:
        self.k, self.form, self.rows, self.arg = lanes, form, rows, arg
        self.b = lanes.builder
        self.whole = Lanes(self.b, lanes.real, VECTOR_BYTES)

    def write(self) -> None:
        """Panel after panel, then what is left of a panel."""
        b, arg = self.b, self.arg
        # An odd width ends in a narrower panel, and that in one unit: results do not depend on the cut.
        full = b.udiv(arg["units"], I64(PANEL))
        with cgutils.for_range(b, full) as loop:
            self.panel(b.mul(loop.index, I64(PANEL)), PANEL)
        for left in range(1, PANEL):
            with b.if_then(b.icmp_unsigned("==", b.urem(arg["units"], I64(PANEL)), I64(left))):
                self.panel(b.mul(full, I64(PANEL)), left)

    def panel(self, first: Any, units: int) -> None:
        """All rows of `units` columns of units, from unit `first` on: as full vectors, and one unit where it is odd."""
        b, k, arg = self.b, self.k, self.arg
        column = b.mul(first, I64(k.width))
        parts = [(i * self.whole.width, self.whole) for i in range(units // PARTS)]
        parts += [(i * k.width, k) for i in range(units // PARTS * PARTS, units)]
        # Stack slots in the source, registers in the result: LLVM promotes them, as no address of one escapes.
        cells = [[cgutils.alloca_once(b, lanes.type) for _, lanes in parts] for _ in range(self.rows)]
        for m, v, at in self.vectors("start", column, parts):
            b.store(parts[v][1].load(arg["start"], at).value, cells[m][v])
        if self.form == "rows":
            base = b.mul(column, b.add(arg["k1"], arg["k2"]))
            self.inner("a1", base, parts, cells)
            self.inner("a2", b.add(base, b.mul(arg["k1"], I64(units * k.width))), parts, cells)
        else:
            self.inner("a1", column, parts, cells)
        for m, v, at in self.vectors("c", column, parts):
            lanes = parts[v][1]
            lanes.store(Vec(lanes, b.load(cells[m][v])), arg["c"], at)

    def vectors(self, name: str, column: Any, parts: list[tuple[int, Lanes]]) -> list[tuple[int, int, Any]]:
        """(row, part, element offset) of each vector of the tile in the matrix `name`."""
        b = self.b
        offsets = []
        for m in range(self.rows):
            row = b.add(column, b.mul(self.arg[f"ld{name}"], I64(m)))
            offsets += [(m, v, b.add(row, I64(offset))) for v, (offset, _) in enumerate(parts)]
        return offsets

    def inner(self, name: str, base: Any, parts: list[tuple[int, Lanes]], cells: list[list[Any]]) -> None:
        """The loop over the inner index of the left matrix `name`."""
        b, k, arg = self.b, self.k, self.arg
        width = sum(lanes.width for _, lanes in parts)
        stride = I64(width) if self.form == "rows" else arg["ldb"]
        left = b.inttoptr(arg[name], k.real.as_pointer())
        right = k.pointer(arg["b"], base)
        # Addresses of the rows are formed once, outside of the loop over the inner index.
        heads = [b.gep(left, [b.mul(arg[f"ld{name}"], I64(m))]) for m in range(self.rows)]
        with cgutils.for_range(b, arg["k" + name[1:]]) as loop:
            at = b.gep(right, [b.mul(loop.index, stride)])
            line = [self.vector_at(at, offset, lanes) for offset, lanes in parts]
            column = left if self.form == "rows" else b.gep(left, [b.mul(loop.index, arg[f"ld{name}"])])
            for m in range(self.rows):
                place = b.gep(heads[m], [loop.index]) if self.form == "rows" else b.gep(column, [I64(m)])
                # One number of the left matrix against a whole line of the right one: no shuffles, no horizontal sums.
                term = b.load(place)
                for v, (_, lanes) in enumerate(parts):
                    total = lanes.fma(lanes.splat(term), line[v], Vec(lanes, b.load(cells[m][v])))
                    b.store(total.value, cells[m][v])

    def vector_at(self, pointer: Any, offset: int, lanes: Lanes) -> Vec:
        """The vector at an element offset from a pointer."""
        place = self.b.bitcast(self.b.gep(pointer, [I64(offset)]), lanes.type.as_pointer())
        return Vec(lanes, self.b.load(place, align=lanes.bits // 8))


class Masked(NamedTuple):
    """out = mask x, all [rows, columns], each with entries from one row to the next of its own."""

    out: int
    ldout: int
    x: int
    ldx: int
    mask: int
    ldmask: int
    rows: int
    columns: int


@intrinsic
def masked(typingctx, zero, operands):
    """See `Masked`."""
    require(Masked, operands)
    return types.void(zero, operands), out_of_line("masked", Masked, _write_masked)


def _write_masked(k: Lanes, args: Masked) -> None:
    def body(v: Lanes, j: Any, out: Sample, x: Sample, mask: Sample) -> None:
        out.store(mask.load(v, 0, j) * x.load(v, 0, j), 0, j)

    matrices = [(args.out, args.ldout), (args.x, args.ldx), (args.mask, args.ldmask)]
    every(k, (args.rows, args.columns), matrices, body)


class Zoned(NamedTuple):
    """state = zone before + (1 - zone) state, of so many `numbers` that lie without gaps."""

    state: int
    before: int
    zone: int
    numbers: int


@intrinsic
def zoned(typingctx, zero, operands):
    """See `Zoned`."""
    require(Zoned, operands)
    return types.void(zero, operands), out_of_line("zoned", Zoned, _write_zoned)


def _write_zoned(k: Lanes, args: Zoned) -> None:
    def body(v: Lanes, j: Any, state: Sample, before: Sample, zone: Sample) -> None:
        share, new, old = zone.load(v, 0, j), state.load(v, 0, j), before.load(v, 0, j)
        # Selected, not weighed: 0 * inf would be NaN.
        mixed = v.select(share <= 0.0, new, share * old + (1.0 - share) * new)
        state.store(v.select(1.0 - share <= 0.0, old, mixed), 0, j)

    every(k, (I64(1), args.numbers), [(args.state, I64(0)), (args.before, I64(0)), (args.zone, I64(0))], body)


class Unzoned(NamedTuple):
    """inner = (1 - zone) g and passed = zone g, all [rows, columns]; inner may be g itself."""

    g: int
    ldg: int
    inner: int
    ldinner: int
    passed: int
    ldpassed: int
    zone: int
    ldzone: int
    rows: int
    columns: int


@intrinsic
def unzoned(typingctx, zero, operands):
    """See `Unzoned`."""
    require(Unzoned, operands)
    return types.void(zero, operands), out_of_line("unzoned", Unzoned, _write_unzoned)


def _write_unzoned(k: Lanes, args: Unzoned) -> None:
    def body(v: Lanes, j: Any, g: Sample, inner: Sample, passed: Sample, zone: Sample) -> None:
        share, error = zone.load(v, 0, j), g.load(v, 0, j)
        passed.store(share * error, 0, j)
        inner.store((1.0 - share) * error, 0, j)

    errors = [(args.g, args.ldg), (args.inner, args.ldinner), (args.passed, args.ldpassed)]
    every(k, (args.rows, args.columns), [*errors, (args.zone, args.ldzone)], body)


class Normalise(NamedTuple):
    """out = gain hat + add, hat = (x - mean) spread, row by row of [rows, columns]; out may be x itself.

    Attributes:
        x, ldx, out, ldout, add, ldadd, hat, ldhat: addresses, and entries from one row to the next.
        gain: one row. spread, ldspread: where 1 / standard deviation of each row goes.
    """

    x: int
    ldx: int
    out: int
    ldout: int
    gain: int
    add: int
    ldadd: int
    hat: int
    ldhat: int
    spread: int
    ldspread: int
    rows: int
    columns: int


@intrinsic
def normalise(typingctx, zero, operands):
    """See `Normalise`."""
    require(Normalise, operands)
    return types.void(zero, operands), out_of_line("normalise", Normalise, _write_normalise)


def _write_normalise(k: Lanes, args: Normalise) -> None:
    b, count = k.builder, args.columns
    gain = _row(k, args.gain, I64(0), I64(0))
    with cgutils.for_range(b, args.rows) as loop:
        x, out, add, hat, spread = (
            _row(k, address, stride, loop.index)
            for address, stride in (
                (args.x, args.ldx),
                (args.out, args.ldout),
                (args.add, args.ldadd),
                (args.hat, args.ldhat),
                (args.spread, args.ldspread),
            )
        )
        mean = _mean(k, count, lambda v, j: x.load(v, 0, j))

        def square(v: Lanes, j: Any) -> Vec:
            centred = x.load(v, 0, j) - v.splat(mean)
            return centred * centred

        variance = b.fadd(_mean(k, count, square), ir.Constant(k.real, EPSILON))
        scale = b.fdiv(ir.Constant(k.real, 1.0), _root(k, variance))

        def write(v: Lanes, j: Any) -> None:
            normal = (x.load(v, 0, j) - v.splat(mean)) * v.splat(scale)
            hat.store(normal, 0, j)
            out.store(v.fma(gain.load(v, 0, j), normal, add.load(v, 0, j)), 0, j)

        neighbours(k, count, write)
        one = _single(k)
        spread.store(one.splat(scale), 0, I64(0))


class PullNorm(NamedTuple):
    """Errors g of `Normalise.out` become errors `out` of its x, row by row of [rows, columns]; out may be g itself.

    Attributes:
        g, ldg, out, ldout, hat, ldhat, spread, ldspread: addresses, and entries from one row to the next.
        gain: one row. dgain, dbias: one row each; sums over the rows are added to them.
    """

    g: int
    ldg: int
    out: int
    ldout: int
    gain: int
    hat: int
    ldhat: int
    spread: int
    ldspread: int
    dgain: int
    dbias: int
    rows: int
    columns: int


@intrinsic
def pull_norm(typingctx, zero, operands):
    """See `PullNorm`."""
    require(PullNorm, operands)
    return types.void(zero, operands), out_of_line("pull_norm", PullNorm, _write_pull_norm)


def _write_pull_norm(k: Lanes, args: PullNorm) -> None:
    b, count = k.builder, args.columns
    gain, dgain, dbias = (_row(k, address, I64(0), I64(0)) for address in (args.gain, args.dgain, args.dbias))
    with cgutils.for_range(b, args.rows) as loop:
        g, out, hat, spread = (
            _row(k, address, stride, loop.index)
            for address, stride in (
                (args.g, args.ldg),
                (args.out, args.ldout),
                (args.hat, args.ldhat),
                (args.spread, args.ldspread),
            )
        )

        def error(v: Lanes, j: Any) -> Vec:
            return gain.load(v, 0, j) * g.load(v, 0, j)

        mean = _mean(k, count, error)
        along = _mean(k, count, lambda v, j: error(v, j) * hat.load(v, 0, j))
        scale = spread.load(_single(k), 0, I64(0))
        scale = b.extract_element(scale.value, ir.IntType(32)(0))

        def write(v: Lanes, j: Any) -> None:
            own, normal = g.load(v, 0, j), hat.load(v, 0, j)
            dgain.store(v.fma(own, normal, dgain.load(v, 0, j)), 0, j)
            dbias.store(dbias.load(v, 0, j) + own, 0, j)
            left = error(v, j) - v.splat(mean) - normal * v.splat(along)
            out.store(v.splat(scale) * left, 0, j)

        neighbours(k, count, write)


def _row(k: Lanes, address: Any, stride: Any, index: Any) -> Sample:
    b = k.builder
    return Sample(k, b.add(address, b.mul(b.mul(index, stride), I64(k.bits // 8))), I64(0))


def _single(k: Lanes) -> Lanes:
    """Vectors of one number."""
    return Lanes(k.builder, k.real, k.bits // 8)


def _mean(k: Lanes, count: Any, term: Callable[[Lanes, Any], Vec]) -> Any:
    """Mean of `term` over `count` columns, one number."""
    b = k.builder
    wide, one = Lanes(b, k.real, VECTOR_BYTES), _single(k)
    total, rest = cgutils.alloca_once(b, wide.type), cgutils.alloca_once(b, k.real)
    b.store(wide.constant(0.0).value, total)
    full = b.udiv(count, I64(wide.width))
    with cgutils.for_range(b, full) as loop:
        part = term(wide, b.mul(loop.index, I64(wide.width)))
        b.store((Vec(wide, b.load(total)) + part).value, total)
    lanes = b.load(total)
    # Lane after lane, not a tree: the order is written down here, so that no compiler may choose another.
    whole = b.extract_element(lanes, ir.IntType(32)(0))
    for lane in range(1, wide.width):
        whole = b.fadd(whole, b.extract_element(lanes, ir.IntType(32)(lane)))
    b.store(whole, rest)
    with cgutils.for_range_slice(b, b.mul(full, I64(wide.width)), count, I64(1), I64) as (column, _):
        part = b.extract_element(term(one, column).value, ir.IntType(32)(0))
        b.store(b.fadd(b.load(rest), part), rest)
    return b.fdiv(b.load(rest), b.sitofp(count, k.real))


def _root(k: Lanes, number: Any) -> Any:
    kind = ir.FunctionType(k.real, [k.real])
    return k.builder.call(cgutils.get_or_insert_function(k.builder.module, kind, f"llvm.sqrt.f{k.bits}"), [number])
