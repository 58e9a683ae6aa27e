"""Which files a user's path names, and one table of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from rnnsweep.core.datasets.dataset_files import KeptReader, locate, states_of
from rnnsweep.core.datasets.table_arrays import array_files, is_unpacked, read_archive, read_array, read_unpacked
from rnnsweep.core.datasets.table_arrow import is_saved, read_parquet, read_saved, saved_files
from rnnsweep.core.datasets.table_columns import ANY, EXPECTED, FOLDER, Roles, Table, joined, objects, wrong_file
from rnnsweep.core.datasets.table_text_files import read_json_lines, read_plain, read_separated
from rnnsweep.core.datasets.torch_datasets import DatasetSource, read_dataset
from rnnsweep.errors import nearest

SAMPLE = "japanese_vowels.parquet"
READERS: Mapping[str, Callable[..., Table]] = {
    ".csv": read_separated,
    ".tsv": read_separated,
    ".tab": read_separated,
    ".jsonl": read_json_lines,
    ".ndjson": read_json_lines,
    ".parquet": read_parquet,
    ".npz": read_archive,
    ".npy": read_array,
    ".txt": read_plain,
}
"""Ending of a file's name -> what reads it."""
_NESTED = (read_json_lines, read_parquet)
"""Readers of files whose cells may be lists."""


def table_files(path: str | None) -> list[Path]:
    """The files of a path that `read_table` reads, sorted.

    Raises:
        ConfigError: there is nothing, or no file of a known kind.
    """
    return _files(locate(path, SAMPLE, EXPECTED))


def _files(place: Path) -> list[Path]:
    if not place.is_dir():
        _reader(place)
        return [place]
    if is_saved(place):
        return saved_files(place)
    if is_unpacked(place):
        return array_files(place)
    found = sorted(file for file in place.rglob("*") if file.suffix.lower() in READERS and file.is_file())
    if not found:
        raise wrong_file(place, "holds no file of a known kind", allowed=", ".join(READERS))
    kinds = sorted({file.suffix.lower() for file in found})
    if len(kinds) > 1:
        raise wrong_file(place, f"holds files of several kinds: {', '.join(kinds)}", allowed="one kind of file")
    return found


def _reader(file: Path) -> Callable[..., Table]:
    ending = file.suffix.lower()
    if ending not in READERS:
        problem, hint = f"is of an unknown kind ({ending or 'no ending'})", nearest(ending, READERS)
        raise wrong_file(file, problem, allowed=f"{', '.join(READERS)}, or a folder of such files", hint=hint)
    return READERS[ending]


def file_states(path: str | DatasetSource | None) -> str:
    """A digest of name, size and time of writing of each file: what is kept of a table is kept for these.

    Raises:
        ConfigError: see `table_files`.
    """
    if isinstance(path, DatasetSource):
        return path.states()
    return states_of(table_files(path))


def read_table(path: str | DatasetSource | None, roles: Roles = ANY) -> Table:
    """All rows of a file, folder or data set. In a folder each file is a sequence, or has its own.

    Args:
        path: what is read.
        roles: of its columns.

    Raises:
        ConfigError: missing or broken files; names file, row and column.
    """
    if isinstance(path, DatasetSource):
        return read_dataset(path)
    return _kept(path, roles)


def _read(path: str | None, roles: Roles) -> Table:
    place = locate(path, SAMPLE, EXPECTED)
    if not place.is_dir():
        return _one(place, roles)
    if is_saved(place):
        return read_saved(place, roles)
    if is_unpacked(place):
        return read_unpacked(place)
    files = _files(place)
    parts = [_in_folder(_one(file, roles), file.parent, place) for file in files]
    names = [str(file.relative_to(place).with_suffix("")) for file in files]
    return joined(place, parts, names)


_kept = KeptReader(_read, file_states, most=2)


def _one(file: Path, roles: Roles) -> Table:
    reader = _reader(file)
    return reader(file, roles) if reader in _NESTED else reader(file)


def _in_folder(table: Table, folder: Path, place: Path) -> Table:
    if folder != place and FOLDER not in table.columns:
        table.columns[FOLDER] = objects([folder.name] * len(table))
    return table
