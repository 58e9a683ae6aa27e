"""rnnsweep on a GPU, checked and timed: ``python benchmarks/gpu.py``; less than four minutes on an H200.

Every line is printed as soon as it is measured. The parts, of which --only takes some:

    check        float64 updates on the GPU beside the CPU engine's; a wrong one ends the run with an error, at its end
    unit         one update of one row (T = 100, B = 10, H = 100, SRN tanh, momentum SGD, clip 1, temporal order, data
                 included) in packs of --rows, replayed from a CUDA graph as in a sweep
    cells        LSTM and GRU of the same sizes
    peers        the same in PyTorch, one network, called and as one CUDA graph, and in JAX where it is installed
    kernels      what one update of the unit consists of on the device
    controllers  Omega and sampling beside the plain update
    families     every family of conf/family

Kernels of the families are compiled first, by several processes side by side: what is compiled is kept on disk.

Floors are the operations of the recurrent products, 6 T B for each entry of the matrix, at the float32 rate of the
device, which is measured first; without filters, maps, read-out and what is elementwise. --markdown FILE writes the
tables as a page of results. Without a GPU nothing is measured, which is no error.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import os
import platform
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from speed import OPERATIONS, VARIANTS, table

from rnnsweep.app.config.load import search_path
from rnnsweep.app.studies.bench import bench_config, operations_of, pack_for, wait_for
from rnnsweep.core.pack import Pack
from rnnsweep.core.tile import tiles

ROWS = (24, 132, 528, 2112, 4096)
FULL = 528
"""Rows of all other parts: four for each multiprocessor of an H200."""
DISTINCT = 8
CHECKED = ("srn", "lstm", "gru", "momentum_srn", "adam_lstm", "scornn", "cornn", "lru")
BOUND = 1e-9
"""Largest relative difference of what a few updates change, in float64: sums are ordered otherwise, no more."""
FAMILY_SECONDS = 8.0
"""Of one family at most, with building and compiling; what is slower is stopped and said."""
PEER_SECONDS = 30.0
"""Of one peer: JAX compiles for long."""
WARM_SECONDS = 60.0
"""For compiling at most; what is left is compiled when it is timed."""
ALL_SECONDS = 225.0
"""After so many no further family is begun."""


class OutOfTime(Exception):
    """A measurement took longer than it may."""


@contextmanager
def limited(seconds: float) -> Iterator[None]:
    """Raise `OutOfTime` in the block after so many seconds, as soon as Python has its turn.

    And each second again until the block has ended: Python forgets an error that is raised while it frees an object.
    """

    def stop(number: int, frame: object) -> None:
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def reason(error: Exception, limit: float) -> str:
    """Why there is no figure."""
    if isinstance(error, OutOfTime):
        return f"stopped after {limit:.0f} s"
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0][:80]}"


@dataclass
class Section:
    """A table that grows line by line.

    Attributes:
        title: above it. head: names of the columns. text: what stands below the title.
        rows: what has been measured.
    """

    title: str
    head: Sequence[str]
    text: str = ""
    rows: list[list[str]] = field(default_factory=list)

    def begin(self) -> None:
        print(f"\n{self.title}\n{self._aligned(self.head)}", flush=True)

    def add(self, *cells: object) -> None:
        """A line, printed at once."""
        self.rows.append([shown(cell) for cell in cells])
        print(self._aligned(self.rows[-1]), flush=True)

    def markdown(self) -> str:
        return "\n\n".join(part for part in (f"## {self.title}", self.text, table(list(self.head), self.rows)) if part)

    def _aligned(self, cells: Sequence[str]) -> str:
        """Figures to the right; names to the left, and what comes last, which may be long."""
        first, *figures, last = cells
        widths = [max(len(name), 9) for name in self.head[1:-1]]
        return "  ".join([first.ljust(28), *map(str.rjust, figures, widths), last]).rstrip()


def shown(cell: object) -> str:
    """A cell; three digits of figures, and whole ones from 100 on."""
    if isinstance(cell, float):
        return f"{cell:.0f}" if abs(cell) >= 100 else f"{cell:.3g}"
    return "" if cell is None else str(cell)


@dataclass(frozen=True)
class Timing:
    """Of a pack: seconds per update of all rows; operations of a row-update, if known; what was said meanwhile."""

    rows: int
    seconds: float
    operations: int | None
    note: str

    @property
    def each(self) -> float:
        """Microseconds per row-update."""
        return self.seconds / self.rows * 1e6

    def share(self, rate: float) -> str | None:
        """Of the floor: operations at `rate` per second."""
        return f"{self.operations / rate / self.each * 1e6:.1%}" if self.operations else None


def timed(overrides: Sequence[str], rows: int, device: torch.device, updates: int = 50, seconds: float = 0.5) -> Timing:
    """Replayed updates of a pack of so many rows, as many as there is time for; built and warmed up before."""
    gc.collect()  # a tile and its graph know each other: the last pack's memory is free only now
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        pack = pack_for(bench_config(list(overrides), check_units=False), rows, device, DISTINCT)
        spent = seconds_per_update(pack, updates, seconds)
    program = pack.program
    notes = [program.engine.name] if program.engine.name != "gpu" else []
    notes += [program.engine_note] if program.engine_note else []
    notes += [] if program.replays else ["called, not replayed"]
    notes += [str(item.message) for item in said if "not replayed" in str(item.message)]
    return Timing(rows, spent, operations_of(program), "; ".join(notes))


def seconds_per_update(pack: Pack, updates: int, seconds: float) -> float:
    """Of all rows; the first update is called and the second recorded, and neither counts."""
    cut, device = [tile for _, tile in tiles(pack)], pack.program.device
    for tile in cut:
        tile.tally.clear()
        for _ in range(3):
            tile.once_more()
    wait_for(device)
    began, done = time.perf_counter(), 0
    while done < updates and time.perf_counter() - began < seconds:
        # what is queued is waited for now and then: else a slow pack's clock would be looked at too early
        for _ in range(5):
            for tile in cut:
                tile.once_more()
        wait_for(device)
        done += 5
    return (time.perf_counter() - began) / done


def rates(device: torch.device, size: int = 8192, repeats: int = 5) -> tuple[float, float]:
    """The device's own: exact float32 operations per second of a large product, bytes per second of a copy."""
    matrix = torch.randn(size, size, device=device)
    target, before = torch.empty_like(matrix), torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    best: dict[str, float] = {}
    for name, work in (("gemm", lambda: torch.mm(matrix, matrix, out=target)), ("copy", lambda: target.copy_(matrix))):
        work()
        for _ in range(repeats):
            wait_for(device)
            began = time.perf_counter()
            work()
            wait_for(device)
            best[name] = min(best.get(name, float("inf")), time.perf_counter() - began)
    torch.backends.cuda.matmul.allow_tf32 = before
    return 2 * size**3 / best["gemm"], 2 * matrix.nbytes / best["copy"]


