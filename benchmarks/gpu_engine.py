"""The gpu engine on a GPU: ``python benchmarks/gpu_engine.py``. Says so, and measures nothing, where there is none.

1. One update of one row (T = 100, B = 10, H = 100, SRN tanh, momentum SGD, clip 1, data included) in packs of --rows,
   beside torch.nn.RNN (cuDNN) with autograd in one process: one network, one update after another.
2. The loops alone, by CUDA events: forward, backward with and without trace, tangent, both replayed from a CUDA graph;
   with exact float32 products and with three TF32 products.
The floor is 60 MFLOP per row-update at the float32 rate of the device, which --tflops gives (67: H100 SXM, H200).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from rnnsweep.app.studies.bench import bench_config, measure
from rnnsweep.core.activations import ACTIVATIONS
from rnnsweep.core.types import Direct, LoopWeights

T, B, H, INPUTS, CLASSES = 100, 10, 100, 6, 4
OPERATIONS = 6 * T * B * H * H
WARM = 10


def cudnn_seconds(updates: int) -> float:
    """Per update of one torch.nn.RNN; its inputs are drawn on the device, which flatters it."""
    device = torch.device("cuda")
    rnn, out = torch.nn.RNN(INPUTS, H).to(device), torch.nn.Linear(H, CLASSES).to(device)
    params = [*rnn.parameters(), *out.parameters()]
    optimizer = torch.optim.SGD(params, 0.01, momentum=0.9, fused=True)

    def step() -> None:
        inputs = torch.randn(T, B, INPUTS, device=device)
        targets = torch.randint(0, CLASSES, (B,), device=device)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(out(rnn(inputs)[1][0]), targets).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    for _ in range(WARM):
        step()
    torch.cuda.synchronize()
    began = time.perf_counter()
    for _ in range(updates):
        step()
    torch.cuda.synchronize()
    return (time.perf_counter() - began) / updates


def event_seconds(work: Callable[[], object], repeats: int) -> float:
    """Median time on the device of one call."""
    for _ in range(3):
        work()
    spent = []
    for _ in range(repeats):
        start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        start.record()
        work()
        end.record()
        torch.cuda.synchronize()
        spent.append(start.elapsed_time(end) / 1e3)
    return statistics.median(spent)


def captured(work: Callable[[], object]) -> Callable[[], None]:
    """The same launches from a CUDA graph."""
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return graph.replay


def loops(rows: int, precision: str) -> dict[str, Callable[[], object]]:
    """Calls to time, on one random pack."""
    from rnnsweep.core.recurrence.gpu.engine import GpuEngine

    engine, act = GpuEngine(precision), ACTIVATIONS["tanh"]  # type: ignore[arg-type]
    make = {"device": "cuda", "dtype": torch.float32}
    weights = LoopWeights(
        torch.randn(rows, H, H, **make) / H**0.5,
        torch.randn(rows, INPUTS, H, **make),
        torch.zeros(rows, H, **make),
    )
    inputs, direct = torch.randn(rows, T, B, INPUTS, **make), Direct(last=torch.randn(rows, B, H, **make))
    lengths = torch.full((rows,), T, device="cuda")
    step, record = torch.randn(rows, H, H, **make) * 1e-3, engine.forward(inputs, weights, act, lengths)
    _, trace = engine.backward(record, direct, act)
    assert trace is not None

    def both() -> None:
        engine.backward(engine.forward(inputs, weights, act, lengths), direct, act, keep=False)

    both()
    return {
        "forward": lambda: engine.forward(inputs, weights, act, lengths),
        "backward": lambda: engine.backward(record, direct, act, keep=False),
        "backward, trace": lambda: engine.backward(record, direct, act),
        "tangent": lambda: engine.tangent(trace, step, lengths - 1, act),
        "both": both,
        "both, graph": captured(both),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[132, 264, 528, 1056, 2112, 4096])
    parser.add_argument("--updates", type=int, default=20)
    parser.add_argument("--tflops", type=float, default=67.0, help="float32 rate of the device without tensor cores")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: the gpu engine was not measured")
        return
    floor = OPERATIONS / options.tflops / 1e12
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}; floor {floor * 1e6:.2f} us per row-update")
    peer = cudnn_seconds(10 * options.updates)
    print(f"\ntorch.nn.RNN (cuDNN), one process: {peer * 1e6:.1f} us per update")
    print(f"\n{'rows':>6}{'engine':>11}{'us per row-update':>20}{'share of floor':>17}{'times cuDNN':>14}  note")
    for found in measure(bench_config([]), ["gpu", "reference"], options.rows, 1, options.updates):
        each = found["ms_per_row_update"] / 1e3
        print(f"{found['rows']:>6}{found['engine']:>11}{each * 1e6:>20.2f}{floor / each:>17.1%}", end="")
        print(f"{peer / each:>14.1f}  {found['note']}")
    print(f"\n{'rows':>6}{'products':>10}{'loop':>18}{'us':>10}{'us per row':>13}")
    for rows in options.rows:
        for precision in ("ieee", "tf32x3"):
            for name, work in loops(rows, precision).items():
                spent = event_seconds(work, options.updates) * 1e6
                print(f"{rows:>6}{precision:>10}{name:>18}{spent:>10.1f}{spent / rows:>13.3f}")


if __name__ == "__main__":
    main()
