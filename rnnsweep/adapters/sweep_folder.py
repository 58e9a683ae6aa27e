"""A folder that holds one sweep's files and no other's: what is in it may be rewritten, or removed, as a whole."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnsweep.errors import StoreError
from rnnsweep.sweep.views import SweepView

MARKER = "rnnsweep.json"


class SweepFolder:
    """Implements the file side of a tracker: whose folder it is, and errors in its words.

    Attributes:
        path: the sweep's own folder.
    """

    def __init__(self, store: str, root: Path, sweep: SweepView) -> None:
        self._store, self._sweep = store, sweep
        self.path = root / sweep.name

    def claim(self) -> None:
        """Make the folder.

        Raises:
            StoreError: it is another sweep's of this name, or cannot be written.
        """
        with self.errors():
            self.path.mkdir(parents=True, exist_ok=True)
            owner = self._owner()
            if owner is None:
                text = json.dumps({"sweep": self._sweep.name, "identity": self._sweep.identity})
                replace(self.path / MARKER, text.encode())
            elif owner != self._sweep.identity:
                raise StoreError(self._store, f"{self.path} holds another store's sweep of this name: move it away")

    @property
    def is_ours(self) -> bool:
        """Whether it is there, and this sweep's."""
        return self._owner() == self._sweep.identity

    def clear(self) -> None:
        """Remove it with all that is in it, if it is ours.

        Raises:
            StoreError: it cannot be removed.
        """
        with self.errors():
            if self.is_ours:
                shutil.rmtree(self.path)

    @contextmanager
    def errors(self) -> Iterator[None]:
        """Whatever goes wrong with files means that the store is away: no entry of the journal is to blame."""
        try:
            yield
        except StoreError:
            raise
        except OSError as error:
            raise StoreError(self._store, f"{error.filename or self.path}: {error.strerror or error}") from error
        except Exception as error:
            raise StoreError(self._store, f"{type(error).__name__}: {error}".splitlines()[0][:300]) from error

    def _owner(self) -> str | None:
        try:
            return str(json.loads((self.path / MARKER).read_text(encoding="utf-8"))["identity"])
        except (OSError, ValueError, KeyError, TypeError):
            return None


def replace(file: Path, content: bytes) -> None:
    """Write a file so that a reader, or a kill, meets the old one or the new one, never a part."""
    draft = file.with_name(f".{file.name}.draft")  # readers of whole folders pass over what begins with a dot
    draft.write_bytes(content)
    os.replace(draft, file)