GOALS = {24: 15.0, 132: 4.0, 528: 2.5}


def goal(rows: int) -> float:
    """Microseconds per row-update that an H200 should need: 2 when full, and more where rows are few."""
    return next((each for most, each in GOALS.items() if rows <= most), 2.0)


def families() -> list[str]:
    """Names of all in conf/family but stacks, which are made of others."""
    return sorted(path.stem for path in (search_path().packaged / "family").glob("*.yaml") if path.stem != "stack")


SMALL = ("task.length=40", "family.hidden=40", "dtype=float64")


def check(
    device: torch.device,
    names: Sequence[str] = CHECKED,
    sizes: Sequence[str] = SMALL,
    engine: str = "auto",
    updates: int = 3,
) -> tuple[Section, list[str]]:
    """A few updates of a few rows beside the CPU engine's; and the names of the families that are wrong."""
    section = Section(
        "Check", ("family", "difference", "engine"),
        f"What {updates} updates in float64 change in any parameter of 4 rows, beside the CPU engine's: the largest "
        "difference over the largest change.",
    )  # fmt: skip
    section.begin()
    wrong: list[str] = []
    for name in names:
        found: list[torch.Tensor] = []
        engines: list[str] = []
        for where, kind in ((device, engine), (torch.device("cpu"), "cpu")):
            config = {**bench_config([f"family={name}", *sizes], check_units=False), "engine": kind}
            pack = pack_for(config, 4, where)
            before = pack.params.clone()
            for _, tile in tiles(pack):
                tile.tally.clear()
                for _ in range(updates):
                    tile.once_more()
            found.append((pack.params - before).cpu())
            engines.append(pack.program.engine.name)
        difference = float((found[0] - found[1]).abs().max() / found[1].abs().max())
        right = difference <= BOUND  # not where it is NaN
        section.add(name, f"{difference:.1e}", engines[0] if right else f"{engines[0]}: WRONG")
        wrong += [] if right else [name]
    return section, wrong


