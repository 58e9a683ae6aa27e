"""Register-tiled products as numba intrinsics; the only place where most of the time goes.

A tile holds up to 10 x 2 vectors of the result in registers and runs over the whole inner size; each entry is
summed in the order of the inner index with one fused multiply-add per term, whatever the tile: results do not depend
on how a matrix is cut into tiles.

Both intrinsics take one `Product`:
    rows: c[m] = start[m] + a1[m] . B1 + a2[m] . B2 with B packed in panels (see `kernels.matrices.pack`)
    cols: c[m] = start[m] + sum_k a1[k, m] * b[k]      (a transposed product; b row-major, not packed)
"""

from __future__ import annotations

from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.emit.vector import I64, Lanes, Vec, intrinsic, require, unpack
from rnnsweep.core.recurrence.cpu.host import PANEL, PARTS, TILES, VECTOR_BYTES


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
