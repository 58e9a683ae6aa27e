"""Files beside checkpoints."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from rnnsweep.core.checkpoint_files import CONFIG, remove_leftovers, write_config
from rnnsweep.core.checkpoint_paths import MANIFEST, TENSORS, row_folder, rung_file


def row(root: Path, *files: str) -> Path:
    folder = Path(row_folder(str(root), 0, 0, "a1"))
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_text("x")
    return folder


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_what_killed_writers_left_goes_and_checkpoints_stay(tmp_path: Path, scheme: str) -> None:
    whole = [Path(rung_file("", rung, kind)).name for rung in (1, 2) for kind in (MANIFEST, TENSORS)]
    torn = [f"{whole[0]}.tmp-17", f"{whole[1]}.tmp-9", Path(rung_file("", 3, TENSORS)).name]
    folder = row(tmp_path, *whole, *torn, "rung-000004.json")
    assert remove_leftovers(f"{scheme}{tmp_path}") == 3
    assert sorted(path.name for path in folder.iterdir()) == sorted([*whole, "rung-000004.json"])
    assert remove_leftovers(f"{scheme}{tmp_path}") == 0


def test_nothing_is_left_where_nothing_was() -> None:
    assert remove_leftovers("memory://bucket/s") == 0
    assert remove_leftovers("/nowhere/at/all") == 0


def test_a_config_is_kept_in_a_directory_and_in_an_object_store(tmp_path: Path) -> None:
    import fsspec

    write_config(str(tmp_path / "new" / "s"), {"name": "s", "limit": math.inf})
    write_config(str(tmp_path / "new" / "s"), {"name": "s", "limit": 3})
    assert [path.name for path in (tmp_path / "new" / "s").iterdir()] == [CONFIG]
    assert json.loads((tmp_path / "new" / "s" / CONFIG).read_text()) == {"name": "s", "limit": 3}
    write_config("memory://bucket/s", {"name": "s"})
    assert json.loads(fsspec.filesystem("memory").cat_file(f"/bucket/s/{CONFIG}")) == {"name": "s"}