@dataclass
class Bench:
    """What the parts share: device, its float32 rate, widths, and when all began."""

    device: torch.device
    rate: float
    widths: Sequence[int]
    began: float
    best: dict[str, float] = field(default_factory=dict)
    """Least microseconds per row-update so far, by family."""

    def units(self) -> Section:
        floor = OPERATIONS / self.rate * 1e6
        section = Section(
            "The unit", ("rows", "us per update", "us per row-update", "of the floor's rate", "goal, us", "note"),
            f"Floor: {OPERATIONS / 1e6:.0f} MFLOP at {self.rate / 1e12:.1f} TFLOP/s, {floor:.2f} us per row-update.",
        )  # fmt: skip
        section.begin()
        for rows in self.widths:
            found = timed([], rows, self.device)
            self.best["srn"] = min(found.each, self.best.get("srn", found.each))
            section.add(rows, found.seconds * 1e6, found.each, found.share(self.rate), goal(rows), found.note)
        return section

    def peers(self) -> Section:
        from gpu_peers import peers, seconds_per_call

        section = Section(
            "Peers", ("program", "networks", "us per update", "us per row-update", "times rnnsweep's"),
            "Beside the least time of a row-update of the same cell above.",
        )  # fmt: skip
        section.begin()
        for peer in peers():
            try:
                with limited(PEER_SECONDS):
                    spent = seconds_per_call(peer.make(), 0.5)
            except Exception as error:  # noqa: BLE001 - the others are measured all the same
                section.add(peer.name, peer.rows, None, None, reason(error, PEER_SECONDS))
                continue
            each = spent / peer.rows * 1e6
            times = each / self.best[peer.family] if peer.family in self.best else None
            section.add(peer.name, peer.rows, spent * 1e6, each, times)
        return section

    def packs(self, title: str, cases: Sequence[tuple[str, Sequence[str]]], limit: float = 60.0) -> Section:
        """Lines of one width; a case that fails or is out of time has a line that says so."""
        head = ("", "us per update", "us per row-update", "of the floor's rate", "note")
        section = Section(title, head, f"{FULL} rows.")
        section.begin()
        for name, overrides in cases:
            if time.monotonic() - self.began > ALL_SECONDS:
                section.add(name, None, None, None, "left out: no time left")
                continue
            try:
                with limited(limit):
                    found = timed(overrides, FULL, self.device)
            except Exception as error:  # noqa: BLE001 - the others are measured all the same
                section.add(name, None, None, None, reason(error, limit))
            else:
                self.best[name] = min(found.each, self.best.get(name, found.each))
                section.add(name, found.seconds * 1e6, found.each, found.share(self.rate), found.note)
        return section

    def kernels(self, most: int = 15) -> Section:
        """What the device does in one replayed update of the unit."""
        from torch.profiler import ProfilerActivity, profile

        section = Section(
            "Kernels of the unit", ("launches", "us", "kernel"), f"{FULL} rows; the longest of one update."
        )
        section.begin()
        pack = pack_for(bench_config([], check_units=False), FULL, self.device, DISTINCT)
        seconds_per_update(pack, 5, 1.0)
        on = ProfilerActivity.CUDA if self.device.type == "cuda" else ProfilerActivity.CPU
        with profile(activities=[on]) as seen:
            for _, tile in tiles(pack):
                tile.once_more()
            wait_for(self.device)
        found = [(event.self_device_time_total, event.count, event.key) for event in seen.key_averages()]
        section.add(sum(count for _, count, _ in found), float(sum(spent for spent, _, _ in found)), "all")
        for spent, count, name in sorted(found, reverse=True)[:most]:
            section.add(count, float(spent), name[:100].replace("|", "/"))
        return section

    def cases(self) -> dict[str, list[tuple[str, list[str]]]]:
        """Of the parts that time packs of FULL rows, by their names: names of lines, and overrides."""
        gated = [(name, [f"family={name}"]) for name in ("lstm", "gru")]
        every = [(name, [f"family={name}"]) for name in families()]
        return {"cells": gated, "controllers": [(name, list(own)) for name, own in VARIANTS], "families": every}

    def warm(self, share: int, shares: int) -> None:
        """Compile what one process of several compiles; what fails is met again where it is timed."""
        cases = [case for part in self.cases().values() for case in part]
        for _, overrides in cases[share::shares]:
            with suppress(Exception):
                timed(overrides, FULL, self.device, 5, 0.01)

    def parts(self) -> dict[str, Callable[[], Section]]:
        """By the names that --only takes."""
        cases = self.cases()
        return {
            "unit": self.units,
            "cells": lambda: self.packs("Gated cells", cases["cells"]),
            "peers": self.peers,
            "kernels": self.kernels,
            "controllers": lambda: self.packs("Controllers", cases["controllers"]),
            # last, as they may use up the time
            "families": lambda: self.packs("Families", cases["families"], FAMILY_SECONDS),
        }


