"""Digests of the code that makes numbers: rnnsweep's own, and the units in use with the modules that they import.

Imports are read from the source, not followed by running it: a digest needs neither torch nor the user's code to work.
What a unit loads by other means (`importlib`, `exec`) is not seen.
"""

from __future__ import annotations

import ast
import hashlib
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.machinery import all_suffixes
from importlib.util import find_spec
from pathlib import Path

from rnnsweep.loader import SCORES

PACKAGE = Path(__file__).parents[2]
MAKERS = ("core", "app/worker", "sweep/objective.py", "loader.py", "unit.py")
"""What makes numbers within the package; the rest (commands, stores, reports) may change without changing any."""
CODE = (".py", ".cu", ".cuh")
"""Endings of files that are code: kernels of a GPU are CUDA C++."""
DECISIVE = ("torch", "numba", "llvmlite")
"""Libraries that compute, or compile what computes: their versions, in every fingerprint, stand for all their files."""
DIGITS = 16
"""Of SHA-256 are kept: a sweep has some fifty modules, and its row in the ledger is written every few seconds."""
UNIT_FOLDERS = (
    "analyses",
    "controllers",
    "datasets",
    "embeddings",
    "families",
    "inits",
    "learners",
    "metrics",
    "optimizers",
    "readouts",
    "tasks",
)
"""Folders of `core` whose modules count where a unit in use is one of them or imports it."""
_PARSING = threading.Lock()
"""CPython 3.11 counts the depth of all threads' parsing together, and fails where two of them parse (gh-106905)."""
_SEARCHING = ("rnnsweep.adapters.optuna", "rnnsweep.sweep.schedulers", "rnnsweep.sweep.hypervolume")
_FOLLOWED = (*(f"rnnsweep.core.{folder}" for folder in UNIT_FOLDERS), *_SEARCHING)


def own_code() -> str:
    """Digest of all code of rnnsweep that takes part in every training, whatever its units."""
    digest = hashlib.sha256()
    for file in _own_files():
        # the name too: a module that was renamed is another one to whoever imports it
        digest.update(f"{file.relative_to(PACKAGE).as_posix()} {digest_of(file)}\n".encode())
    return digest.hexdigest()[:DIGITS]


def _own_files() -> Iterator[Path]:
    for maker in MAKERS:
        place = PACKAGE / maker
        files = (file for file in place.rglob("*") if file.suffix in CODE) if place.is_dir() else [place]
        for file in sorted(files):
            parts = file.relative_to(PACKAGE).parts
            if not (parts[0] == "core" and parts[1] in UNIT_FOLDERS):
                yield file


def digest_of(file: Path) -> str:
    """Digest of a source file's bytes; a comment counts too, since no reading of it is the same in every Python."""
    return hashlib.sha256(file.read_bytes()).hexdigest()[:DIGITS]


def targets(resolved: Mapping[str, object], groups: Iterable[str]) -> set[str]:
    """Modules of the units in these top-level blocks of a resolved config, nested blocks included."""
    found: set[str] = set()
    waiting: list[object] = [resolved.get(group) for group in groups]
    while waiting:
        block = waiting.pop()
        if isinstance(block, list | tuple):
            waiting.extend(block)
        elif isinstance(block, Mapping):
            waiting.extend(block.values())
            if isinstance(target := block.get("_target_"), str):
                found.add(target.rpartition(".")[0])
    return found - {SCORES}  # its version is kept beside


class SourceFiles:
    """Where modules lie, by name.

    Args:
        places: directories that the user's units are imported from, in the order in which workers search them.
    """

    def __init__(self, places: Sequence[str] = ()) -> None:
        self._places = [Path(place) for place in places]
        self._installed: dict[str, Path | None] = {"rnnsweep": PACKAGE.parent, **dict.fromkeys(DECISIVE)}

    def file_of(self, module: str) -> Path | None:
        """The module's file; None for one that lies in no place of the user's or ours."""
        own = self._installed.get(module.partition(".")[0])
        for place in [*([own] if own else []), *self._places]:
            stem = place.joinpath(*module.split("."))
            for end in all_suffixes():
                # a package before a module of its name, as the import system has it
                for file in (stem / f"__init__{end}", stem.with_name(stem.name + end)):
                    if file.is_file():
                        return file
        return None

    def closure(self, roots: Iterable[str]) -> dict[str, Path]:
        """Files of some modules and of those that they import, again and again, by name in alphabetical order.

        Followed are imports within the places, within the package that an installed unit belongs to, and among
        rnnsweep's units; libraries stand for themselves by their versions, also where a unit is torch's own.
        """
        found: dict[str, Path] = {}
        waiting = list(roots)
        for root in waiting:
            self.admit(root)
        while waiting:
            module = waiting.pop()
            file = None if module in found else self.file_of(module)
            if file is not None:
                found[module] = file
                waiting += [name for name in _imports(module, file) if _followed(name)]
        return dict(sorted(found.items()))

    def admit(self, module: str) -> None:
        """Look for the package of a unit among what is installed, where it lies in none of the places."""
        top = module.partition(".")[0]
        if self.file_of(module) is None and top not in self._installed:
            try:
                spec = find_spec(top)
            except (ImportError, ValueError):
                spec = None
            # a package's file is its __init__, one folder further in
            depth = 1 if spec is not None and spec.submodule_search_locations else 0
            self._installed[top] = Path(spec.origin).parents[depth] if spec is not None and spec.origin else None


def _followed(module: str) -> bool:
    return not module.startswith("rnnsweep") or module.startswith(_FOLLOWED)


def _imports(module: str, file: Path) -> list[str]:
    """Names of modules that a file may import: each package on the way too, whose ``__init__`` is run then."""
    if file.suffix != ".py":
        return []
    try:
        with _PARSING:
            tree = ast.parse(file.read_bytes())
    except (SyntaxError, ValueError):  # whoever imports it says so
        return []
    package = module if file.stem == "__init__" else module.rpartition(".")[0]
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(package, node)
            # what is imported from a package may be a module of it
            names.update([base, *(f"{base}.{alias.name}" for alias in node.names)])
    return [".".join(parts[:count]) for parts in map(_parts, names) for count in range(1, len(parts) + 1)]


def _absolute(package: str, node: ast.ImportFrom) -> str:
    """The module of a ``from ... import``, with the dots of a relative one resolved."""
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    return ".".join([*above, *([node.module] if node.module else [])])


def _parts(name: str) -> list[str]:
    return [part for part in name.split(".") if part != "*"]
