"""How many files one must open to follow one thing through the program: measured, not guessed.

    python benchmarks/walks.py [WALK ...]     prints every walk, or these: its number of files, and their list

A walk runs the thing and writes down each file of the project
    - a function of which runs (a generated constructor counts for the file of its class);
    - a compiled function of which such a function calls, and what that names in turn: numba's kernels, and the
      intrinsics that they are made of.
What runs before (configs, imports, compiling with all that writes instructions) does not count. A further walk is a
function that returns its files, and an entry in `WALKS`.

The walk of one override follows a value instead. It writes down each file of a function that has the value in its hands
(an argument, a local or a result: the value itself or, until it is parsed, the text that was typed; or a list or a
mapping that has it), and each file on the way to there, whoever called that function. The copies of the whole config
that the ledger and MLflow keep, and the fingerprint of what numbers depend on, are records; what goes through the whole
config to warn, or to find passwords, hands nothing on. Neither is a step on the way.
"""

from __future__ import annotations

import inspect
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
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
    """`core/tile.py: update` of a pack: srn on the cpu engine, temporal order, SGD with momentum, clipping."""
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


def one_report() -> list[str]:
    """From the worker's trainer to MLflow's tables: a small sweep in this process, on the stores of a real one.

    Counted are the files in which a function is given the report or returns it, or what became of it: told by one of
    its numbers, the training loss of the last rung, in whatever message it travels. Messages are plain or frozen; what
    a function holds or adds to besides (the driver's memory, its list of commands, the mirror) does not count. Copies
    for other purposes are left out: the report inside the checkpoint (`ASIDE`), Optuna's mirror, artifacts.
    """
    import tempfile

    from rnnsweep.app.config.load import load

    overrides = ["name=walk", "cluster=inline", "engine=reference", "task.length=10", "family.hidden=4"]
    overrides += ["training.report_every=5", "budget.trials=1", "budget.updates=10", "replicas=1", "space={}"]
    with tempfile.TemporaryDirectory() as folder:
        config = load("quickstart", overrides, store=Path(folder))
        trail = Trail()
        threading.setprofile(trail.call)
        sys.setprofile(trail.call)
        try:
            _small_sweep(config)
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return [file for file in trail.files() if file not in ASIDE]


ASIDE = {
    *("app/worker/row_in_training.py", "app/worker/row_records.py", "app/worker/retrying_store.py"),
    "core/checkpoint.py",
    *("sweep/repeats.py", "sweep/tried_points.py"),
}
"""Where the report goes into the checkpoint, and where a result is kept for others of its point: it ends there."""


def _small_sweep(config: Any) -> None:
    """A launch without a cluster and without what MLflow gets besides points."""
    import time

    from rnnsweep.adapters.mlflow.tracker import MlflowMirror
    from rnnsweep.adapters.mlflow.tracker_options import TrackerOptions
    from rnnsweep.app.run import wiring
    from rnnsweep.sweep.driver import Driver
    from rnnsweep.sweep.ports import SweepView
    from rnnsweep.sweep.states import SweepState

    plan, ledger = wiring.stored_plan(config), wiring.open_ledger_of(config)
    view = SweepView(plan.name, SweepState.INTERRUPTED, plan.config, plan.overrides, created=time.time())
    ledger.create(view)
    fence = ledger.acquire(plan.name, "walk", 1.0)
    mirror = MlflowMirror(config.store.mlflow, view, plan, TrackerOptions(artifact_root=config.store.artifacts))
    outcome = Driver(plan, ledger, wiring.sampler(config), wiring.executor(config), [mirror], fence=fence).run()
    assert outcome.exit_code == 0 and not outcome.behind, outcome
    ledger.close()


class Trail:
    """The functions that are given one report: the newest that a trainer made, told by its training loss."""

    def __init__(self) -> None:
        self._loss: float | None = None
        self._sources: set[str] = set()

    def call(self, frame: FrameType, event: str, argument: object) -> None:
        """For `sys.setprofile`."""
        code = frame.f_code
        if event == "call" and code.co_name == "__init__" and type(frame.f_locals.get("self")).__name__ == "RowReport":
            self._loss, made = float(frame.f_locals["metrics"]["train/loss"]), frame.f_back
            self._sources = {made.f_code.co_filename, _source(frame)} if made else set()
        elif self._loss is not None and event in ("call", "return") and self._ours(frame):
            passed = _arguments(frame) if event == "call" else [argument]
            if any(self._carries(value, 7) for value in passed):
                self._sources.add(_source(frame))

    def _ours(self, frame: FrameType) -> bool:
        generated = frame.f_code.co_filename == "<string>"
        return (_source(frame) if generated else frame.f_code.co_filename).startswith(str(PACKAGE))

    def _carries(self, value: Any, depth: int) -> bool:
        if isinstance(value, float):
            return value == self._loss
        if isinstance(value, str):
            return repr(self._loss) in value
        if depth and isinstance(value, Mapping):
            return any(self._carries(one, depth - 1) for one in value.values())
        if depth and isinstance(value, (list, tuple)):
            return any(self._carries(one, depth - 1) for one in value)
        if depth and is_dataclass(value) and value.__dataclass_params__.frozen:  # type: ignore[attr-defined]
            return any(self._carries(getattr(value, one.name, None), depth - 1) for one in fields(value))
        return False

    def files(self) -> list[str]:
        """The project's files on the way, relative to the package."""
        inside = (Path(source) for source in self._sources if source.startswith(str(PACKAGE)))
        return sorted(str(path.relative_to(PACKAGE)) for path in inside)


