"""How many files one must open to follow one thing through the program: measured, not guessed.

    python benchmarks/walks.py            prints every walk: its number of files, and their list

A walk runs the thing and writes down each file of the project
    - a function of which runs (a generated constructor counts for the file of its class);
    - a compiled function of which such a function calls, and what that names in turn: numba's kernels, and the
      intrinsics that they are made of.
What runs before (configs, imports, compiling with all that writes instructions) does not count. A further walk is a
function that returns its files, and an entry in `WALKS`.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType, ModuleType
from typing import Any

PACKAGE = Path(__file__).resolve().parent.parent / "rnnsweep"


def files_of(call: Callable[[], object]) -> list[str]:
    """The files of the project that are opened to follow this call, relative to the package."""
    functions: set[Any] = set()
    sources: set[str] = set()

    def seen(frame: FrameType, event: str, argument: object) -> None:
        if event != "call":
            return
        sources.add(_source(frame))
        functions.update(_compiled_of(frame))

    sys.setprofile(seen)
    try:
        call()
    finally:
        sys.setprofile(None)
    sources.update(inspect.getsourcefile(_plain(function)) or "" for function in _closure(functions))
    inside = (Path(source) for source in sources if source.startswith(str(PACKAGE)))
    return sorted(str(path.relative_to(PACKAGE)) for path in inside)


def _source(frame: FrameType) -> str:
    """The file of a call; generated code (constructors of dataclasses and named tuples) is its class's."""
    if not frame.f_code.co_filename.startswith("<"):
        return frame.f_code.co_filename
    first = next(iter(frame.f_locals.values()), None)
    owner = first if inspect.isclass(first) else type(first)
    return getattr(sys.modules.get(owner.__module__), "__file__", None) or ""


def _compiled_of(frame: FrameType) -> Iterator[Any]:
    """Compiled functions that a call is given, or whose names it uses."""
    if frame.f_code.co_filename.startswith(str(PACKAGE)):
        yield from (value for value in frame.f_locals.values() if _is_compiled(value))
        yield from _named(frame.f_code, frame.f_globals)


def _closure(functions: set[Any]) -> set[Any]:
    """The compiled functions and all that they use in turn."""
    todo, done = list(functions), set()
    while todo:
        function = todo.pop()
        if function not in done:
            done.add(function)
            plain = _plain(function)
            todo += _named(plain.__code__, plain.__globals__)
    return done


def _named(code: CodeType, names: dict[str, Any]) -> list[Any]:
    """Compiled functions that code names, by themselves or as a module's."""
    values = [names.get(name) for name in code.co_names]
    values += [
        getattr(value, name, None) for value in values if isinstance(value, ModuleType) for name in code.co_names
    ]
    return [value for value in values if _is_compiled(value)]


def _is_compiled(value: Any) -> bool:
    return type(value).__module__.startswith("numba.") and callable(_plain(value))


def _plain(function: Any) -> Any:
    """The Python function behind a compiled one or an intrinsic."""
    return getattr(function, "py_func", None) or getattr(function, "_defn", None)


def one_mini_batch() -> list[str]:
    """`core/training.py: update` of a pack: srn on the cpu engine, temporal order, SGD with momentum, clipping."""
    import torch

    from rnnsweep.core.controllers.base import Tally
    from rnnsweep.core.controllers.clip import GlobalNormClip
    from rnnsweep.core.families.srn import Srn
    from rnnsweep.core.optimizers.sgd import Sgd
    from rnnsweep.core.tasks.temporal_order import TemporalOrder
    from rnnsweep.core.training import tiles, update
    from tests.kit.networks import Setup

    torch.set_num_threads(1)
    setup = Setup(
        family=Srn(hidden=12),
        task=TemporalOrder(length=12),
        optimizer=Sgd(lr=0.05, momentum=0.9),
        controllers={"clip": GlobalNormClip()},
        engine="cpu",
        dtype=torch.float32,
    )
    pack = setup.pack([0, 1])
    (_, tile), *_ = tiles(pack)
    update(tile, Tally())  # the first call imports and compiles
    return files_of(lambda: update(tile, Tally()))


WALKS: dict[str, Callable[[], list[str]]] = {"one mini-batch through `update`": one_mini_batch}


def main() -> None:
    for name, walk in WALKS.items():
        files = walk()
        print(f"{name}: {len(files)} files")
        print("\n".join(f"    {file}" for file in files))


if __name__ == "__main__":
    sys.path.insert(0, str(PACKAGE.parent))  # the kit of the tests builds the pack
    main()
