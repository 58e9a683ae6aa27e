"""The same sweep with Ray Tune and with rnnsweep: ``python benchmarks/ray_tune.py [--trials 48] [--updates 2000]``.

48 trials of 2000 updates: temporal order over T = 30 steps, 50 tanh units, batches of 20, momentum-free SGD, clipping
threshold, learning rate and initial sigma proposed by TPE, an evaluation of 500 sequences every 200 updates, every
metric and parameter in MLflow on SQLite. Tune runs what its users write: one trial per actor, a `torch.nn.RNN` and
autograd, the OptunaSearch searcher and its MLflow callback, one trial per core at a time, one torch thread each. Each
half is a process of its own that starts cold, one after the other on the same machine; a half that takes longer than
--limit is ended and reported as such. The promise is a wall time at least 8 times shorter.

Needs what Ray Tune needs besides Ray: ``pip install "ray[tune]" --constraint constraints.txt``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.update(
    OMP_NUM_THREADS="1",
    RAY_USAGE_STATS_ENABLED="0",
    MLFLOW_DISABLE_TELEMETRY="true",
    TUNE_DISABLE_STRICT_METRIC_CHECKING="1",
    RAY_AIR_NEW_OUTPUT="0",
)
LENGTH, HIDDEN, BATCH, EVERY, EVALUATED = 30, 50, 20, 200, 500
HALVES = ("rnnsweep", "tune")
RNNSWEEP = [sys.executable, "-m", "rnnsweep.app.cli.main"]


def sequences(generator, count: int):
    """Temporal order: 30 symbols out of six, two of them (X or Y) early and late; the class is their pair."""
    import torch

    symbols = torch.randint(2, 6, (LENGTH, count), generator=generator)
    early = torch.randint(LENGTH // 10, LENGTH // 5, (count,), generator=generator)
    late = torch.randint(LENGTH // 2, LENGTH * 3 // 5, (count,), generator=generator)
    bits, columns = torch.randint(0, 2, (2, count), generator=generator), torch.arange(count)
    symbols[early, columns], symbols[late, columns] = bits[0], bits[1]
    return torch.nn.functional.one_hot(symbols, 6).float(), 2 * bits[0] + bits[1]


def train(config: dict) -> None:
    """What a user of Tune writes."""
    import torch
    from ray import tune

    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(1)
    rnn, head = torch.nn.RNN(6, HIDDEN), torch.nn.Linear(HIDDEN, 4)
    for parameter in rnn.parameters():
        torch.nn.init.normal_(parameter, std=config["sigma"])
    parameters = [*rnn.parameters(), *head.parameters()]
    optimizer = torch.optim.SGD(parameters, lr=config["lr"])
    for update in range(1, config["updates"] + 1):
        inputs, classes = sequences(generator, BATCH)
        loss = torch.nn.functional.cross_entropy(head(rnn(inputs)[0][-1]), classes)
        optimizer.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(parameters, config["clip"])
        optimizer.step()
        if update % EVERY == 0:
            with torch.no_grad():
                inputs, classes = sequences(generator, EVALUATED)
                out = head(rnn(inputs)[0][-1])
                error = (out.argmax(1) != classes).float().mean()
            tune.report({"train_loss": loss.item(), "error": error.item(), "norm": norm.item(), "step": update})


def with_tune(trials: int, updates: int, folder: Path) -> None:
    """Run the sweep with Ray Tune, and leave the best final error in a file."""
    import ray
    from ray import tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    ray.init("local", num_cpus=os.cpu_count(), include_dashboard=False, log_to_driver=False, logging_level="error")
    space = {
        "clip": tune.loguniform(0.3, 6.0),
        "lr": tune.loguniform(0.003, 0.03),
        "sigma": tune.loguniform(0.05, 0.3),
        "updates": updates,
    }
    callback = MLflowLoggerCallback(tracking_uri=f"sqlite:///{folder}/tune.db", experiment_name="tune")
    tuner = tune.Tuner(
        tune.with_resources(train, {"cpu": 1}),
        param_space=space,
        tune_config=tune.TuneConfig(
            search_alg=OptunaSearch(metric="error", mode="min"), num_samples=trials, metric="error", mode="min"
        ),
        run_config=tune.RunConfig(storage_path=str(folder / "tune"), callbacks=[callback], verbose=0),
    )
    results = tuner.fit()
    assert len(results) == trials and not results.errors
    assert all(result.metrics["step"] == updates for result in results)
    (folder / "best").write_text(str(results.get_best_result().metrics["error"]))


def launch(trials: int, updates: int, folder: Path) -> list[str]:
    """rnnsweep's command line for the sweep."""
    options = [
        *(f"task.length={LENGTH}", f"family.hidden={HIDDEN}", f"training.batch={BATCH}", "controllers=[clip]"),
        *(f"training.report_every={EVERY}", f"training.eval_size={EVALUATED}", "training.stop_solved=false"),
        *("sampler=tpe", "pruner=none", f"budget.trials={trials}", f"budget.updates={updates}"),
        "space={controllers.clip.threshold: tag(log,interval(0.3,6)), optimizer.lr: tag(log,interval(0.003,0.03)), "
        "init.sigma: tag(log,interval(0.05,0.3))}",
    ]
    return [
        *RNNSWEEP,
        "launch",
        "search",
        "name=bench",
        "cluster=local",
        *options,
        "--store",
        str(folder / "store"),
    ]


