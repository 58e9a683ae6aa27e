"""Ray Tune's ASHA and population based training beside ours: ``python benchmarks/search_trained_tune.py OUT.jsonl``.

The tasks, spaces, networks, first weights, data and device time are those of `search_trained.py`, whose ``show`` puts
the lines of both side by side. Tune's own controller, schedulers and trial actors decide; a trial's actor hands its row
to one actor of ours, which trains the rows that wait as one pack: a row's numbers do not depend on the pack, and 16
processes of torch would only take longer. Schedulers have our defaults where both have the key: first milestone after
one rung of 100 updates, reduction by 4; generations of a tenth of the updates, quarters, resampling of a quarter,
factors .8 and 1.2.

Needs ``pip install "ray[tune]" --constraint constraints.txt``.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import pickle
import queue
import random
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any

os.environ |= {
    "OMP_NUM_THREADS": "1",
    "RAY_USAGE_STATS_ENABLED": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "RAY_AIR_NEW_OUTPUT": "0",
}
sys.path.insert(0, str(Path(__file__).parents[1]))

import ray
from ray import tune

from benchmarks.search_trained import BENCHES, EVERY, MANY, METRIC, ROWS, Bench, at_eighths, config_of, done, wanted

HALVES = {"Ray Tune, ASHA": False, "Ray Tune, PBT": True}
"""By name: whether it is the population."""
FIRST_ONLY = "init."
"""Keys that say how a network begins: a population cannot change them."""
WORST = 1e9
"""Of a network that has diverged; Tune's schedulers cannot order what is not finite."""
ACTOR = "rows"


class Rows:
    """The device: trains whoever waits as one pack, and counts what was spent. States are bytes: trials need no torch.

    Attributes:
        spent: updates of rows. curve: (spent, best value of any network) whenever it improves.
    """

    def __init__(self) -> None:
        from rnnsweep.app.worker.device import single_threaded

        single_threaded(1)
        self._waiting: queue.SimpleQueue[tuple[bytes, Mapping[str, Any], Future[Any]]] = queue.SimpleQueue()
        threading.Thread(target=self._work, daemon=True).start()

    def begin(self, name: str, seed: int) -> None:
        """A sweep of a benchmark."""
        from rnnsweep.app.worker.factory import trainer_settings
        from rnnsweep.core.pack import Streams

        self.bench = BENCHES[name]
        with tempfile.TemporaryDirectory() as folder:
            self.settings = trainer_settings(config_of(self.bench, ("sampler=random",), seed, MANY, Path(folder)))
        self.streams = Streams(seed, 0)
        self.program: Any = None
        self.spent, self.curve = 0, [(0, math.inf)]

    def train(self, state: bytes, params: Mapping[str, Any]) -> tuple[bytes, float, int]:
        """One rung, from first weights if the state is empty: state, value, and what was spent in all."""
        answer: Future[Any] = Future()
        self._waiting.put((state, params, answer))
        return answer.result()

    def result(self) -> tuple[int, list[tuple[int, float]]]:
        """What was spent, and the curve."""
        return self.spent, self.curve

    def _work(self) -> None:
        while True:
            asked = [self._waiting.get()]
            time.sleep(0.02)  # the others are about to come
            while not self._waiting.empty():
                asked.append(self._waiting.get())
            try:
                answers = self._rung([(state, params) for state, params, _ in asked])
            except BaseException as error:  # noqa: BLE001 - who waits must hear of it
                for _, _, answer in asked:
                    answer.set_exception(error)
                continue
            for (_, _, answer), found in zip(asked, answers, strict=True):
                answer.set_result(found)

    def _rung(self, rows: list[tuple[bytes, Mapping[str, Any]]]) -> list[tuple[bytes, float, int]]:
        from rnnsweep.app.config.point import resolve_point
        from rnnsweep.app.worker.device import device_of
        from rnnsweep.core.build import build_program, build_units, initial_state, row_hypers
        from rnnsweep.core.pack import Member, Pack
        from rnnsweep.core.training import train_rung

        members = []
        for index, (state, params) in enumerate(rows):
            config = resolve_point(self.settings.variants, params)
            units = build_units(config)
            self.program = self.program or build_program(config, units, device_of("cpu"))
            member = Member((index, 0), self.bench.updates, row_hypers(units), self.streams)
            # bytes that `_rung` itself has made: no stranger's
            begun = pickle.loads(state) if state else initial_state(self.program, units, self.streams)  # noqa: S301
            members.append((member, begun))
        pack = Pack(self.program)
        pack.join(members)
        metrics = train_rung(pack, EVERY, self.settings.eval_every)
        values = [found.get(METRIC, WORST) for found in metrics]
        self.spent += EVERY * len(rows)
        if min(values) < self.curve[-1][1]:
            self.curve.append((self.spent, min(values)))
        states = [pickle.dumps(state) for state in pack.snapshots(range(len(pack)))]
        return [(state, value, self.spent) for state, value in zip(states, values, strict=True)]


