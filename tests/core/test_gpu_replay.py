"""Whole updates on a GPU: recorded as a CUDA graph they are what they are when called, and what the CPU makes of them.

What can be said of replays without a device is in `tests/contract/test_replay.py`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from rnnsweep.core.pack import Pack
from rnnsweep.core.replay import Repeated
from rnnsweep.core.tile import tiles, update
from rnnsweep.core.training import train_rung
from tests.contract.test_replay import asks_host, cases, config_with, pack_of

UNITS = [case for case in cases() if case.values[0] in ("family", "optimizer", "controllers")]
CHAOTIC = ("hessian_free",)
"""Searches whose length depends on last bits: one machine's result is not another's."""


@pytest.fixture(scope="module")
def cuda() -> str:
    if not torch.cuda.is_available():
        pytest.skip("no GPU here: CUDA graphs cannot be interpreted")
    return "cuda"


def trained(config: dict[str, Any], device: str, *, replays: bool = True) -> Pack:
    """After two rungs of four updates; a warning that updates are not replayed is an error in tests."""
    pack = pack_of(config, 5, device)
    if not replays:
        for _, tile in tiles(pack):
            tile.once_more = Repeated(lambda tile=tile: update(tile, tile.tally), None)
    for _ in range(2):
        train_rung(pack, 4, 1)
    return pack


@pytest.mark.parametrize(("group", "file"), UNITS)
def test_replayed_updates_are_those_that_are_called_and_the_cpus(cuda: str, group: str, file: Path) -> None:
    config = {**config_with(group, file), "engine": "auto"}
    found = trained(config, cuda)
    assert found.program.replays != asks_host(found)
    called = trained(config, cuda, replays=False)
    # cuBLAS may choose another kernel where it is recorded: last bits, in float64, of eight updates
    torch.testing.assert_close(found.params, called.params, rtol=1e-10, atol=1e-10)
    if file.stem not in CHAOTIC:
        cpus = trained({**config, "engine": "reference"}, "cpu")  # the fused one compiles for as long as all of this
        torch.testing.assert_close(found.params.cpu(), cpus.params, rtol=1e-8, atol=1e-8)