def compile_ahead(processes: int) -> float:
    """Run `Bench.warm` in so many processes; seconds that this took."""
    began = time.monotonic()
    own = [sys.executable, "-W", "ignore", __file__]
    running = [subprocess.Popen([*own, "--warm", str(share), str(processes)]) for share in range(processes)]
    for process in running:
        with suppress(subprocess.TimeoutExpired):
            process.wait(max(0.0, WARM_SECONDS - (time.monotonic() - began)))
        process.kill()
    return time.monotonic() - began


def header(device: torch.device, rate: float, bandwidth: float) -> list[str]:
    """Device, versions, and what the device can do."""
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}"]
    for name in ("triton", "jax"):
        try:
            versions.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    return [
        f"{name}, {', '.join(versions)}.",
        f"Rates: {rate / 1e12:.1f} TFLOP/s (product of 8192 x 8192, float32), {bandwidth / 1e12:.2f} TB/s (copy).",
    ]


def page(lines: Sequence[str], sections: Sequence[Section]) -> str:
    """The page of results."""
    command = "Made by `python benchmarks/gpu.py --markdown FILE`."
    return (
        "\n\n".join(["# Speed on a GPU", f"{command} {lines[0]}", *lines[1:], *(s.markdown() for s in sections)]) + "\n"
    )


def options_of(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = ["check", "unit", "cells", "peers", "kernels", "controllers", "families"]
    parser.add_argument("--rows", type=int, nargs="+", default=list(ROWS), help="widths of the unit")
    parser.add_argument("--only", nargs="+", choices=names, default=names, help="parts to run")
    parser.add_argument("--warm", type=int, nargs=2, metavar=("SHARE", "SHARES"), help=argparse.SUPPRESS)
    parser.add_argument("--markdown", type=Path, help="write the tables there")
    return parser.parse_args(arguments)


def measured(options: argparse.Namespace, device: torch.device, began: float) -> None:
    """All that was asked for; the page at the end."""
    processes = min(8, (os.cpu_count() or 1) // 2)
    if "families" in options.only and processes > 1:
        print(f"compiled for {compile_ahead(processes):.0f} s", flush=True)
    rate, bandwidth = rates(device)
    lines, sections, wrong = header(device, rate, bandwidth), [], []
    print("\n".join(lines), flush=True)
    if "check" in options.only:
        section, wrong = check(device)
        sections.append(section)
    for name, part in Bench(device, rate, options.rows, began).parts().items():
        if name in options.only:
            sections.append(part())
    print(f"\n{time.monotonic() - began:.0f} s", flush=True)
    if wrong:
        sys.exit(f"WRONG on this GPU: {', '.join(wrong)}; no page was written")
    if options.markdown is not None:
        options.markdown.write_text(page(lines, sections), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> None:
    options, began = options_of(arguments), time.monotonic()
    if not torch.cuda.is_available():
        print("no GPU here: nothing was measured")
        return
    device = torch.device("cuda")
    if options.warm:
        Bench(device, 1.0, (), began).warm(*options.warm)
    else:
        measured(options, device, began)


if __name__ == "__main__":
    main()
