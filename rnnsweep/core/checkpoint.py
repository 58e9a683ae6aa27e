"""Checkpoints of rows: safetensors plus a JSON manifest; a broken one falls back to the one before.

Where they lie: `checkpoint_paths`. A manifest is written last: it makes the checkpoint exist.
On a local path files are written under a temporary name, synced and renamed. Other fsspec URLs put whole objects.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlparse

import fsspec
import safetensors.numpy
import safetensors.torch
import torch
from torch import Tensor

from rnnsweep.core.checkpoint_files import make_folder, sync_folder
from rnnsweep.core.checkpoint_paths import MANIFEST, TENSORS, row_folder, rung_file, rung_of
from rnnsweep.core.pack import RowSnapshot
from rnnsweep.core.types import ParameterLayout
from rnnsweep.errors import CheckpointError

FORMAT = 1
_NUMBERS = ("step", "taken", "rung", "solved_at", "solved_exactly_at", "diverged_at", "best_rung")


@dataclass
class Saved:
    """A checkpoint as read back.

    Attributes:
        state: the row.
        extra: whatever the owner stored beside it (config hash, unacknowledged reports, ...).
    """

    state: RowSnapshot
    extra: dict[str, Any]


class CheckpointStore:
    """Checkpoints below one root, a directory or an fsspec URL.

    Numerics:
        Tensors are stored bit for bit. The manifest carries the SHA-256 of the tensor file, and one of its own text:
        a digit that changed on the way would be another result. Floats that JSON cannot hold (inf) are stored as
        strings.
    """

    def __init__(self, root: str) -> None:
        self.local = "://" not in root or urlparse(root).scheme == "file"
        self.root = urlparse(root).path if root.startswith("file://") else root.rstrip("/")
        self.fs: Any = None if self.local else fsspec.url_to_fs(root)[0]

    def folder(self, trial: int, replica: int, token: str) -> str:
        """Folder of one attempt of one row."""
        return row_folder(self.root, trial, replica, token)

    def save(self, folder: str, state: RowSnapshot, extra: Mapping[str, Any]) -> None:
        """Write the row's checkpoint of its present rung; durable when this returns."""
        # no pickle: reading a checkpoint must not run code
        # the same bytes as by `safetensors.torch.save`, which spends three times as long on looking for shared memory
        data = safetensors.numpy.save({name: value.numpy() for name, value in _tensors(state).items()})
        manifest = {
            "format": FORMAT,
            "sha256": hashlib.sha256(data).hexdigest(),
            "best_loss": repr(state.best_loss),
            "profile_steps": list(state.profile_steps),
            **{name: getattr(state, name) for name in _NUMBERS},
            "extra": dict(extra),
        }
        # Tensors first: killed in between, they lie there without a manifest, which is no checkpoint.
        self._write(rung_file(folder, state.rung, TENSORS), data)
        manifest["checksum"] = _checksum(manifest)
        self._write(rung_file(folder, state.rung, MANIFEST), json.dumps(manifest).encode())
        if self.local:  # once for both names: should only the manifest's be there, the rung before is read
            sync_folder(folder)

    def rungs(self, folder: str) -> list[int]:
        """Rungs that have a manifest, ascending; empty where there is no folder."""
        return sorted(rung for name in self._list(folder) if (rung := rung_of(name)) is not None)

    def load(self, folder: str, rung: int) -> Saved:
        """Read one checkpoint.

        Raises:
            CheckpointError: absent, torn, changed, or of another format.
        """
        file, tensors = rung_file(folder, rung, MANIFEST), rung_file(folder, rung, TENSORS)
        try:
            manifest, data = json.loads(self._read(file)), self._read(tensors)
        except (OSError, ValueError, RecursionError) as error:
            raise CheckpointError(file, str(error)) from error
        _check_manifest(file, manifest)
        if hashlib.sha256(data).hexdigest() != manifest["sha256"]:
            raise CheckpointError(tensors, "checksum differs from the manifest's")
        return Saved(_state(safetensors.torch.load(data), manifest), manifest["extra"])

    def newest(self, folders: Sequence[str], limit: int | None = None) -> Saved | None:
        """The readable checkpoint with most rungs (at most `limit`) in any of the folders; None if there is none."""
        wanted = [(rung, folder) for folder in folders for rung in self.rungs(folder) if limit is None or rung <= limit]
        # sorting is stable: of equal rungs that of the folder named first, the newest attempt's
        for rung, folder in sorted(wanted, key=lambda pair: -pair[0]):
            try:
                return self.load(folder, rung)
            except CheckpointError:
                # torn or changed: the one before costs a few rungs, giving up would cost the trial
                continue
        return None

    def prune(self, folder: str, keep: Sequence[int]) -> None:
        """Delete all rungs of an attempt but these; the manifest goes first."""
        for rung in self.rungs(folder):
            if rung not in keep:
                self._delete(rung_file(folder, rung, MANIFEST))
                self._delete(rung_file(folder, rung, TENSORS))

    def _write(self, path: str, data: bytes) -> None:
        if not self.local:
            self.fs.pipe_file(path, data)
            return
        make_folder(os.path.dirname(path))
        # beside it, since a rename is atomic within one file system only
        temporary = f"{path}.tmp-{os.getpid()}"
        try:
            with open(temporary, "wb") as file:
                file.write(data)
                file.flush()
                # before the rename, or a power cut could leave the new name without its data
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError:  # a full disk must not stay full of torn files
            self._delete(temporary)
            raise

    def _read(self, path: str) -> bytes:
        if not self.local:
            return self.fs.cat_file(path)
        with open(path, "rb") as file:
            return file.read()

    def _list(self, folder: str) -> list[str]:
        try:
            return os.listdir(folder) if self.local else self.fs.ls(folder, detail=False)
        # an attempt that ended before its first rung has no folder
        except (FileNotFoundError, NotADirectoryError):
            return []

    def _delete(self, path: str) -> None:
        try:
            os.remove(path) if self.local else self.fs.rm_file(path)
        except FileNotFoundError:
            return


