"""How much a row's loop record takes: what tiles and the memory model rest on."""

from __future__ import annotations

from rnnsweep.core.families.base import Family
from rnnsweep.core.tasks.base import Task

_STANDARD = (100, 10, 100, 6, 4)
"""T, B, H, I and bytes per entry of the record that an engine's tile is meant for."""


def loop_entries(family: Family, width: int) -> int:
    """Entries per step and sequence that forward and backward loops hold, inputs aside.

    Args:
        family: whose loops they are.
        width: entries of the state that the read-out sees.

    Simple cells: states, deltas and what is handed back, and slopes where the states do not give them. A filter of the
    input path holds what goes in and what comes out; cells of their own count the latter anyway.
    """
    both = family.bidirectional
    width = width // 2 if both else width
    cell = family.cell
    if cell is not None:
        one = cell.record_width + (cell.drive if family.filters else 0)
        drive = cell.drive
    else:
        slopes = 0 if family.cell_activation.from_output and not family.leaky else 1
        one, drive = (3 + slopes + (2 if family.filters else 0)) * width, width
    between = family.layers - 1
    if not both:
        # what the layer below shows, drives, and the gradients of both
        return family.layers * one + between * 2 * (width + drive)
    # what both show side by side and its errors; between layers in either order of time too
    return 2 * family.layers * one + 4 * width + between * (6 * width + 2 * drive)


def record_entries(family: Family, width: int, task: Task) -> int:
    """Entries per step and sequence of a whole record: inputs, loop, and outputs and errors of a per-step task."""
    whole = 0 if family.cell is None else family.cell.state * (2 if family.bidirectional else 1)
    read = width + whole + 2 * task.n_outputs if task.per_step else 0
    return task.n_inputs + loop_entries(family, width) + read


def standard_bytes(family: Family, width: int) -> int:
    """A record of this family's loop at the standard size."""
    T, B, H, inputs, size = _STANDARD
    return T * B * (inputs + loop_entries(family, width) * H // width) * size
