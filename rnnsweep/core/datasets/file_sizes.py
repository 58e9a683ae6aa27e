"""How much a data file would take in memory, told from its headers before anything is taken.

A file may be broken, or made to break things: a header that promises more than the file holds, an archive that unpacks
to thousands of times its size, a pipe that never ends. Each is refused by a line that names it.
"""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO

import numpy as np
import psutil

from rnnsweep.core.datasets.dataset_files import broken
from rnnsweep.errors import ConfigError

_GIB = 1 << 30
_PLAUSIBLE_RATIO = 200
"""Archives that unpack to more than this many times their size, and to `_SUSPICIOUS` bytes or more, are refused. Piano
rolls, which are mostly zeros, reach about 100."""
_SUSPICIOUS = 1 << 28
DEFLATE_RATIO = 1032
"""No deflated stream, and so no gzip file, unpacks to more than this many times its size."""


def size_of(file: Path, expected: str) -> int:
    """Bytes of a regular file.

    Raises:
        ConfigError: it is no regular file (a pipe or device could be read for ever), or cannot be looked at.
    """
    try:
        if not file.is_file():
            raise broken(file, "is no regular file", expected)
        return file.stat().st_size
    except OSError as error:
        raise broken(file, f"cannot be read ({error.strerror})", expected) from None


def check_memory(file: Path, size: int, expected: str) -> None:
    """Refuse what would take more memory than is free.

    Raises:
        ConfigError: `size`, in bytes, is more.
    """
    free = psutil.virtual_memory().available
    if size > free:
        raise broken(file, f"would take {size / _GIB:.3g} GiB of memory, of which {free / _GIB:.3g} are free", expected)


def check_unpacked(file: Path, packed: int, unpacked: int, expected: str) -> None:
    """Refuse what unpacks to implausibly much; sizes in bytes.

    Raises:
        ConfigError: it does, or to more than the free memory.
    """
    if unpacked > _SUSPICIOUS and unpacked > _PLAUSIBLE_RATIO * packed:
        raise broken(file, f"unpacks from {packed:,} bytes to {unpacked / _GIB:.3g} GiB", expected)
    check_memory(file, unpacked, expected)


def check_npy(file: Path, expected: str, name: str = "", in_memory: bool = True) -> tuple[tuple[int, ...], np.dtype]:
    """Shape and type of the array in a .npy file, or in one member of a .npz file, that its header promises.

    Args:
        file: the .npy or .npz file.
        expected: see `broken`.
        name: the member, as `numpy.load` calls it; empty for a .npy file.
        in_memory: whether it will be read; a file that is mapped may be larger than memory.

    Raises:
        ConfigError: no array, or less data than the header promises, or too much for the memory.
    """
    if not name:
        size = size_of(file, expected)
        with file.open("rb") as stream:
            shape, kind = _promised(file, stream, size, expected)
        if in_memory:
            check_memory(file, math.prod(shape) * kind.itemsize, expected)
        return shape, kind
    with zipfile.ZipFile(file) as archive:
        # numpy leaves the ending out of a member's name
        member = archive.getinfo(f"{name}.npy")
        check_unpacked(file, member.compress_size, member.file_size, expected)
        with archive.open(member) as stream:
            return _promised(file, stream, member.file_size, expected)


def _promised(file: Path, stream: IO[bytes], size: int, expected: str) -> tuple[tuple[int, ...], np.dtype]:
    """What an array's header says; `size` bytes hold header and data."""
    try:
        readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, kind = readers[np.lib.format.read_magic(stream)](stream)
    except Exception as error:  # noqa: BLE001 - a header is parsed as Python text: anything may be wrong with it
        raise _no_array(file, str(error) or type(error).__name__, expected) from None
    # objects are pickles, which run code when they are read
    if kind.hasobject:
        raise _no_array(file, "it holds some", expected)
    # Python's integers: a product that wraps around would pass
    promised, held = math.prod(shape) * kind.itemsize, size - stream.tell()
    if promised > held:
        raise broken(file, f"holds {held:,} bytes of data where its header promises {promised:,}", expected)
    return shape, kind


def _no_array(file: Path, why: str, expected: str) -> ConfigError:
    return broken(file, f"is no readable {file.suffix} file without pickled objects ({why})", expected)
