"""One rung of a pack: its rows are trained to their next boundary, evaluated, and their metrics gathered."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from rnnsweep.core import diagnostics, evaluation, subnormals
from rnnsweep.core.controllers.base import Context
from rnnsweep.core.pack import NEVER, Pack
from rnnsweep.core.tile import Tile, learn, tiles, train_batch, update
from rnnsweep.core.types import RowStatus

__all__ = ["Tile", "learn", "tiles", "train_batch", "train_rung", "update"]


Watch = Callable[[float], None]
"""Told, within a rung, which share of its updates is done."""


Later = list[Callable[[], None]]
"""What the host has still to do for a rung, each to be called once, on any thread."""


@subnormals.flushed()
def train_rung(
    pack: Pack, report_every: int, eval_every: int, watch: Watch | None = None, later: Later | None = None
) -> list[dict[str, float]]:
    """Train every row to its next rung boundary, evaluate, and return each row's metrics (finite values only).

    Rung r ends at update min(r * report_every, the row's budget). Rows are evaluated at every `eval_every`-th rung and
    when they end. Statuses and solved_at are set on the pack. `watch` is called after every update. Where `later` is
    given, what the host alone finds (spectra) is put there: once it is called, the metrics that were returned have it.

    Numerics:
        Subnormal numbers are 0 meanwhile (`core.subnormals`), in torch's operations as in the loops.
    """
    results: list[dict[str, float]] = []
    cuts = tiles(pack)
    for index, (cut, tile) in enumerate(cuts):
        told = None if watch is None else lambda share, index=index: watch((index + share) / len(cuts))
        notes = _train(tile, torch.minimum((pack.rung[cut] + 1) * report_every, tile.updates), told)
        pack.rung[cut] += 1
        columns = tile.tally.values()
        if "profiles" in notes:
            _keep_profiles(pack, cut, notes.pop("profiles").cpu())
        columns.update(notes)
        values, family_hypers = tile.program.layout.view(tile.params), tile.unit_hypers("family")
        spectra = diagnostics.spectra_of(tile.program.family, values, family_hypers)
        rows = _rows(columns | _evaluate(pack, cut, tile, eval_every), len(tile.step))
        results += rows
        complete = partial(_complete, rows, spectra)
        if later is None:
            complete()
        else:
            later.append(complete)
    _end(pack)
    return results


def _train(tile: Tile, target: Int64[Tensor, " P"], watch: Watch | None = None) -> dict[str, Tensor]:
    """Train every row until its target; returns the diagnostics of each row's last update."""
    tile.tally.clear()
    tile.until.copy_(target)
    ends = (target - tile.step).clamp(min=0)  # a last rung may be shorter than its neighbours'
    boundaries, notes = set(ends.tolist()), {}
    last = max(boundaries)
    for done in range(1, last + 1):
        if done in boundaries:
            ending = ends == done
            _gather(notes, update(tile, tile.tally, ending=ending), ending)
        else:
            tile.once_more()
        if watch is not None:
            watch(done / last)
    tile.until.copy_(tile.updates)
    return notes


def _gather(notes: dict[str, Tensor], context: Context, ending: Bool[Tensor, " P"]) -> None:
    """Take the diagnostics of the rows for which this was the rung's last update."""
    for key, value in context.notes.items():
        if key == "profiles" or key.startswith("state/"):
            # Rows may reach their boundary at different updates: each row's diagnostics are those of its own last one.
            on = ending.reshape(-1, *(1 for _ in value.shape[1:]))
            notes[key] = torch.where(on, value, notes[key]) if key in notes else value


def _evaluate(pack: Pack, cut: slice, tile: Tile, eval_every: int) -> dict[str, Tensor]:
    """Evaluate the rows that are due; the whole tile is run if any is."""
    # Rows that diverged have no weights worth a look; those that ended in earlier rungs are through.
    live = tile.status == RowStatus.ACTIVE
    due = live & ((pack.rung[cut] % eval_every == 0) | (tile.step >= tile.updates))
    if not bool(due.any()):
        return {}
    scores = evaluation.evaluate(tile, tile.keys["eval"])
    loss, error = scores.loss, scores.error
    step = tile.step
    for vector, solved in (
        (pack.solved_at[cut], error < tile.program.solved_below),
        (pack.solved_exactly_at[cut], error == 0),
    ):
        vector.copy_(torch.where(due & solved & (vector == NEVER), step, vector))
    # On the host: few rows, and only at a rung.
    losses, rungs = torch.where(due, loss, torch.nan).tolist(), pack.rung[cut].tolist()
    for row, (value, rung) in enumerate(zip(losses, rungs, strict=True), cut.start):
        if math.isfinite(value) and value < pack.best[row][0]:
            pack.best[row] = (value, rung)
    # NaN marks "not evaluated": `_rows` leaves it out.
    blank = torch.full_like(loss, torch.nan)
    scored = {"valid/loss": loss, "valid/error": error, **scores.measured}
    scored |= {key: loss * share for key, share in tile.program.task.derived.items()}
    return {key: torch.where(due, value, blank) for key, value in scored.items()}


def _keep_profiles(pack: Pack, cut: slice, profiles: Float[Tensor, "P L T"]) -> None:
    """Remember log10 |delta_t| of each loop against depth at the first rung, at up to two rungs between, and now.

    The two between are those by which training had doubled last: one of them lies between a third and two thirds of it
    whenever it ends, which nobody knows before, as a row that solves its task stops early.
    """
    for index, (row, now) in enumerate(enumerate(pack.step[cut].tolist(), cut.start)):
        steps, kept = pack.profiles[row]
        new = profiles[index] if profiles.shape[1] > 1 else profiles[index, 0]
        if kept is None or kept.ndim != new.ndim + 1:  # earlier versions kept the last layer's alone
            pack.profiles[row] = ((now, now), torch.stack([new, new]))
            continue
        (first, *between), last = range(len(steps) - 1), len(steps) - 1
        doubled = 2 * steps[between[-1]] if between else steps[first] + 1
        if steps[last] >= doubled:  # the newest one is overwritten below unless it stays for good
            between = [*between, last][-2:]
        rows = [first, *between]
        pack.profiles[row] = ((*(steps[i] for i in rows), now), torch.stack([*(kept[i] for i in rows), new]))


def _end(pack: Pack) -> None:
    """Mark rows that have used up their budget or are solved and may stop."""
    active = pack.status == RowStatus.ACTIVE
    done = active & (pack.step >= pack.updates)
    pack.status.copy_(torch.where(done, torch.full_like(pack.status, RowStatus.DONE), pack.status))
    if pack.program.stop_when_solved:
        solved = active & (pack.solved_at != NEVER)
        pack.status.copy_(torch.where(solved, torch.full_like(pack.status, RowStatus.SOLVED), pack.status))


@subnormals.flushed()
def _complete(rows: list[dict[str, float]], find: Callable[[], dict[str, Tensor]]) -> None:
    for row, found in zip(rows, _rows(find(), len(rows)), strict=True):
        row.update(found)


def _rows(columns: dict[str, Tensor], count: int) -> list[dict[str, float]]:
    """Per-row dictionaries with finite values only."""
    # One transfer, not one per metric: each would wait for the device.
    host = torch.device("cpu")
    there = {key: value for key, value in columns.items() if value.device != host}
    together = torch.stack([value.to(torch.float64) for value in there.values()]).cpu() if there else ()
    here = {key: value.to(torch.float64) for key, value in columns.items()} | dict(zip(there, together, strict=True))
    lists = {key: value.tolist() for key, value in here.items()}
    return [
        {key: values[index] for key, values in lists.items() if abs(values[index]) < float("inf")}
        for index in range(count)
    ]
