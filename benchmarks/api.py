"""How long a request to the service takes: 50 of them a second, against a store with ten sweeps.

    python benchmarks/api.py [--seconds 60] [--rate 50] [--trials 100] [--train | --service]

The store is made, ten sweeps of `--trials` trials each; the service runs in a process of its own with a queue that does
nothing. Requests come at fixed moments, whether or not the one before has been answered (a service that stands still
is then charged for all that wait): two in three ask for a sweep's status, the rest for the list, a table, a trial,
curves, the journal and the queue. `--train` trains a sweep of the store meanwhile, in a third process. `--service`
asks a real `rnnsweep serve` on two workers instead, which trains the ten sweeps of `benchmarks/service.py share`.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.request import Request, urlopen

import psutil

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.service import Server, device_s, submit, sweeps  # noqa: E402
from rnnsweep.adapters.ledger.sql_ledger import open_ledger  # noqa: E402
from rnnsweep.app.accounts import first_token  # noqa: E402
from rnnsweep.app.config.load import load, to_json  # noqa: E402
from rnnsweep.app.stores import place  # noqa: E402
from rnnsweep.service.desk import Desk  # noqa: E402
from rnnsweep.service.front import QueuedSweep, QueueState  # noqa: E402
from rnnsweep.service.http import serve_http  # noqa: E402
from rnnsweep.sweep.ports import PutReports, PutRung, PutSweep, PutTrial, SweepView, TrialView  # noqa: E402
from rnnsweep.sweep.rows import RowReport  # noqa: E402
from rnnsweep.sweep.states import RowState, SweepState, TrialState  # noqa: E402

SWEEPS, RUNGS, WARM_S = 10, 20, 3.0


class StillFront:
    """A queue in which nothing moves."""

    def __init__(self, store: Path) -> None:
        self.place = place(store)

    def queue(self) -> list[QueuedSweep]:
        return [QueuedSweep(f"sweep{index}", QueueState.RUNNING, "ada") for index in range(SWEEPS)]

    def workers(self) -> list:
        return []


def fill(store: Path, name: str, trials: int) -> None:
    """A sweep as a driver would have written it: half of its trials complete, half at their tenth rung."""
    config = to_json(load("search", [f"name={name}"], store=store, check_units=False))
    ledger = open_ledger(f"sqlite:///{store / 'ledger.db'}")
    view = SweepView(name, SweepState.RUNNING, config, (), created=0.0, updated=0.0)
    ledger.create(view)
    fence = ledger.acquire(name, "benchmark", 1.0)
    for number in range(trials):
        ended = number % 2 == 0
        rungs = RUNGS if ended else RUNGS // 2
        params = {"init.sigma": 0.05 + number / 1000, "controllers.clip.threshold": 1.0 + number}
        state = TrialState.COMPLETE if ended else TrialState.WAITING
        values = (1.0 / (number + 1),) if ended else ()
        trial = TrialView(number, state, params, values, attempts=1, step=rungs * 200, rung=rungs)
        metrics = {"valid/error": 0.5, "valid/loss": 0.4, "grad/norm": 1.0, "train/loss": 0.3}
        reports = tuple(
            RowReport(number, 0, "t", rung, rung * 200, metrics, RowState.ACTIVE, device_s=0.1, engine="cpu")
            for rung in range(1, rungs + 1)
        )
        rows = [PutRung(number, rung, rung * 200, metrics, (0.5,)) for rung in range(1, rungs + 1)]
        ledger.commit(name, fence, [PutTrial(trial), PutReports(reports), *rows])
    ledger.commit(name, fence, [PutSweep(SweepView(name, SweepState.RUNNING, config, (), 0.0, 1.0, 60.0, 60.0, 10**6))])
    ledger.release(name, fence)
    ledger.close()


def serve(store: Path, port: multiprocessing.Queue) -> None:
    server = serve_http(StillFront(store), port=0)
    port.put(server.url)
    server.run()


def ask(url: str, token: str, path: str, due: float) -> tuple[str, float]:
    """One request: path and seconds from the moment that it was due."""
    request = Request(f"{url}/api/v1/{path}", headers={"Authorization": f"Bearer {token}"})
    with urlopen(request, timeout=60) as reply:
        reply.read()
    return path, time.perf_counter() - due


def paths(names: list[str], seconds: float, rate: float) -> list[str]:
    """What is asked, in turn."""
    rare = ("sweeps", "sweeps/{}/table", "sweeps/{}/trials/4", "sweeps/{}/journal?after=900&limit=100", "queue", "me")
    rest = itertools.cycle(rare)
    asked = []
    for index in range(int(seconds * rate)):
        name = names[index % len(names)]
        asked.append(next(rest).format(name) if index % 3 == 0 else f"sweeps/{name}")
    return asked


def measure(url: str, token: str, names: list[str], seconds: float, rate: float) -> list[tuple[str, float]]:
    began = time.perf_counter() + 0.1
    with ThreadPoolExecutor(64) as pool:
        waiting = []
        for index, path in enumerate(paths(names, seconds, rate)):
            due = began + index / rate
            time.sleep(max(0.0, due - time.perf_counter()))
            waiting.append(pool.submit(ask, url, token, path, due))
        return [one.result() for one in waiting]


def quantile(times: list[float], share: float) -> float:
    """In milliseconds."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] * 1000


