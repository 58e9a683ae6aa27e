"""Other programs on a GPU, for `benchmarks/gpu.py`: the same update in PyTorch, called and as a CUDA graph, and in JAX.

One network, or (JAX) many under `vmap`; temporal order is drawn on the device, products are exact float32.
"""

from __future__ import annotations

import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from speed import CLASSES, INPUTS, H, jax_step, make_batch

Step = Callable[[], object]
WARM = 11
"""Calls on a stream of their own before a graph is recorded, as PyTorch's notes on graphs ask for, and some more."""


@dataclass(frozen=True)
class Peer:
    """A program that trains so many networks of a family, and what makes its step."""

    name: str
    family: str
    rows: int
    make: Callable[[], Step]


def torch_step(kind: type[torch.nn.RNN] | type[torch.nn.LSTM], device: str) -> Step:
    """An update of one network; its last state is read out."""
    rnn, out = kind(INPUTS, H).to(device), torch.nn.Linear(H, CLASSES).to(device)
    params = [*rnn.parameters(), *out.parameters()]
    optimizer = torch.optim.SGD(params, 0.01, momentum=0.9)

    def step() -> None:
        # the default generator: a graph draws anew from that one at every replay
        inputs, targets = make_batch(None, torch, device)
        optimizer.zero_grad(set_to_none=True)
        states, _ = rnn(inputs)
        torch.nn.functional.cross_entropy(out(states[-1]), targets).backward()
        torch.nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()

    return step


def recorded(step: Step) -> Step:
    """The same as one CUDA graph."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(WARM):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def seconds_per_call(step: Step, at_most: float) -> float:
    """After some calls, the mean of as many more as there is time for, 200 at most."""
    for _ in range(3):
        step()
    torch.cuda.synchronize()
    began, calls = time.perf_counter(), 0
    while calls < 200 and time.perf_counter() - began < at_most:
        for _ in range(5):
            step()
        torch.cuda.synchronize()
        calls += 5
    return (time.perf_counter() - began) / calls


def peers(jax_rows: tuple[int, ...] = (24, 528)) -> list[Peer]:
    """PyTorch's, and JAX's where it is installed and sees the GPU. From here on their products are exact float32."""
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    found: list[Peer] = []
    for name, family, kind in (("torch.nn.RNN", "srn", torch.nn.RNN), ("torch.nn.LSTM", "lstm", torch.nn.LSTM)):
        found.append(Peer(f"{name}, called", family, 1, lambda kind=kind: torch_step(kind, "cuda")))
        found.append(Peer(f"{name}, one CUDA graph", family, 1, lambda kind=kind: recorded(torch_step(kind, "cuda"))))
    if _jax_is_there():
        found += [Peer("JAX jit(vmap(grad(scan)))", "srn", n, lambda n=n: jax_step(n)) for n in jax_rows]
    return found


def _jax_is_there() -> bool:
    if importlib.util.find_spec("jax") is None:
        return False
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # torch's memory is on the device too
    import jax

    jax.config.update("jax_default_matmul_precision", "highest")
    return jax.default_backend() == "gpu"