def check_parameters(state: RowSnapshot, layout: ParameterLayout, source: str) -> None:
    """A checkpoint must hold exactly the parameters of the network that goes on from it.

    A family may have others in another version. What is missing would begin at 0 in the midst of training, and what is
    too much would be lost: a network that nobody asked for.

    Args:
        state: as read back. layout: of the program. source: where it was read, for the message.

    Raises:
        CheckpointError: names or shapes differ.
    """
    own = {spec.name: tuple(spec.shape) for spec in layout.specs}
    found = {name: tuple(value.shape) for name, value in state.params.items()}
    lacking, foreign = sorted(own.keys() - found.keys()), sorted(found.keys() - own.keys())
    other = sorted(name for name in own.keys() & found.keys() if own[name] != found[name])
    problems = {"lacks": lacking, "also has": foreign, "has another shape of": other}
    words = " and ".join(f"{verb} {', '.join(names)}" for verb, names in problems.items() if names)
    if words:
        hint = "another version of the family wrote it: read it with that version, or train anew under another name"
        raise CheckpointError(source, f"{words}; {hint}")


def _checksum(manifest: Mapping[str, Any]) -> str:
    """SHA-256 of the manifest's text without its own checksum; JSON keeps the order of keys, so it comes back."""
    return hashlib.sha256(json.dumps(manifest).encode()).hexdigest()


def _check_manifest(path: str, manifest: Any) -> None:
    """Raise `CheckpointError` unless this is a whole manifest of ours, as it was written."""
    if not isinstance(manifest, dict):
        raise CheckpointError(path, f"is no manifest: {type(manifest).__name__}")
    if manifest.get("format") != FORMAT:
        raise CheckpointError(path, f"format {manifest.get('format')}, this version reads {FORMAT}")
    # popped: it was formed before it was added
    given = manifest.pop("checksum", None)
    if given is not None and given != _checksum(manifest):
        raise CheckpointError(path, "was changed: its checksum differs")
    missing = {"sha256", "best_loss", "profile_steps", "extra", *_NUMBERS} - set(manifest)
    wrong = [name for name in _NUMBERS if not isinstance(manifest.get(name), int | None)]
    if missing or wrong:  # older manifests have no checksum
        raise CheckpointError(path, f"lacks {', '.join(sorted(missing))}" if missing else f"{wrong[0]} is no number")


def _tensors(state: RowSnapshot) -> dict[str, Tensor]:
    # safetensors takes no strided views
    named = {f"params/{name}": value.contiguous() for name, value in state.params.items()}
    named.update({f"slots/{name}": value.contiguous() for name, value in state.slots.items()})
    if state.profile is not None:
        named["profile"] = state.profile.to(torch.float64).contiguous()
    return named


def _state(tensors: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> RowSnapshot:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)}

    return RowSnapshot(
        part("params/"),
        part("slots/"),
        best_loss=float(manifest["best_loss"]),
        profile=tensors.get("profile"),
        profile_steps=tuple(manifest["profile_steps"]),
        **{name: manifest[name] for name in _NUMBERS},
    )
