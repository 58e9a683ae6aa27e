from __future__ import annotations

from typing import Any

import numpy as np

from rnnsweep.sweep.plan import Racing
from rnnsweep.sweep.racing import RaceBoard

from .plans import plan


def raced(losses: np.ndarray, racing: Racing, **changes: Any) -> list[int]:
    """How many replicas each trial gets, whose losses are [trials, replicas]."""
    board, counts = RaceBoard(plan(replicas=losses.shape[1], racing=racing, **changes)), list[int]()
    for trial, own in enumerate(losses.tolist()):
        counts.append(len(own))
        for look in board.looks:
            board.note(trial, own[:look])
            taken = board.look(trial)
            if taken is not None and taken.lost:
                counts[-1] = look
                break
    return counts
