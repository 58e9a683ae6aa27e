"""Many sweeps through one service: ``python benchmarks/service.py share|chaos [--seconds 60] [--kills 50]``.

``share``: ten sweeps of different sizes and shape keys on one pool of two workers, against one sweep alone on such a
pool: share of the wall time in which workers trained, shares of the device time by weight while all of them have work,
and whether each table equals, to the bit, that of the sweep launched alone.

``chaos``: the same sweeps on PostgreSQL, while the service, its workers and the database's connections are killed at
random; then every table must equal the undisturbed one, with nothing lost and nothing doubled.

Prints a section of ``docs/results/service.md``.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import psutil  # noqa: E402

from rnnsweep.adapters.ledger.sql_ledger import open_ledger  # noqa: E402
from rnnsweep.app.stores import StorePlace, place  # noqa: E402
from rnnsweep.service.desk import Desk  # noqa: E402
from rnnsweep.service.front import QueueState, Submission  # noqa: E402
from tests.chaos.sweeps import Record, check_same, record_of  # noqa: E402

COMMAND = [sys.executable, "-m", "rnnsweep.app.cli.main"]
COMMON = (
    *("task.length=40", "training.batch=8", "training.eval_size=50", "training.stop_solved=false"),
    *("budget.retries=1000", "sampler=random", "tracker=none", "store.optuna=none"),
)
GATED = ("~controllers.sampling", "~controllers.omega", "space={init.sigma: interval(0.05,0.3)}")
KINDS = {
    "srn32": ("family=srn", "family.hidden=32", "training.report_every=20"),
    "srn48": ("family=srn", "family.hidden=48", "training.report_every=20"),
    "lstm16": ("family=lstm", *GATED, "family.hidden=16", "training.report_every=25"),
    "gru16": ("family=gru", *GATED, "family.hidden=16", "training.report_every=25"),
    "long": ("family=srn", "family.hidden=32", "task.length=80", "training.report_every=10"),
}
WEIGHTS = (1, 1, 2, 1, 3, 1, 2, 1, 1, 2)


def sweeps(updates: int, trials: int) -> dict[str, tuple[str, ...]]:
    """Ten sweeps of five shape keys; of each key two, which share packs, and of different sizes."""
    found: dict[str, tuple[str, ...]] = {}
    for index in range(10):
        kind = list(KINDS)[index % len(KINDS)]
        size = trials + 2 * (index % 3)
        budget = (f"budget.trials={size}", f"budget.updates={updates}", f"replicas={1 + index % 2}", f"seed={index}")
        found[f"s{index}-{kind}"] = (*COMMON, *KINDS[kind], *budget)
    return found


class Server:
    """`rnnsweep serve` as a process."""

    def __init__(self, where: str, folder: Path, *options: str) -> None:
        self.where, self.folder, self.options = where, folder, options
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "RNNSWEEP_STORE": self.where, "PYTHONPATH": str(ROOT)}
        with open(self.folder / "service.txt", "ab") as out:
            command = [*COMMAND, "serve", "--executor", "ray", "--workers", "2", *self.options]
            self.process = subprocess.Popen(
                command, env=environment, stdout=out, stderr=out, cwd=self.folder, start_new_session=True
            )

    def workers(self) -> list[psutil.Process]:
        """Its workers' processes."""
        assert self.process is not None
        try:
            below = psutil.Process(self.process.pid).children(recursive=True)
            return [one for one in below if one.cmdline() and one.cmdline()[0].startswith("ray::Worker")]
        except psutil.Error:
            return []

    def kill(self) -> None:
        """kill -9 of the service alone; Ray's processes end by themselves."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def end(self) -> float:
        """SIGTERM; seconds until it has ended."""
        assert self.process is not None
        began = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)
        return time.monotonic() - began


def alone(root: Path, wanted: dict[str, tuple[str, ...]]) -> dict[str, Record]:
    """Each sweep launched by itself, undisturbed."""
    found: dict[str, Record] = {}
    for name, options in wanted.items():
        command = [*COMMAND, "launch", "search", f"name={name}", "cluster=inline", *options, "--store", str(root)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
        subprocess.run(command, env=environment, check=True, capture_output=True)
        found[name] = record_in(place(root), name)
    return found


def record_in(where: StorePlace, name: str) -> Record:
    ledger = open_ledger(where.ledger)
    try:
        return record_of(ledger, name)
    finally:
        ledger.close()


def submit(desk: Desk, wanted: dict[str, tuple[str, ...]], weights: tuple[int, ...] = WEIGHTS) -> None:
    for (name, options), weight in zip(wanted.items(), weights, strict=False):
        desk.submit(Submission("search", (f"name={name}", *options), weight=weight))


def states(desk: Desk) -> Counter[str]:
    return Counter(one.state.value for one in desk.queue())


def device_s(desk: Desk) -> dict[str, float]:
    """Device time that each sweep has reported so far, by its own row reports."""
    return {one.name: sum(report.device_s for report in desk.ledger.reports(one.name)) for one in desk.queue()}


def measured(root: Path, wanted: dict[str, tuple[str, ...]], seconds: float, rows: int) -> dict[str, float]:
    """Device seconds of each sweep within a window in which all of them have work."""
    root.mkdir(parents=True)
    desk = Desk(place(root))
    submit(desk, wanted)
    server = Server(str(root), root, "--rows", str(rows))
    server.start()
    while any(not used for used in device_s(desk).values()):
        time.sleep(0.5)
        assert server.process is not None
        assert server.process.poll() is None, (root / "service.txt").read_text()
    time.sleep(5.0)  # places are settled
    began, before = time.monotonic(), device_s(desk)
    time.sleep(seconds)
    after, took = device_s(desk), time.monotonic() - began
    for one in desk.queue():
        assert one.state is QueueState.RUNNING, f"{one.name} ended within the window: give it more updates"
    left = server.end()
    print(f"  SIGTERM to the end of the service: {left:.1f} s", flush=True)
    interrupted = {view.name: view.state.value for view in desk.ledger.sweeps()}
    assert set(interrupted.values()) == {"INTERRUPTED"}, interrupted
    desk.close()
    return {name: (after[name] - before[name]) / took for name in after}


def share(seconds: float, rows: int) -> None:
    root = Path(tempfile.mkdtemp(prefix="rnnsweep-service-"))
    endless = sweeps(1_000_000, 64)
    one = dict([next(iter(endless.items()))])
    single = sum(measured(root / "one", one, seconds, rows).values())
    print(f"one sweep alone: workers trained {100 * single / 2:.1f} % of the time", flush=True)
    used = measured(root / "ten", endless, seconds, rows)
    total = sum(used.values())
    print(f"ten sweeps: {100 * total / 2:.1f} %, {100 * total / single:.1f} % of what one reaches\n", flush=True)
    print("| sweep | weight | part of device time | part by weight | ratio |\n|---|---|---|---|---|")
    ratios: list[float] = []
    for (name, spent), weight in zip(used.items(), WEIGHTS, strict=True):
        part, fair = spent / total, weight / sum(WEIGHTS)
        ratios.append(part / fair)
        print(f"| {name} | {weight} | {100 * part:.1f} % | {100 * fair:.1f} % | {part / fair:.2f} |")
    print(f"\nlargest difference from the fair part: {100 * max(abs(ratio - 1) for ratio in ratios):.0f} %", flush=True)
    equal(root, rows)


def equal(root: Path, rows: int) -> None:
    """Short sweeps to their end, each compared with itself alone."""
    wanted = sweeps(300, 4)
    calm = alone(root / "alone", wanted)
    (root / "together").mkdir()
    desk = Desk(place(root / "together"))
    submit(desk, wanted)
    server = Server(str(root / "together"), root, "--rows", str(rows))
    server.start()
    wait(desk, server)
    server.end()
    for name in wanted:
        check_same(record_in(desk.place, name), calm[name])
    print(f"tables of {len(wanted)} sweeps: equal to the bit to those of each alone", flush=True)
    desk.close()


def wait(desk: Desk, server: Server, seconds: float = 900.0) -> None:
    end = time.monotonic() + seconds
    while set(states(desk)) != {QueueState.ENDED.value}:
        assert time.monotonic() < end, states(desk)
        assert server.process is not None
        assert server.process.poll() is None, (server.folder / "service.txt").read_text()[-3000:]
        time.sleep(0.5)


def cut_connections(url: str) -> int:
    """End all sessions of the database but our own, as a restart or a broken network does."""
    import psycopg

    others = "FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    query = f"SELECT count(pg_terminate_backend(pid)) {others}"
    with psycopg.connect(url, autocommit=True) as connection:
        row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0


def chaos(kills: int, seed: int, updates: int) -> None:
    from tests.kit.postgres import PrivateServer, programs

    root = Path(tempfile.mkdtemp(prefix="rnnsweep-service-"))
    wanted = sweeps(updates, 4)
    calm = alone(root / "alone", wanted)
    bindir = programs()
    assert bindir is not None, "PostgreSQL is not installed"
    database = PrivateServer(bindir)
    try:
        assert database.wait(), "PostgreSQL does not start"
        url = database.url
        where = StorePlace((root / "pool").resolve(), url)
        where.root.mkdir()
        done, starts = strike(where, wanted, kills, seed)
        torn = sum(compare(where, wanted, calm).values())
        kinds = ", ".join(f"{count} {kind}" for kind, count in done.most_common())
        print(f"\n{sum(done.values())} kills ({kinds}) under {len(wanted)} sweeps: all tables equal to the bit")
        again = f"{statistics.median(starts):.1f} s" if starts else "not killed"
        print(f"attempts in all: {torn}; from kill -9 of the service to the next report: median {again}")
    finally:
        database.stop()


def strike(
    where: StorePlace, wanted: dict[str, tuple[str, ...]], kills: int, seed: int
) -> tuple[Counter[str], list[float]]:
    draw, done, starts = random.Random(seed), Counter[str](), list[float]()
    desk = Desk(where)
    submit(desk, wanted)
    server = Server(where.ledger, where.root)
    server.start()
    while sum(done.values()) < kills and set(states(desk)) != {QueueState.ENDED.value}:
        before = rungs(desk)
        patience = time.monotonic() + 120
        while rungs(desk) < before + draw.randint(2, 12) and time.monotonic() < patience:
            time.sleep(0.2)
        what = draw.choices(["worker", "connections", "service"], [6, 2, 2])[0]
        if what == "worker":
            found = server.workers()
            if not found:
                continue
            draw.choice(sorted(found, key=lambda one: one.pid)).kill()
        elif what == "connections":
            cut_connections(where.ledger)
        else:
            server.kill()
            began, known = time.monotonic(), rungs(desk)
            server.start()
            while rungs(desk) == known and time.monotonic() < began + 120:
                time.sleep(0.2)
            starts.append(time.monotonic() - began)
        done[what] += 1
        print(f"  {sum(done.values())}: {what}", flush=True)
    wait(desk, server)
    server.end()
    desk.close()
    return done, starts


def rungs(desk: Desk) -> int:
    return sum(len(desk.ledger.reports(one.name)) for one in desk.queue())


def compare(where: StorePlace, wanted: dict[str, tuple[str, ...]], calm: dict[str, Record]) -> dict[str, int]:
    """Every table, curve, rung and verdict; attempts of each sweep."""
    attempts: dict[str, int] = {}
    for name in wanted:
        found = record_in(where, name)
        check_same(found, calm[name])
        taken = Counter((trial, rung) for trial, rung, _ in found.verdicts)
        assert not [key for key, count in taken.items() if count > 1]
        attempts[name] = sum(found.attempts.values())
    return attempts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("share", "equal", "chaos"))
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rows", type=int, default=128, help="of each worker")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--updates", type=int, default=2000, help="of each trial under chaos")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    if options.what == "share":
        share(options.seconds, options.rows)
    elif options.what == "equal":
        equal(Path(tempfile.mkdtemp(prefix="rnnsweep-service-")), options.rows)
    else:
        chaos(options.kills, options.seed, options.updates)


if __name__ == "__main__":
    main()
