"""The fused CPU engine beside the GEMM rate, one thread: ms per row-update by width and length, and its share.

    python benchmarks/engine_floor.py [--quick] [--dtype float32]

Work counted: forward, backward (which includes the gradients) and outer product 2, 4 and 2 T B H^2; tangent 4 T B H^2
(its floor). The sum forward + backward of T = 100, B = 10, H = 100 is the unit: 60 MFLOP.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import torch

from rnnsweep.core.activations import activation
from rnnsweep.core.recurrence.cpu.engine.simple import CpuEngine
from rnnsweep.core.types import Direct, LoopWeights

P, B, I = 8, 10, 6  # noqa: E741
WIDTHS, LENGTHS = (16, 32, 50, 64, 100, 128, 200, 256, 512), (20, 100, 300, 1000)


def best_of(call: Callable[[], object], seconds: float) -> float:
    """Shortest time of one call, s."""
    call()
    best, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return best


def gemm_rate(dtype: torch.dtype) -> float:
    """GFLOP/s of one 1024^3 product."""
    a = torch.randn(1024, 1024, dtype=dtype)
    return 2 * 1024**3 / best_of(lambda: a @ a, 2.0) / 1e9


def measure(T: int, H: int, dtype: torch.dtype, seconds: float) -> dict[str, float]:
    """ms per row of each part."""
    rng = torch.Generator().manual_seed(0)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(*size, generator=rng).to(dtype)

    engine, tanh = CpuEngine(1), activation("tanh")
    weights = LoopWeights(normal(P, H, H) / H**0.5, normal(P, I, H), normal(P, H))
    inputs, lengths, direct = normal(P, T, B, I), torch.full((P,), T), Direct(last=normal(P, B, H))
    record = engine.forward(inputs, weights, tanh, lengths)
    trace = engine.backward(record, direct, tanh)[1]
    assert trace is not None
    weight, step = normal(P, T, B), normal(P, H, H) * 1e-3
    calls: dict[str, Callable[[], object]] = {
        "forward": lambda: engine.forward(inputs, weights, tanh, lengths),
        "backward": lambda: engine.backward(record, direct, tanh),
        "lean": lambda: engine.backward(record, direct, tanh, keep=False),
        "outer": lambda: engine.outer(trace.x, trace.delta, weight),
        "tangent": lambda: engine.tangent(trace, step, lengths - 1, tanh),
        "norms": lambda: engine.square_norms(trace.x),
    }
    return {name: best_of(call, seconds) / P * 1e3 for name, call in calls.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="the unit and few others, half a second each")
    parser.add_argument("--dtype", default="float32", choices=["float32", "float64"])
    options = parser.parse_args()
    dtype = getattr(torch, options.dtype)
    torch.set_num_threads(1)
    gemm = gemm_rate(dtype)
    print(f"GEMM 1024^3, one thread, {options.dtype}: {gemm:.1f} GFLOP/s;  P={P} B={B} I={I} tanh; ms per row")
    print(f"{'T':>5} {'H':>4} {'forward':>9} {'backward':>9} {'lean':>9} {'outer':>9} {'tangent':>9} {'norms':>9}"
          f" {'GFLOP/s':>8} {'share':>6}")  # fmt: skip
    cases = [(100, 100), (100, 50), (300, 100)] if options.quick else [(T, H) for T in LENGTHS for H in WIDTHS]
    for T, H in cases:
        ms = measure(T, H, dtype, 0.1 if options.quick else 0.2)
        rate = 6 * T * B * H * H / (ms["forward"] + ms["backward"]) / 1e6
        print(f"{T:5d} {H:4d} " + " ".join(f"{v:9.4f}" for v in ms.values()) + f" {rate:8.1f} {rate / gemm:6.2f}")


if __name__ == "__main__":
    main()