class Network(tune.Trainable):
    """A trial: one network, a rung an iteration."""

    def setup(self, config: dict[str, Any]) -> None:
        """First weights, or what `load_checkpoint` brings."""
        self.device = ray.get_actor(ACTOR)
        self.params, self.state = self._point(config), b""

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Another trial in this process, or this one with other values; Tune then loads the state, if there is one."""
        self.params, self.state = self._point(new_config), b""
        return True

    @staticmethod
    def _point(config: dict[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in config.items() if "." in key}

    def step(self) -> dict[str, Any]:
        """One rung."""
        self.state, value, spent = ray.get(self.device.train.remote(self.state, self.params))
        # A population's member goes on, as it may take over another one's state.
        return {"loss": value, "spent": spent, "done": value == WORST and not self.config["population"]}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """The state as it is."""
        (Path(checkpoint_dir) / "state").write_bytes(self.state)

    def load_checkpoint(self, checkpoint: str) -> None:  # type: ignore[override]
        """Goes on from there."""
        self.state = (Path(checkpoint) / "state").read_bytes()


class DeviceTime(tune.Stopper):
    """Ends an experiment once its device time is used up, and a trial once it is trained."""

    def __init__(self, budget: float, rungs: int) -> None:
        self.budget, self.rungs, self.over = budget, rungs, False

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        del trial_id
        self.over |= result["spent"] >= self.budget
        return result["training_iteration"] >= self.rungs

    def stop_all(self) -> bool:
        return self.over


def ranges(bench: Bench) -> dict[str, Any]:
    """The benchmark's space, in Tune's terms: all keys are logarithmic intervals."""
    from benchmarks.search_trained import COMMON

    mark, found = "tag(log,interval(", {}
    for override in (*COMMON, *bench.overrides):
        if mark in override:
            key, value = override.split("=" + mark)
            low, high = value.rstrip(")").split(",")
            found[key] = tune.loguniform(float(low), float(high))
    return found


def points(seed: int, limit: DeviceTime) -> Any:
    """Tune's random points, of which there may be more until the experiment ends: till then it keeps processes."""
    from ray.tune.search.basic_variant import BasicVariantGenerator

    class Points(BasicVariantGenerator):
        def is_finished(self) -> bool:
            return super().is_finished() and (limit.over or not self._live_trials)

    return Points(random_state=seed)


def keep_processes() -> None:
    """A process that a trial has left waits for the next one: a second for each new one is most of what a search takes.

    Tune keeps as many as trials are staged for at that moment, which is one or none for a population's members.
    """
    from ray.tune.execution import tune_controller

    class Kept(tune_controller._ObjectCache):
        def cache_object(self, key: Any, obj: Any) -> bool:
            self._cached_objects[key].append(obj)
            self._num_cached_objects += 1
            return True

        def flush_cached_objects(self, force_all: bool = False) -> Any:
            return super().flush_cached_objects(force_all) if force_all else iter(())

    tune_controller._ObjectCache = Kept


def search(device: Any, name: str, population: bool, seed: int, trainings: int) -> dict[str, Any]:
    """One experiment of Tune."""
    import numpy as np
    from ray.tune.schedulers import AsyncHyperBandScheduler, PopulationBasedTraining

    bench, began = BENCHES[name], time.perf_counter()
    rungs, budget, space = bench.updates // EVERY, float(trainings * bench.updates), ranges(BENCHES[name])
    ray.get(device.begin.remote(name, seed))
    random.seed(seed)
    np.random.seed(seed)  # Tune's schedulers draw from it
    if population:
        changing = {key: domain for key, domain in space.items() if not key.startswith(FIRST_ONLY)}
        scheduler: Any = PopulationBasedTraining(
            time_attr="training_iteration", perturbation_interval=rungs / 10, hyperparam_mutations=changing
        )
    else:
        scheduler = AsyncHyperBandScheduler(max_t=rungs, grace_period=1, reduction_factor=4)
    limit = DeviceTime(budget, rungs)
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as folder:
        tuner = tune.Tuner(
            tune.with_resources(Network, {"cpu": 1}),
            param_space={**space, "population": population},
            tune_config=tune.TuneConfig(
                search_alg=points(seed, limit),
                scheduler=scheduler,
                num_samples=trainings if population else MANY,
                metric="loss",
                mode="min",
                reuse_actors=True,  # Ray has room for `ROWS` of them
            ),
            run_config=tune.RunConfig(storage_path=folder, stop=limit, verbose=0),
        )
        results = tuner.fit()
        if results.errors:
            raise results.errors[0]
        ended = [result.metrics["training_iteration"] for result in results if "loss" in (result.metrics or {})]  # type: ignore[index]
    spent, curve = ray.get(device.result.remote())
    return {
        "best": at_eighths(curve, budget),
        "spent": spent / bench.updates,
        "trials": len(ended),
        "complete": sum(iterations >= rungs for iterations in ended),
        "informed": 0.0,
        "seconds": time.perf_counter() - began,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", help="a file of JSON lines that is added to; what it holds already is not done again")
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--trainings", type=int, default=16, help="device time, in complete trainings of one row")
    parser.add_argument("--tasks", nargs="+", help="only tasks whose names hold one of these words")
    parser.add_argument("--searches", nargs="+", help="only searches whose names hold one of these words")
    options = parser.parse_args()
    out = Path(options.out)
    have = {(one["task"], one["search"], one["seed"]) for one in done(out)}
    keep_processes()
    ray.init("local", num_cpus=ROWS, include_dashboard=False, log_to_driver=False, logging_level=logging.ERROR)
    device = ray.remote(Rows).options(name=ACTOR, num_cpus=0, max_concurrency=2 * ROWS).remote()
    for seed in range(options.first_seed, options.seeds):
        for name in BENCHES:
            for how, population in HALVES.items():
                if (name, how, seed) in have or not (wanted(name, options.tasks) and wanted(how, options.searches)):
                    continue
                found = search(device, name, population, seed, options.trainings)
                line = {"task": name, "search": how, "seed": seed, "trainings": options.trainings, **found}
                with out.open("a") as file:
                    file.write(json.dumps(line) + "\n")
                print(f"{name}, {how}, {seed}: {found['best'][-1]:.4g}, {found['seconds']:.0f} s", flush=True)


if __name__ == "__main__":
    main()
