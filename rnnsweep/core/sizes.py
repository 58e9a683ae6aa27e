"""How much a row's loop record takes: what tiles and the memory model rest on."""

from __future__ import annotations

from rnnsweep.core.embedding import Embedding
from rnnsweep.core.families.base import Family
from rnnsweep.core.readout import Readout
from rnnsweep.core.tasks.base import Task

_STANDARD = (100, 10, 100, 6, 4)
"""T, B, H, I and bytes per entry of the record that an engine's tile is meant for."""


def loop_entries(family: Family) -> int:
    """Entries per step and sequence that forward and backward loops hold, inputs aside.

    Args:
        family: whose loops they are.

    Simple cells: states, deltas and what is handed back, and slopes where the states do not give them. A filter of the
    input path holds what goes in and what comes out; cells of their own count the latter anyway.
    """
    total, ways, below = 0, 2 if family.bidirectional else 1, 0
    for part in family.parts[::ways]:
        cell, width = part.cell, part.width
        if cell is not None:
            one = cell.record_width + (cell.drive if part.filters else 0)
        else:
            slopes = 0 if part.cell_activation.from_output and not part.leaky else 1
            one = (3 + slopes + (2 if part.filters else 0)) * width
        drive = width if cell is None else cell.drive
        total += ways * one
        if below:
            # between layers: what the one below shows, drives, and the gradients of both; in either order of time
            total += (2 if ways == 1 else 6) * below + 2 * drive
        below = width
    # what both directions show side by side, and its errors
    return total if ways == 1 else total + 4 * below


def record_entries(family: Family, task: Task, readout: Readout, embedding: Embedding) -> int:
    """Entries per step and sequence of a whole record: inputs, loop, and outputs and errors of a per-step task.

    Behind an embedding: vectors, their gradient, and drives.
    """
    width, cell, ways = family.width, family.cell, 2 if family.bidirectional else 1
    first = family.parts[0]
    read = (
        width + (0 if cell is None else cell.error_width * ways) + 2 * task.n_outputs + readout.entries
        if task.per_step
        else 0
    )
    # cells and filters hold what they are fed with anyway
    drives = ways * first.width if embedding.size and first.cell is None and not first.filters else 0
    return embedding.width(task.n_inputs) + embedding.size + drives + loop_entries(family) + read


def standard_bytes(family: Family) -> int:
    """A record of this family's loop at the standard size, of complex units, too."""
    T, B, H, inputs, size = _STANDARD
    return T * B * (inputs + loop_entries(family) * H // family.hidden) * size
