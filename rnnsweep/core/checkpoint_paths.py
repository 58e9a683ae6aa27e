"""Where a sweep's checkpoints lie below ``store.checkpoints``, a directory or an fsspec URL. Needs no torch.

    <store.checkpoints>/<sweep>/<trial>/<replica>/<token>/rung-000012.safetensors     tensors
    <store.checkpoints>/<sweep>/<trial>/<replica>/<token>/rung-000012.json            manifest

This is the only place that spells it: whoever looks for checkpoints asks here.
"""

from __future__ import annotations

import re

MANIFEST, TENSORS = ".json", ".safetensors"
_MANIFEST = re.compile(r"rung-(\d+)\.json$")


def sweep_folder(checkpoints: str, sweep: str) -> str:
    """Folder of a sweep: the root of its `CheckpointStore`.

    Example:
        >>> sweep_folder("s3://bucket/all/", "quickstart")
        's3://bucket/all/quickstart'
    """
    return f"{checkpoints.rstrip('/')}/{sweep}"


def trial_folder(root: str, trial: int) -> str:
    """Folder of a trial below its sweep's."""
    # padded with zeros, so that listings come in order
    return f"{root}/{trial:06d}"


def row_folder(root: str, trial: int, replica: int, token: str) -> str:
    """Folder of one attempt of one row; a worker writes and deletes below its own token's alone.

    Example:
        >>> row_folder("checkpoints/quickstart", 7, 0, "a1")
        'checkpoints/quickstart/000007/000/a1'
    """
    return f"{trial_folder(root, trial)}/{replica:03d}/{token}"


def rung_file(folder: str, rung: int, kind: str) -> str:
    """One of a rung's two files; `kind` is `MANIFEST` or `TENSORS`."""
    return f"{folder}/rung-{rung:06d}{kind}"


def rung_of(name: str) -> int | None:
    """The rung whose manifest a file is, by its name or path; None for any other file.

    Example:
        >>> rung_of("a1/rung-000012.json"), rung_of("rung-000012.safetensors"), rung_of("rung-000012.json.tmp-7")
        (12, None, None)
    """
    match = _MANIFEST.search(name)
    return int(match.group(1)) if match else None
