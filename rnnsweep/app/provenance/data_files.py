"""Digests of the files that a sweep's tasks read.

A file is hashed once: while its size, its times and its number on the disk are what they were, so is its content. The
time of the last change of its entry (ctime) is among them, which no program can set back as it can the other one.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rnnsweep.app.config.data_paths import KEY
from rnnsweep.app.config.point import Variant
from rnnsweep.core.datasets.dataset_files import PREFIX, SAMPLES
from rnnsweep.core.datasets.torch_datasets import DatasetSource
from rnnsweep.core.datasets.torch_datasets import digest as content_digest
from rnnsweep.core.tasks.base import Task
from rnnsweep.errors import ConfigError
from rnnsweep.loader import NAME, build_unit
from rnnsweep.sweep.plan import Params
from rnnsweep.sweep.space import Space

Entry = Mapping[str, Any]
"""What is kept of one file, or of a folder with many: ``sha256``; ``stat``, by which one sees without reading that
nothing has changed, or None where that cannot be told; for a folder also ``endings``, of the files that count. Of a
data set made by code: ``dataset``, the block that names it, and the digest of its content."""

MANY = 64
"""Files of one task that are kept one by one; more are one entry, or the ledger would be mostly names of files."""
ABSENT = "absent"
_CHUNK = 1 << 20
_SETTLED_NS = 2_000_000_000
"""A file that changed less than this ago may change again within the same tick of the file system's clock."""


def tasks_of(variants: Sequence[Variant], space: Space, points: Iterable[Params] = ()) -> list[Task]:
    """Every task that the sweep may train on, searched paths and enqueued points included.

    Raises:
        ConfigError: a task cannot be built, its files being gone or broken for instance.
    """
    searched = [choice for dimension in space if dimension.key == KEY for choice in dimension.choices]
    searched += [point[KEY] for point in points if KEY in point]
    blocks: dict[str, dict[str, Any]] = {}
    for variant in variants:
        block = {**variant.resolved["task"], NAME: variant.names.get("task", "")}
        for path in [block.get("path"), *searched] if "path" in block else [None]:
            placed = {**block, "path": path} if "path" in block else block
            blocks[json.dumps(placed, sort_keys=True, default=str)] = placed
    return [build_unit(block, "task", Task) for block in blocks.values()]


def entries(tasks: Iterable[Task], known: Mapping[str, Entry]) -> dict[str, Entry]:
    """An entry for each file, or for each group of more than `MANY`, by its name; and for each data set made by code.

    Args:
        tasks: whose data they are.
        known: earlier entries; where nothing has changed since, nothing is read.
    """
    blocks = [block for task in tasks for block in task.data_sets()]
    made = {f"data set {block['_target_']} {_arguments(block)}".strip(): block for block in blocks}
    return file_entries([task.data_files() for task in tasks], known) | {
        name: entry(name, {"dataset": block}) for name, block in sorted(made.items())
    }


def _arguments(block: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in block.items() if name != "_target_")


def file_entries(files: Iterable[Sequence[Path]], known: Mapping[str, Entry]) -> dict[str, Entry]:
    """See `entries`; `files` are those of each task."""
    wanted: dict[str, tuple[str, ...]] = {}
    for group in files:
        if len(group) > MANY:
            endings = tuple(sorted({file.suffix for file in group}))
            wanted[_name(Path(os.path.commonpath(group)))] = endings
        else:
            wanted |= {_name(file): () for file in group}
    return {name: _file_entry(name, endings, known.get(name)) for name, endings in sorted(wanted.items())}


def entry(name: str, known: Entry) -> Entry:
    """The entry of a file, folder or data set as it is now; one that is not there has the digest `ABSENT`."""
    if "dataset" not in known:
        return _file_entry(name, known.get("endings", ()), known)
    try:
        digest = content_digest(DatasetSource.of(known["dataset"]))
    except ConfigError:
        digest = ABSENT
    return {"sha256": digest, "stat": None, "dataset": known["dataset"]}


def _file_entry(name: str, endings: Sequence[str], known: Entry | None) -> Entry:
    place = _place(name)
    files = sorted(file for file in place.rglob("*") if file.suffix in endings) if endings else [place]
    more = {"endings": list(endings)} if endings else {}
    try:
        stat, settled = _stat(files)
        if known and known["stat"] == stat and known["sha256"] != ABSENT:
            return known
        digest = _content(files, place)
        # written while it was read: what was hashed is neither the old nor the new
        unchanged = settled and _stat(files)[0] == stat
    except OSError:
        return {"sha256": ABSENT, "stat": None, **more}
    return {"sha256": digest, "stat": stat if unchanged else None, **more}


def _stat(files: Sequence[Path]) -> tuple[str, bool]:
    """Size, times and number of some files as one text, and whether the last change is long enough ago."""
    facts = [file.stat() for file in files]
    numbers = [[fact.st_size, fact.st_mtime_ns, fact.st_ctime_ns, fact.st_ino] for fact in facts]
    settled = time.time_ns() - max((fact.st_ctime_ns for fact in facts), default=0) > _SETTLED_NS
    text = json.dumps(numbers, separators=(",", ":"))
    return text if len(files) == 1 else hashlib.sha256(text.encode()).hexdigest(), settled


def _content(files: Sequence[Path], place: Path) -> str:
    if files == [place]:
        return _hashed(place)
    lines = (f"{file.relative_to(place).as_posix()} {_hashed(file)}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _hashed(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        # in pieces: a corpus need not fit into memory twice
        while piece := stream.read(_CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def _name(place: Path) -> str:
    """How an entry is called on every node: packaged samples do not lie at the same place on all."""
    whole = Path(os.path.abspath(place))
    return PREFIX + whole.relative_to(SAMPLES).as_posix() if whole.is_relative_to(SAMPLES) else str(whole)


def _place(name: str) -> Path:
    return SAMPLES / name.removeprefix(PREFIX) if name.startswith(PREFIX) else Path(name)
