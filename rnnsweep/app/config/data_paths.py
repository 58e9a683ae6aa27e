"""Data files are meant relative to where a command was given: workers, and a later resume, stand elsewhere."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

from rnnsweep.sweep.space import Dimension

KEY = "task.path"
PLACES = ("path", "root")
"""Arguments of a data set that are paths: what torch's own data sets call theirs, and ours."""


def absolute(path: Any) -> Any:
    """A path as it reads from everywhere; null, packaged samples and URLs as they are.

    Example:
        >>> absolute("samples:midi"), absolute(None), absolute("/data/../books")
        ('samples:midi', None, '/books')
    """
    if not isinstance(path, str) or not path or path.startswith("samples:") or "://" in path:
        return path
    # not Path.resolve: symbolic links stay as the user wrote them
    return os.path.abspath(os.path.expanduser(path))


def place_config(resolved: dict[str, Any]) -> None:
    """Make the task's path, those of its data set and of points that are tried first, absolute in a resolved config."""
    task = resolved["task"]
    if isinstance(task, dict) and "path" in task:
        task["path"] = absolute(task["path"])
        if isinstance(task["path"], dict):
            task["path"] |= {name: absolute(value) for name, value in task["path"].items() if name in PLACES}
    for point in resolved["sampler"].get("enqueue") or ():
        if isinstance(point, dict) and KEY in point:
            point[KEY] = absolute(point[KEY])


def place_dimension(dim: Dimension) -> Dimension:
    """The same dimension with absolute paths, be they its choices or its condition."""
    if dim.key == KEY:
        dim = dataclasses.replace(dim, choices=tuple(map(absolute, dim.choices)))
    if KEY in dim.when:
        dim = dataclasses.replace(dim, when={**dim.when, KEY: tuple(map(absolute, dim.when[KEY]))})
    return dim