def asked_front(options: argparse.Namespace) -> tuple[list[tuple[str, float]], float]:
    """Replies over a store that nobody drives, and CPU seconds of the server."""
    store = Path(tempfile.mkdtemp(prefix="rnnsweep-api-")) / "store"
    names = [f"sweep{index}" for index in range(SWEEPS)]
    for name in names:
        fill(store, name, options.trials)
    token = first_token(place(store)) or ""
    ports: multiprocessing.Queue = multiprocessing.Queue()
    server = multiprocessing.Process(target=serve, args=(store, ports), daemon=True)
    server.start()
    url, trainer = ports.get(timeout=60), None
    if options.train:
        words = ["launch", "quickstart", "name=training", "cluster=inline", "tracker=none", "store.optuna=none"]
        command = [sys.executable, "-m", "rnnsweep.app.cli", *words, "budget.trials=1000", "--store", str(store)]
        trainer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(20)
    found = timed(url, token, names, options, [server.pid or 0])
    if trainer is not None:
        assert trainer.poll() is None, "the sweep ended before the measurement"
        trainer.terminate()
        trainer.wait(60)
    server.terminate()
    return found


def asked_service(options: argparse.Namespace) -> tuple[list[tuple[str, float]], float]:
    """The same of a service that trains ten sweeps."""
    os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0")
    root = Path(tempfile.mkdtemp(prefix="rnnsweep-api-"))
    token, desk = first_token(place(root)) or "", Desk(place(root))
    wanted = sweeps(1_000_000, 64)
    submit(desk, wanted)
    server = Server(str(root), root, "--rows", "128", "--port", "0")
    server.start()
    try:
        while any(not used for used in device_s(desk).values()):
            time.sleep(0.5)
        url = re.search(r"http://[0-9.:]+", (root / "service.txt").read_text())
        assert url is not None and server.process is not None
        time.sleep(5.0)
        below = [one.pid for one in psutil.Process(server.process.pid).children() if "ray" not in one.name()]
        return timed(url[0], token, list(wanted), options, [server.process.pid, *below])
    finally:
        server.end()
        desk.close()


def timed(
    url: str, token: str, names: list[str], options: argparse.Namespace, servers: list[int]
) -> tuple[list[tuple[str, float]], float]:
    """Replies after a few to warm up, and CPU seconds of the servers meanwhile."""
    measure(url, token, names, WARM_S, 10.0)
    before = cpu(servers)
    replies = measure(url, token, names, options.seconds, options.rate)
    return replies, cpu(servers) - before


def cpu(servers: list[int]) -> float:
    """Seconds that processes have computed."""
    return sum(sum(psutil.Process(pid).cpu_times()[:2]) for pid in servers)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--train", action="store_true")
    parser.add_argument("--service", action="store_true")
    options = parser.parse_args()
    replies, cpu_s = (asked_service if options.service else asked_front)(options)
    times = [seconds for _, seconds in replies]
    kinds: dict[str, list[float]] = {}
    for path, seconds in replies:
        parts = path.partition("?")[0].split("/")
        kinds.setdefault("/".join(["sweeps", "*", *parts[2:]]) if len(parts) > 1 else path, []).append(seconds)
    for kind, own in sorted(kinds.items()):
        print(f"{kind:24} {len(own):6} requests  p50 {quantile(own, 0.5):7.1f} ms  p99 {quantile(own, 0.99):7.1f} ms")
    figures = {
        "requests": len(times),
        "cpu_ms_per_request": round(cpu_s / len(times) * 1000, 2),
        "mean_ms": round(statistics.mean(times) * 1000, 2),
    }
    figures |= {f"p{share}_ms": round(quantile(times, share / 100), 2) for share in (50, 95, 99)}
    print(json.dumps({**figures, "trials": options.trials, "trained": options.train or options.service}))


if __name__ == "__main__":
    main()
