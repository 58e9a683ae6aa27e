"""Parquet: ``trials.parquet``, and the folder ``curves/``, which every reader of Parquet opens as one table.

A file of Parquet cannot grow. New points go into the newest part, which is written anew until it is large enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnsweep.adapters.sweep_folder import replace
from rnnsweep.adapters.table_files.table_mirror import Curves
from rnnsweep.adapters.table_files.trial_rows import Column

if TYPE_CHECKING:
    import pyarrow as pa

PART_ROWS = 50_000
"""Points of a part: about 20 ms to write, and parts that are few enough to open quickly."""


class ParquetTables:
    """Implements `TableFormat`.

    Attributes:
        part_rows: points after which a part is full.
    """

    name = "parquet"

    def __init__(self, part_rows: int = PART_ROWS) -> None:
        self.part_rows = part_rows

    def points(self, folder: Path) -> Iterator[tuple[int | None, str, int]]:
        """See `TableFormat`."""
        import pyarrow.parquet as pq

        for part in _parts(folder):
            table = pq.ParquetFile(part).read(["trial", "step", "metric"])
            columns = (table[name].to_pylist() for name in ("trial", "metric", "step"))
            yield from zip(*columns, strict=True)

    def mend(self, folder: Path) -> None:
        """Nothing is ever torn: a part is replaced as a whole. Drafts are overwritten by the next."""

    def add(self, folder: Path, curves: Curves) -> None:
        """See `TableFormat`."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        flat = [(trial, *point) for trial, points in curves.items() for point in points]
        trials, keys, steps, values = zip(*flat, strict=True)
        table = pa.Table.from_arrays([pa.array(c) for c in (trials, steps, keys, values)], schema=_curves_schema())
        (folder / "curves").mkdir(exist_ok=True)
        parts = _parts(folder)
        index = len(parts)
        if parts:
            newest = pq.ParquetFile(parts[-1])
            if newest.metadata.num_rows < self.part_rows:
                table, index = pa.concat_tables([newest.read(), table]), index - 1
        replace(folder / "curves" / f"part-{index:06d}.parquet", _bytes(table))

    def write_trials(self, folder: Path, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """See `TableFormat`."""
        import pyarrow as pa

        types = {"int": pa.int64(), "float": pa.float64(), "text": pa.string()}
        arrays = [pa.array([row[place] for row in rows], type=types[kind]) for place, (_, kind) in enumerate(columns)]
        table = pa.Table.from_arrays(arrays, names=[name for name, _ in columns])
        replace(folder / "trials.parquet", _bytes(table))

    def read_trials(self, folder: Path) -> list[tuple[int, str, int]]:
        """See `TableFormat`."""
        import pyarrow.parquet as pq

        file = folder / "trials.parquet"
        if not file.is_file():
            return []
        table = pq.ParquetFile(file).read(["trial", "state", "step"])
        return [(row["trial"], row["state"], row["step"]) for row in table.to_pylist()]


def _curves_schema() -> pa.Schema:
    import pyarrow as pa

    fields = {"trial": pa.int64(), "step": pa.int64(), "metric": pa.string(), "value": pa.float64()}
    return pa.schema(list(fields.items()))


def _parts(folder: Path) -> list[Path]:
    return sorted((folder / "curves").glob("part-*.parquet"))


def _bytes(table: pa.Table) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return sink.getvalue().to_pybytes()
