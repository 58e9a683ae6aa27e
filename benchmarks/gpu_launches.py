"""How many operations the device is asked for by one update: ``python benchmarks/gpu_launches.py [--top TASK]``.

Counted, not timed, and on the CPU: with the branches that a device takes, every operation of torch is seen by the
dispatcher. An operation counts unless it only looks at memory (a view) or reserves it (`empty`); on a GPU it is one
launch, seldom more. Counted twice: by torch's operations alone, and with the kernels of `core.gpu`, each of which
counts as the one launch that it is (random numbers come from the CPU's loops then, and the other kernels run in
Triton's interpreter; neither is looked into). The update is that of the standard network (SRN tanh, momentum SGD,
clip) by the gpu engine, whose kernels count as one launch each too; they do not run, so the numbers of the update
mean nothing, but no operation depends on them.

--top also lists the operations of one task's data and of the rest of the update, with the kernels.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

os.environ["TRITON_INTERPRET"] = "1"  # read when triton is imported

import torch
from torch.utils._python_dispatch import TorchDispatchMode, _disable_current_modes

from rnnsweep.adapters.hydra.yaml_files import read_yaml
from rnnsweep.app.config.load import load, search_path
from rnnsweep.app.config.point import resolve_point
from rnnsweep.core import gpu, numerics, rng
from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
from rnnsweep.core.pack import Member, Pack, Streams
from rnnsweep.core.recurrence.gpu import compiling
from rnnsweep.core.recurrence.gpu.engine import GpuEngine
from rnnsweep.core.tile import Tile, tiles, train_batch, update

KERNEL = "kernel of core.gpu.random_numbers"
LOOP = "kernel of a loop"
_RESERVES = ("aten.empty", "aten.new_empty", "aten.detach", "aten.alias")


class Operations(TorchDispatchMode):
    """Counts what is not a view and not a reservation."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: Counter[str] = Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if not func.is_view and not str(func).startswith(_RESERVES):
            self.seen[str(func).removeprefix("aten.").partition(".")[0]] += 1
        return func(*args, **(kwargs or {}))


@contextmanager
def as_on_a_device(kernels: Any) -> Iterator[None]:
    """The branches that tensors of a device take; random numbers by `kernels`, or by torch where that is None."""
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(numerics, "readable", return_value=False))
        stack.enter_context(mock.patch.object(numerics, "_padded_product", torch.bmm))
        stack.enter_context(mock.patch.object(rng.Draws, "fast", False))
        # a device has no kernels of main memory
        stack.enter_context(mock.patch("rnnsweep.core.kernels._compiled", return_value=None))
        if kernels is None:
            stack.enter_context(mock.patch.object(rng, "words_compiled", rng.words_torch))
        stack.enter_context(mock.patch.object(rng, "kernels_on", return_value=kernels))
        yield


@contextmanager
def counted_launches(seen: Counter[str]) -> Iterator[None]:
    """Kernels of `core.gpu` count by name, and run without being looked into."""
    with ExitStack() as stack:
        for found in pkgutil.iter_modules(gpu.__path__, f"{gpu.__name__}."):
            module = importlib.import_module(found.name)
            if (launch := getattr(module, "launch", None)) is not None:

                def one(kernel: Any, *arguments: Any, launch: Any = launch, **sizes: Any) -> None:
                    seen[kernel.__name__] += 1
                    with _disable_current_modes():
                        launch(kernel, *arguments, **sizes)

                stack.enter_context(mock.patch.object(module, "launch", one))
        yield


def counted_kernels(seen: Counter[str]) -> Any:
    """A stand-in for `core.gpu.random_numbers`: each call is one launch, and gives the same numbers."""

    def one(make: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
        def call(*arguments: Any) -> torch.Tensor:
            seen[KERNEL] += 1
            with _disable_current_modes():
                return make(*arguments)

        return call

    words = rng.words_compiled
    return SimpleNamespace(
        words=one(words),
        integers=one(lambda k, i, s, n, low, high: low + (words(k, i, s, n) * (high - low + 1) >> 32)),
        uniforms=one(lambda k, i, s, n, dtype: (words(k, i, s, n) >> 8).to(dtype) * 2.0**-24),
    )


def tile_of(task: str) -> Tile:
    """Two rows of the standard network with the gpu engine, on a task as its file has it."""
    config = resolve_point(load(None, ["name=launches", "engine=reference"], check_units=False).variants, {})
    block = read_yaml(search_path().packaged / "task" / f"{task}.yaml")
    config["task"] = {**{key: value for key, value in block.items() if key != "_search_"}, "_name_": task}
    units = build_units(config)
    program = dataclasses.replace(build_program(config, units, torch.device("cpu")), engine=GpuEngine())
    pack = Pack(program)
    members = [Member(row, 10, row_hypers(units), Streams(0, row)) for row in range(2)]
    pack.join([(member, initial_state(pack.program, units, member.streams)) for member in members])
    return tiles(pack)[0][1]


def operations_of(task: str, *, kernels: bool) -> tuple[Counter[str], Counter[str]]:
    """Operations of the data of one update, and of the whole update."""
    operations = Operations()

    def kernel(name: str, *source: Any) -> Callable[..., None]:
        def launch(*arguments: Any) -> None:
            operations.seen[f"{name} of {LOOP}"] += 1

        return launch

    found = []
    ways = as_on_a_device(counted_kernels(operations.seen) if kernels else None)
    with ways, counted_launches(operations.seen), torch.no_grad(), mock.patch.object(compiling, "kernel", kernel):
        tile = tile_of(task)
        for work in (lambda: train_batch(tile), lambda: update(tile, tile.tally)):
            work()  # the first time tables are read and what lasts comes to be
            operations.seen.clear()
            with operations:
                work()
            found.append(operations.seen.copy())
    return found[0], found[1]


def task_names() -> list[str]:
    return sorted(file.stem for file in (search_path().packaged / "task").glob("*.yaml"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--top", metavar="TASK", choices=task_names(), help="list the operations of this task's data")
    options = parser.parse_args()
    print("| task | data, by torch | by kernels | update, by torch | by kernels |")
    print("|---|---|---|---|---|")
    for task in task_names() if options.top is None else [options.top]:
        (data, whole), (new_data, new_whole) = (operations_of(task, kernels=kernels) for kernels in (False, True))
        counts = " | ".join(str(count.total()) for count in (data, new_data, whole, new_whole))
        print(f"| {task} | {counts} |", flush=True)
        if options.top is not None:
            for title, counter in (("data", new_data), ("rest of the update", new_whole - new_data)):
                print(f"\n{title}: " + ", ".join(f"{count} {name}" for name, count in counter.most_common()))


if __name__ == "__main__":
    main()
