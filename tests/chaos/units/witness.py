"""A controller that breaks its process on purpose, and a record of every rung that any trainer begins.

`fault` per row: 0 is off, 1 a segmentation fault, 2 `os._exit`, 3 memory without end under a limit of its own.
Importing this module makes `PackTrainer` write one line per row and rung it begins into the file RNNSWEEP_WITNESS, and
rest RNNSWEEP_REST seconds after each: the bound on repeated rungs is checked against it, from outside.
RNNSWEEP_PATIENCE replaces the seconds that a trainer waits for a full store.
"""

from __future__ import annotations

import ctypes
import os
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor

from rnnsweep.app.worker import trainer
from rnnsweep.app.worker.retrying_store import RetryingStore
from rnnsweep.core.controllers.base import Additive, Context
from rnnsweep.unit import NOT_NEGATIVE, Range

SEGFAULT, EXIT, MEMORY = 1.0, 2.0, 3.0
AFTER = 25  # updates before anything breaks: the first rungs are healthy


@dataclass(frozen=True)
class Witness(Additive):
    fault: float = 0.0

    rows: ClassVar[Mapping[str, Range]] = {"fault": NOT_NEGATIVE}

    def active(self, hypers: Mapping[str, Tensor]) -> Tensor:
        return hypers["fault"] > 0

    def add(self, context: Context) -> Tensor:
        for fault in set(context.hypers["fault"][context.step >= AFTER].tolist()):
            if fault == SEGFAULT:
                ctypes.string_at(8)
            elif fault == EXIT:
                os._exit(3)
            elif fault == MEMORY:
                _exhaust()
        return context.gradients


def _exhaust() -> None:
    """Take memory until there is none, under a limit that leaves the machine alone."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + 2**28, before[1]))
    taken = []
    try:
        while True:
            taken.append(torch.ones(2**23))
    finally:
        taken.clear()
        resource.setrlimit(resource.RLIMIT_AS, before)


def _record() -> None:
    train = trainer.PackTrainer._train

    def recorded(self: trainer.PackTrainer, key: trainer.PackKey, *out: list):
        file = os.environ.get("RNNSWEEP_WITNESS")
        if file and key in self.packs:
            pack = self.packs[key]
            rows = [(self.rows[member.name], int(pack.row(i).rung) + 1) for i, member in enumerate(pack.members)]
            lines = [
                f"{row.sweep.settings.checkpoints} {row.trial} {row.spec.replica} {rung} {row.spec.token}\n"
                for row, rung in rows
            ]
            with open(file, "ab", buffering=0) as kept:
                kept.write("".join(lines).encode())  # one write: lines of several processes do not mix
        found = train(self, key, *out)
        time.sleep(float(os.environ.get("RNNSWEEP_REST", "0")))
        return found

    recorded.records = True  # type: ignore[attr-defined]
    if not hasattr(train, "records"):
        trainer.PackTrainer._train = recorded
    if "RNNSWEEP_PATIENCE" in os.environ:
        RetryingStore.__init__.__defaults__ = (float(os.environ["RNNSWEEP_PATIENCE"]),)


_record()
