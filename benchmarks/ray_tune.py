"""The same sweep with Ray Tune and with rnnsweep: ``python benchmarks/ray_tune.py [--trials 48] [--updates 2000]``.

48 trials of 2000 updates: temporal order over T = 30 steps, 50 tanh units, batches of 20, momentum-free SGD, clipping
threshold, learning rate and initial sigma proposed by TPE, an evaluation of 500 sequences every 200 updates, every
metric and parameter in MLflow on SQLite. Tune runs what its users write: one trial per actor, a `torch.nn.RNN`, the
OptunaSearch searcher and its MLflow callback, one trial per core at a time. Both start cold, on the same machine.
The promise is a wall time at least 8 times shorter. Needs ``pip install "ray[tune]"``.
"""

from __future__ import annotations

import argparse
import os
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


def with_tune(trials: int, updates: int, folder: Path) -> float:
    began = time.perf_counter()
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
    ray.shutdown()
    return time.perf_counter() - began


def with_rnnsweep(trials: int, updates: int, folder: Path) -> float:
    options = [
        *(f"task.length={LENGTH}", f"family.hidden={HIDDEN}", f"training.batch={BATCH}"),
        *(f"training.report_every={EVERY}", f"training.eval_size={EVALUATED}", "training.stop_solved=false"),
        *("sampler=tpe", "pruner=none", f"budget.trials={trials}", f"budget.updates={updates}"),
        "space={controllers.clip.threshold: tag(log,interval(0.3,6)), optimizer.lr: tag(log,interval(0.003,0.03)), "
        "init.sigma: tag(log,interval(0.05,0.3))}",
    ]
    command = [sys.executable, "-m", "rnnsweep.app.cli.main", "launch", "quickstart", "name=bench", "cluster=local"]
    began = time.perf_counter()
    done = subprocess.run([*command, *options, "--store", str(folder)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=48)
    parser.add_argument("--updates", type=int, default=2000)
    parser.add_argument("--only", choices=["tune", "rnnsweep"])
    options = parser.parse_args()
    print(f"{options.trials} trials x {options.updates} updates, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    took: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, run in (("rnnsweep", with_rnnsweep), ("tune", with_tune)):
            if options.only in (None, name):
                took[name] = run(options.trials, options.updates, Path(folder))
                print(f"{name:<9} {took[name]:7.1f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    if len(took) == 2:
        print(f"ratio     {took['tune'] / took['rnnsweep']:7.1f}")


if __name__ == "__main__":
    main()
