"""CSV: ``trials.csv``, and ``curves.csv`` with one point per line."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rnnsweep.adapters.sweep_folder import replace
from rnnsweep.adapters.table_files.table_mirror import Curves
from rnnsweep.adapters.table_files.trial_rows import Column

HEADER = b"trial,step,metric,value\n"
"""Of the curves; the sweep's own points have no trial."""


class CsvTables:
    """Implements `TableFormat`. Numbers are written so that reading them again gives the same bits."""

    name = "csv"

    def points(self, folder: Path) -> Iterator[tuple[int | None, str, int]]:
        """See `TableFormat`."""
        file = folder / "curves.csv"
        if not file.is_file():
            return
        with file.open("rb") as stream:
            next(stream, None)
            for line in stream:
                if line.endswith(b"\n"):
                    trial, step, key, _ = line.split(b",")
                    yield int(trial) if trial else None, key.decode(), int(step)

    def mend(self, folder: Path) -> None:
        """Cut off a last line without an end."""
        file = folder / "curves.csv"
        if not file.is_file():
            return
        with file.open("r+b") as stream:
            size = stream.seek(0, io.SEEK_END)
            position = size
            while position > 0:
                begin = max(0, position - 4096)
                stream.seek(begin)
                newline = stream.read(position - begin).rfind(b"\n")
                if newline >= 0:
                    stream.truncate(begin + newline + 1)
                    return
                position = begin
            stream.truncate(0)

    def add(self, folder: Path, curves: Curves) -> None:
        """See `TableFormat`."""
        lines = [
            f"{'' if trial is None else trial},{step},{key},{value!r}\n".encode()
            for trial, points in curves.items()
            for key, step, value in points
        ]
        with (folder / "curves.csv").open("ab") as stream:
            if stream.tell() == 0:
                stream.write(HEADER)
            stream.write(b"".join(lines))

    def write_trials(self, folder: Path, columns: Sequence[Column], rows: Sequence[Sequence[Any]]) -> None:
        """See `TableFormat`."""
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(name for name, _ in columns)
        writer.writerows(rows)
        replace(folder / "trials.csv", text.getvalue().encode())

    def read_trials(self, folder: Path) -> list[tuple[int, str, int]]:
        """See `TableFormat`."""
        file = folder / "trials.csv"
        if not file.is_file():
            return []
        with file.open(newline="", encoding="utf-8") as stream:
            return [(int(row["trial"]), row["state"], int(row["step"])) for row in csv.DictReader(stream)]
