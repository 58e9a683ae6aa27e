"""A trained network as a file that runs without rnnsweep: torch's exported program, or ONNX."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rnnsweep.core.network import RecurrentNetwork, Streaming
from rnnsweep.errors import ConfigError, RnnsweepError
from rnnsweep.extras import install_hint
from rnnsweep.version import __version__

ABOUT = "network.json"
"""Name of what a file says about its network: an extra file of torch's archive, a metadata entry of ONNX."""
_STEPS, _BATCH = 5, 3  # of the example that is traced: neither 0 nor 1, which would be taken for constants


class Whole(torch.nn.Module):
    """`RecurrentNetwork.forward` with the lengths that an export cannot leave out: (inputs, lengths) -> outputs."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, inputs: Tensor, lengths: Tensor) -> Tensor:
        """See `RecurrentNetwork.forward`."""
        return self.network(inputs, lengths)


def export(
    network: RecurrentNetwork, to: str, out: Path, *, streaming: bool = False, facts: Mapping[str, Any] | None = None
) -> Path:
    """Write a network to one file, checked before it gets its name.

    Args:
        network: on the CPU.
        to: ``torch`` or ``onnx``.
        out: the file; one of that name is replaced.
        streaming: (inputs, state) -> (outputs, state) instead of (inputs, lengths) -> outputs.
        facts: what else the file is to say about its network.

    Raises:
        ConfigError: no such form, or the file cannot be written.
        RnnsweepError: ONNX is not installed, or the file's outputs differ from the network's.
    """
    from rnnsweep.report.atomic_files import write

    if to not in FORMS:
        raise ConfigError("no such form", key="--to", value=to, allowed=list(FORMS))
    check_file(out)
    if streaming and (reason := network.whole_only):
        raise RnnsweepError(f"cannot be exported for streaming: {reason}")
    module = (Streaming if streaming else Whole)(network).eval()
    text = json.dumps(_facts(network, streaming) | dict(facts or {}), indent=1)
    with _quiet(), torch.no_grad():
        content = FORMS[to](module, text)
    return write(out, content)


def check_file(out: Path) -> None:
    """Refuse a file that cannot be written, before anything is computed.

    Raises:
        ConfigError: it names the file.
    """
    folder = out.absolute().parent
    if out.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        allowed = "a file in a folder that is there and can be written"
        raise ConfigError("cannot be written", key="--out", value=str(out), allowed=allowed)


def _facts(network: RecurrentNetwork, streaming: bool) -> dict[str, Any]:
    parts = network.parts
    return {
        "rnnsweep": __version__,
        "inputs": parts.inputs,
        "outputs": network.get("w_out").shape[1],
        "every_step": parts.per_step,
        **({"symbols": True} if parts.tokens else {}),
        "dtype": str(network.dtype).removeprefix("torch."),
        **({"initial_state": network.initial_state(1)[0].tolist()} if streaming else {}),
    }


def example(module: torch.nn.Module, steps: int, batch: int) -> tuple[Tensor, Tensor]:
    """Arguments of one of the two modules that are exported: random inputs, lengths from 1 on or first states."""
    network = module.network
    assert isinstance(network, RecurrentNetwork)
    draw, parts = torch.Generator().manual_seed(0), network.parts
    if parts.tokens:
        inputs = torch.randint(parts.inputs, (steps, batch), generator=draw)
    else:
        inputs = torch.randn(steps, batch, parts.inputs, generator=draw).to(network.dtype)
    lengths = (torch.arange(batch) % steps) + 1
    second = network.initial_state(batch) if isinstance(module, Streaming) else lengths
    return inputs, second


def _program(module: torch.nn.Module) -> torch.export.ExportedProgram:
    steps, batch = torch.export.Dim("steps"), torch.export.Dim("batch")
    return torch.export.export(
        module, example(module, _STEPS, _BATCH), dynamic_shapes=({0: steps, 1: batch}, {0: batch})
    )


def _to_torch(module: torch.nn.Module, facts: str) -> bytes:
    buffer, program = io.BytesIO(), _program(module)
    torch.export.save(program, buffer, extra_files={ABOUT: facts})
    buffer.seek(0)
    again = torch.export.load(buffer).module()
    _compare(module, lambda *arguments: again(*arguments))
    return buffer.getvalue()


def _to_onnx(module: torch.nn.Module, facts: str) -> bytes:
    try:
        runtime = importlib.import_module("onnxruntime")
        importlib.import_module("onnxscript")  # torch.onnx needs it
    except ImportError:
        raise RnnsweepError(f"--to onnx needs packages that are missing. {install_hint('onnx')}") from None
    streaming = isinstance(module, Streaming)
    names = ["inputs", "state" if streaming else "lengths"], ["outputs"] + ["next_state"] * streaming
    program = torch.onnx.export(_program(module), input_names=names[0], output_names=names[1], verbose=False)
    assert program is not None
    program.model.metadata_props[ABOUT] = facts
    content = program.model_proto.SerializeToString()
    options = runtime.SessionOptions()
    options.log_severity_level = 3  # errors: it warns of initializers that it drops
    session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def answer(*arguments: Tensor) -> tuple[Tensor, ...]:
        fed = {name: value.numpy() for name, value in zip(names[0], arguments, strict=True)}
        # an input that the graph does not read (of a family without a state's use) is not one of its own
        known = {one.name for one in session.get_inputs()}
        results = session.run(None, {name: value for name, value in fed.items() if name in known})
        return tuple(torch.as_tensor(result) for result in results)

    _compare(module, answer)
    return content


FORMS: Mapping[str, Callable[[torch.nn.Module, str], bytes]] = {"torch": _to_torch, "onnx": _to_onnx}
"""What a network can be exported to -> what makes the file's bytes."""
SUFFIX: Mapping[str, str] = {"torch": ".pt2", "onnx": ".onnx"}


def _compare(module: torch.nn.Module, answer: Callable[..., Any]) -> None:
    """Raise where the file does not say what the network says, at other sizes than those that were traced."""
    for steps, batch in ((1, 1), (_STEPS, 1), (4 * _STEPS, 2 * _BATCH)):
        arguments = example(module, steps, batch)
        ours, theirs = _tuple(module(*arguments)), _tuple(answer(*arguments))
        for one, other in zip(ours, theirs, strict=True):
            # sums of other orders: a thousand roundings, and more where a state grows over the steps
            near = 1e-9 if one.dtype is torch.float64 else 1e-3
            if not torch.allclose(one, other, rtol=near, atol=near, equal_nan=True):
                off = float((one - other).abs().max())
                raise RnnsweepError(f"the exported file differs from the network by {off:.3g}; nothing was written")


def _tuple(value: Any) -> tuple[Tensor, ...]:
    return value if isinstance(value, tuple) else (value,)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' warnings about themselves from the reader: they are about no input of theirs."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
