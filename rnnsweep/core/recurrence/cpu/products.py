"""Register-tiled products as numba intrinsics; the only place where most of the time goes.

A tile holds up to ROWS x PANEL vectors of the result in registers and runs over the whole inner size; each entry is
summed in the order of the inner index with one fused multiply-add per term, whatever the tile: results do not depend
on how a matrix is cut into tiles.

Both intrinsics take one tuple of addresses and sizes (int64; addresses in bytes, the rest in elements):
    rows: c[m] = start[m] + a1[m] . B1 + a2[m] . B2 with B packed in panels (see `packing`)
    cols: c[m] = start[m] + sum_k a1[k, m] * b[k]      (a transposed product; b row-major, not packed)
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

from rnnsweep.core.recurrence.cpu.host import PANEL, ROWS
from rnnsweep.core.recurrence.cpu.vector import I64, Lanes, Vec, intrinsic

NAMES = ("a1", "lda1", "k1", "a2", "lda2", "k2", "b", "ldb", "start", "ldstart", "c", "ldc", "vectors")


def _codegen_for(form: str) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        real = context.get_value_type(signature.args[0])
        numbers = unpack(context, builder, signature.args[2], args[2])
        after = builder.append_basic_block("tile.done")
        switch = builder.switch(args[1], after)
        for rows in range(1, ROWS + 1):
            block = builder.append_basic_block(f"tile.{rows}")
            switch.add_case(I64(rows), block)
            builder.position_at_end(block)
            builder.call(tile_function(builder.module, real, form, rows), numbers)
            builder.branch(after)
        builder.position_at_end(after)
        return context.get_dummy_value()

    return codegen


def unpack(context: Any, builder: Any, tuple_type: Any, value: Any) -> list[Any]:
    """The members of a numba tuple of whole numbers as i64."""
    members = cgutils.unpack_tuple(builder, value, len(tuple_type))
    return [context.cast(builder, m, kind, types.int64) for m, kind in zip(members, tuple_type, strict=True)]


@intrinsic
def product_rows(typingctx, zero, rows, numbers):
    """See the module; `rows` <= ROWS is the number of result rows."""
    return types.void(zero, types.int64, numbers), _codegen_for("rows")


@intrinsic
def product_cols(typingctx, zero, rows, numbers):
    """See the module; `rows` <= ROWS is the number of result rows."""
    return types.void(zero, types.int64, numbers), _codegen_for("cols")


def tile_function(module: ir.Module, real: ir.Type, form: str, rows: int) -> ir.Function:
    """The function of one tile height, written into the module on first use."""
    name = f"rnnsweep_{form}_{rows}_{'f32' if isinstance(real, ir.FloatType) else 'f64'}"
    kind = ir.FunctionType(ir.VoidType(), [I64] * len(NAMES))
    function = cgutils.get_or_insert_function(module, kind, name)
    if function.is_declaration:
        function.linkage = "linkonce_odr"
        function.attributes.add("noinline")
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        _Tile(Lanes(builder, real), form, rows, dict(zip(NAMES, function.args, strict=True))).write()
        builder.ret_void()
    return function


class _Tile:
    """Writes the body of one tile function."""

    def __init__(self, lanes: Lanes, form: str, rows: int, arg: dict[str, Any]) -> None:
        self.k, self.form, self.rows, self.arg = lanes, form, rows, arg
        self.b = lanes.builder

    def write(self) -> None:
        b, arg = self.b, self.arg
        full = b.udiv(arg["vectors"], I64(PANEL))
        with cgutils.for_range(b, full) as loop:
            self.panel(b.mul(loop.index, I64(PANEL)), PANEL)
        for rest in range(1, PANEL):
            with b.if_then(b.icmp_unsigned("==", b.urem(arg["vectors"], I64(PANEL)), I64(rest))):
                self.panel(b.mul(full, I64(PANEL)), rest)

    def panel(self, first: Any, vectors: int) -> None:
        """All rows of `vectors` columns of vectors, from vector `first` on."""
        b, k, arg = self.b, self.k, self.arg
        column = b.mul(first, I64(k.width))
        cells = [[cgutils.alloca_once(b, k.type) for _ in range(vectors)] for _ in range(self.rows)]
        for m, v, at in self.places("start", column, vectors):
            b.store(k.load(arg["start"], at).value, cells[m][v])
        if self.form == "rows":
            inner = b.add(arg["k1"], arg["k2"])
            base = b.mul(column, inner)
            self.inner("a1", arg["k1"], base, vectors, cells)
            second = b.add(base, b.mul(arg["k1"], I64(vectors * k.width)))
            self.inner("a2", arg["k2"], second, vectors, cells)
        else:
            self.inner("a1", arg["k1"], column, vectors, cells)
        for m, v, at in self.places("c", column, vectors):
            k.store(Vec(k, b.load(cells[m][v])), arg["c"], at)

    def places(self, name: str, column: Any, vectors: int) -> list[tuple[int, int, Any]]:
        """(row, vector, element offset) of each vector of the tile in the matrix `name`."""
        b, k = self.b, self.k
        found = []
        for m in range(self.rows):
            row = b.add(column, b.mul(self.arg[f"ld{name}"], I64(m)))
            found += [(m, v, b.add(row, I64(v * k.width))) for v in range(vectors)]
        return found

    def inner(self, name: str, count: Any, base: Any, vectors: int, cells: list[list[Any]]) -> None:
        """The loop over the inner index."""
        b, k, arg = self.b, self.k, self.arg
        stride = I64(vectors * k.width) if self.form == "rows" else arg["ldb"]
        left = b.inttoptr(arg[name], k.real.as_pointer())
        right = k.pointer(arg["b"], base)
        heads = [b.gep(left, [b.mul(arg[f"ld{name}"], I64(m))]) for m in range(self.rows)]
        with cgutils.for_range(b, count) as loop:
            at = b.gep(right, [b.mul(loop.index, stride)])
            line = [self.vector_at(at, v) for v in range(vectors)]
            column = left if self.form == "rows" else b.gep(left, [b.mul(loop.index, arg[f"ld{name}"])])
            for m in range(self.rows):
                place = b.gep(heads[m], [loop.index]) if self.form == "rows" else b.gep(column, [I64(m)])
                term = k.splat(b.load(place))
                for v in range(vectors):
                    total = k.fma(term, line[v], Vec(k, b.load(cells[m][v])))
                    b.store(total.value, cells[m][v])

    def vector_at(self, pointer: Any, v: int) -> Vec:
        place = self.b.gep(pointer, [I64(v * self.k.width)])
        return Vec(self.k, self.b.load(self.b.bitcast(place, self.k.type.as_pointer()), align=self.k.bits // 8))