def best(half: str, trials: int, folder: Path) -> float:
    """The best final error, after a look at whether everything was trained."""
    if half == "tune":
        return float((folder / "best").read_text())
    command = [*RNNSWEEP, "table", "bench", "--json", "--store", str(folder / "store")]
    rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert [row["state"] for row in rows] == ["COMPLETE"] * trials
    return min(row["objective"] for row in rows)


def timed(half: str, options: argparse.Namespace, folder: Path) -> float | None:
    """Seconds that one half takes in a process of its own; None if it was not done within the limit."""
    sizes = ["--trials", str(options.trials), "--updates", str(options.updates)]
    tune = [sys.executable, __file__, *sizes, "--tune-into", str(folder)]
    command = tune if half == "tune" else launch(options.trials, options.updates, folder)
    load, began = os.getloadavg()[0], time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    try:
        code = process.wait(options.limit)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait()
        code = None
    took, loads = time.perf_counter() - began, f"load {load:.1f} to {os.getloadavg()[0]:.1f}"
    if code is None:
        print(f"{half:<9} not done within {options.limit:.0f} s, {loads}", flush=True)
        return None
    if code:
        sys.exit(f"{half} failed, see above")
    print(f"{half:<9} {took:7.1f} s, best error {best(half, options.trials, folder):.3f}, {loads}", flush=True)
    return took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--only", choices=HALVES)
    parser.add_argument("--limit", type=float, default=1800.0, help="seconds for each half")
    parser.add_argument("--tune-into", help=argparse.SUPPRESS)
    options = parser.parse_args()
    missing = [name for name in ("pandas", "pyarrow", "tensorboardX") if importlib.util.find_spec(name) is None]
    if missing:
        sys.exit(f'Ray Tune needs {", ".join(missing)}: pip install "ray[tune]" --constraint constraints.txt')
    if options.tune_into:
        with_tune(options.trials, options.updates, Path(options.tune_into))
        return
    print(
        f"{options.trials} trials x {options.updates} updates, {os.cpu_count()} cores, limit {options.limit:.0f} s each"
    )
    took: dict[str, float | None] = {}
    with tempfile.TemporaryDirectory() as folder:
        for half in [options.only] if options.only else HALVES:
            took[half] = timed(half, options, Path(folder))
    ours, theirs = took.get("rnnsweep"), took.get("tune")
    if ours is not None and "tune" in took:
        print(f"ratio     {(theirs or options.limit) / ours:7.1f}{'' if theirs else ' or more'}")


if __name__ == "__main__":
    main()
