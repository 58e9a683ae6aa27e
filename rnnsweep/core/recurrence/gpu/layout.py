"""How a loop's product is cut: what each warp has, strides in shared memory.

Functions of sizes only, never of how many rows there are: a row meets the same sums in every pack.
"""

from __future__ import annotations

from dataclasses import dataclass

SHARED_BYTES = 227 * 1024
"""What a program can have on an H100 or H200."""
MULTIPROCESSORS = 132
"""Of an H100 or H200; another device is filled less well, with the same results."""
MOST_WARPS = 16
"""Of a program; more columns than these have are another turn of theirs."""
_MOST_ITEMS = 12
_WAITING = 2
"""Programs of a multiprocessor that wait in turns."""
_LEAST_ITEMS = 2
"""Of a program: a number of the matrix is read for so many products at least."""
_THREADS = 512
_MOST_SLICES = 16
_LEAST_THREADS = 64
_BANKS = 32


@dataclass(frozen=True)
class ProductLayout:
    """A product [samples, inner] x [inner, columns], see cuda/product.cuh.

    Attributes:
        inner, columns: sizes. stride: entries of the matrix in shared memory from one inner index to the next.
        itemsize: bytes. tile: columns per thread. slices: lanes that share an inner index between them.
    """

    inner: int
    columns: int
    stride: int
    itemsize: int
    tile: int
    slices: int

    @classmethod
    def of(cls, inner: int, columns: int, itemsize: int) -> ProductLayout:
        """For a matrix of this size."""
        lane = 16 // itemsize
        tile = 4
        groups = -(-columns // tile)
        slices = 1
        while slices < _MOST_SLICES and groups * slices * 2 <= _THREADS and _worth(inner, groups, slices):
            slices *= 2
        stride = groups * tile
        # Lanes that read at once (16 bytes each, a quarter of a warp) are at `quarter` groups of some slices.
        quarter = min(8, 32 // slices)
        while slices > 4 and stride * itemsize // 4 % _BANKS not in _free(quarter):
            stride += lane
        return cls(inner, columns, stride, itemsize, tile, slices)

    @property
    def rows(self) -> int:
        """Inner indices, rounded up to slices."""
        return -(-self.inner // self.slices) * self.slices

    @property
    def warps(self) -> int:
        """Warps that take part."""
        groups = -(-self.columns // self.tile)
        return min(-(-groups // (32 // self.slices)), MOST_WARPS)

    def width(self, items: int) -> int:
        """Entries from one inner index of the samples' vectors to the next.

        An odd number of 16 bytes: slices read other banks.
        """
        lane = 16 // self.itemsize
        lanes = -(-items // lane)
        return (lanes + 1 - lanes % 2) * lane


def items_of(B: int) -> int:
    """Samples per program: as equal as can be, few enough for a thread's registers."""
    tiles = -(-B // _MOST_ITEMS)
    return -(-B // tiles)


def items_for(P: int, B: int, items: int, programs: int) -> int:
    """Samples per program of a loop of P rows: fewer than `items` where multiprocessors would else stay idle.

    Args:
        P, B: rows, samples of each. items: when there are many rows. programs: that a multiprocessor has room for.
    """
    tiles = min(B // _LEAST_ITEMS, MULTIPROCESSORS * min(programs, _WAITING) // P)
    return min(items, -(-B // tiles)) if tiles else items


def _worth(inner: int, groups: int, slices: int) -> bool:
    """Whether twice as many slices pay: sums of slices are added by shuffles, which short sums do not outweigh."""
    return inner >= 48 * slices or (groups * slices < _LEAST_THREADS and inner >= 8 * slices)


def _free(quarter: int) -> tuple[int, ...]:
    """Strides, in words and modulo the banks, at which the slices of a quarter of a warp meet no bank twice."""
    return {4: (16,), 2: (8, 24), 1: (4, 12, 20, 28)}.get(quarter, tuple(range(0, _BANKS, 4)))