def _arguments(frame: FrameType) -> list[Any]:
    """What a function is called with, but for the list that it adds its commands to."""
    code = frame.f_code
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    return [frame.f_locals.get(name) for name in names if name != "out"]


MARK = 0.51234
"""A threshold that nothing else in a sweep is equal to."""


OURS = (str(PACKAGE), "<")
"""What files of ours begin with, and generated code, whose class tells; most calls are of neither, and are let go."""
RECORDS = tuple(str(PACKAGE / place) for place in ("adapters/ledger", "app/run/mlflow_mirror.py", "app/provenance"))
LOOKS = tuple(str(PACKAGE / "app/config" / name) for name in ("idle.py", "unread.py", "store_urls.py"))
"""Where copies of the whole config are made, or the units that it names are noted."""


class _Arrived(BaseException):
    """The walk has come to its end."""


def one_override() -> list[str]:
    """`rnnsweep launch quickstart controllers.clip.threshold=... cluster=inline`: from the command to `Driver.run`."""
    import contextlib
    import importlib
    import tempfile

    from rnnsweep.app.cli import launch, main
    from rnnsweep.sweep.driver import Driver

    for heavy in ("app.config.unit_checks", "adapters.optuna.sampler", "app.run.wiring"):
        importlib.import_module(f"rnnsweep.{heavy}")  # else each call of torch's own import would be looked at

    text = f"controllers.clip.threshold={MARK}"
    sources: set[str] = set()
    wanted: list[object] = [text, MARK]

    def seen(frame: FrameType, event: str, result: object) -> None:
        if not frame.f_code.co_filename.startswith(OURS):
            return
        end = event == "call" and frame.f_code is Driver.run.__code__
        held = _held(frame, result if event == "return" else None)
        if MARK in held and text in wanted:
            wanted.remove(text)  # parsed: from here on the text is only kept as a record
        if end or any(mark in held for mark in wanted):
            way = _callers(frame, launch.launch.__code__)
            sources.update(() if any(source.startswith(RECORDS + LOOKS) for source in way) else way)
        if end:
            raise _Arrived

    with tempfile.TemporaryDirectory() as store, contextlib.suppress(_Arrived):
        before, sys.argv = sys.argv, ["rnnsweep", "launch", "quickstart", text, "cluster=inline", "--store", store]
        sys.setprofile(seen)
        try:
            main.main()
        finally:
            sys.setprofile(None)
            sys.argv = before
    return sorted(str(path.relative_to(PACKAGE)) for path in map(Path, sources) if path.is_relative_to(PACKAGE))


def _held(frame: FrameType, result: object) -> list[object]:
    """What a function of the project has in its hands: arguments, locals, its result; one level into collections."""
    if not _source(frame).startswith(str(PACKAGE)):
        return []
    held: list[object] = []
    for value in (*frame.f_locals.values(), result):
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else (value,)
        held += [item for item in inside if isinstance(item, (str, float))]
    return held


def _callers(frame: FrameType | None, first: CodeType) -> list[str]:
    """The file of a function and of all that called it, up to the walk's first function; none before that one."""
    sources = []
    while frame is not None:
        sources.append(_source(frame))
        if frame.f_code is first:
            return sources
        frame = frame.f_back
    return []


WALKS: dict[str, Callable[[], list[str]]] = {
    "one mini-batch through `update`": one_mini_batch,
    "one override until `Driver.run`": one_override,
    "one report from the worker to MLflow's tables": one_report,
}


def main(wanted: list[str]) -> None:
    for name, walk in WALKS.items():
        if wanted and name not in wanted:
            continue
        files = walk()
        print(f"{name}: {len(files)} files")
        print("\n".join(f"    {file}" for file in files))


if __name__ == "__main__":
    sys.path.insert(0, str(PACKAGE.parent))  # the kit of the tests builds the pack
    main(sys.argv[1:])
