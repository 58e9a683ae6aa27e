"""One update of a tile of rows, and one rung of a pack.

streams -> batch -> loop -> read-out -> backward -> controllers add -> transform -> propose -> after -> admit -> apply
"""

from __future__ import annotations

import torch
from torch import Tensor

from rnnsweep.core import diagnostics, evaluation, numerics
from rnnsweep.core.controllers.base import Context, Tally
from rnnsweep.core.learners.base import Learned, Wanted
from rnnsweep.core.pack import NEVER, Pack
from rnnsweep.core.program import CARRIED
from rnnsweep.core.tile import Tile, tiles, train_batch
from rnnsweep.core.types import RowStatus

__all__ = ["Tile", "learn", "tiles", "train_batch", "train_rung", "update"]


def update(tile: Tile, tally: Tally, *, ending: Tensor | None = None) -> Context:
    """One update of every live row of the tile, in place. Ended rows do not change.

    A row whose loss, or whose parameters after the step, would be non-finite is marked DIVERGED and keeps its last
    finite parameters; it takes no further step.

    Args:
        tile: rows.
        tally: where diagnostics go.
        ending: rows [P] for which this is the last update of a rung (costly diagnostics, trace kept); None for none.
    """
    detailed = ending is not None and bool(ending.any())
    alive = (tile.status == RowStatus.ACTIVE) & (tile.step < tile.updates)
    tally.begin(alive)
    learned, context = learn(tile, tally, _wanted(tile, detailed))
    context.ending = ending if detailed else None
    if detailed and context.trace is not None:
        context.notes.update(diagnostics.states(context))
        context.notes["profile"] = diagnostics.profile(context)
    finite = numerics.finite(learned.loss)
    tally.mean("train/loss", learned.loss, finite)
    if learned.state is not None:  # text that was read is read, be the step taken or not
        state, on = tile.slots[CARRIED], (alive & finite)[:, None, None]
        state.copy_(torch.where(on, learned.state, state))
    diverged = ~finite
    drop = _control(tile, context, diverged)
    _apply(tile, context, alive, diverged, drop)
    return context


def learn(tile: Tile, tally: Tally, want: Wanted) -> tuple[Learned, Context]:
    """What the learning rule makes of the next mini-batch, and all that controllers may read about it."""
    program, batch, family_hypers = tile.program, train_batch(tile), tile.unit_hypers("family")
    learned = program.learner.learn(program, tile.params, family_hypers, batch, want, tile.learner_own())  # pyright: ignore[reportArgumentType] - as in `program`
    context = Context(
        program.family,
        program.task,
        program.engine,
        program.activation,
        program.layout,
        tile.params,
        program.layout.view(tile.params),
        family_hypers,
        batch,
        learned.gradients,
        learned.trace,
        tile.step,
        tally,
        program.readout,
        term=learned.term,
        proposed=learned.step,
        fresh={f"learner.{name}": value for name, value in learned.slots.items()},
    )
    return learned, context


def _wanted(tile: Tile, detailed: bool) -> Wanted:
    """What the controllers that are switched on need of the mini-batch."""
    trace, term_rows = detailed, None
    for name, unit in tile.program.controllers.items():
        if not tile.switched[name]:
            continue
        if unit.backward_term is not None and tile.program.backward_term is not None:
            term_rows = tile.on[name] if term_rows is None else term_rows | tile.on[name]
        else:
            trace = trace or unit.needs_trace
    return Wanted(trace, term_rows)


def _control(tile: Tile, context: Context, diverged: Tensor) -> Tensor:
    """Run additive controllers, then transforms, on the gradients; returns the rows whose update is dropped."""
    program, tally = tile.program, context.tally
    for name, unit in program.additive:
        if tile.switched[name]:
            _enter(tile, context, name)
            context.gradients = unit.add(context)
    tally.among(None)
    norm = numerics.row_norm(context.gradients)
    finite = numerics.finite(norm)
    tally.mean("grad/norm", norm, finite)
    tally.count("grad/nonfinite", ~finite)
    drop = torch.zeros_like(finite)
    for name, unit in program.transforms:
        _enter(tile, context, name)
        tally.among(None)  # run for all rows, whoever they are with
        result = unit.transform(context, norm)
        _remember(tile, context, name)
        context.gradients = result.gradients
        norm = numerics.row_norm(result.gradients) if result.norm is None else result.norm
        drop = drop if result.drop is None else drop | result.drop
        if result.diverged is not None:
            diverged |= result.diverged
    tally.mean("grad/norm_clipped", norm, numerics.finite(norm))
    return drop


def _apply(tile: Tile, context: Context, alive: Tensor, diverged: Tensor, drop: Tensor) -> None:
    """Propose the step, let gates admit it, take it where all agree, and advance the rows' clocks."""
    program = tile.program
    step = _propose(tile, context) if context.proposed is None else context.proposed
    step, moved = _settle(tile, context, step)
    if program.family.slots:
        found = program.family.advance(program.layout.view(moved), tile.unit_hypers("family"))
        context.fresh.update({f"family.{name}": value for name, value in found.items()})
    accept = alive & ~diverged & ~drop
    for name, unit in program.gates:
        if tile.switched[name]:
            _enter(tile, context, name)
            accept &= unit.admit(context, step)
            _remember(tile, context, name)
    broken = accept & ~numerics.finite(moved.sum(1))
    accept &= ~broken
    diverged |= broken
    for name, unit in program.gates:
        if tile.switched[name]:
            _enter(tile, context, name)
            unit.observe(context, moved, accept)
    context.tally.among(None)
    _take(tile, moved, context.fresh, accept)
    fell = alive & diverged
    tile.diverged_at.copy_(torch.where(fell, tile.step + 1, tile.diverged_at))
    tile.status.copy_(torch.where(fell, torch.full_like(tile.status, RowStatus.DIVERGED), tile.status))
    tile.taken += accept
    tile.step += alive


def _propose(tile: Tile, context: Context) -> Tensor:
    """The optimiser's step, decoupled weight decay included."""
    optimizer = tile.program.optimizer
    slots = optimizer.kept({name: tile.slots[f"optimizer.{name}"] for name in optimizer.slots}, tile.step[:, None])
    hypers = optimizer.placed(_columns(tile), tile.program.layout)
    taken = tile.taken[:, None].to(tile.program.dtype)
    step, new_slots = optimizer.propose(context.gradients, slots, hypers, taken)
    context.fresh.update({f"optimizer.{name}": value for name, value in new_slots.items()})
    return optimizer.decay(step, tile.params, hypers) if tile.decays else step


def _columns(tile: Tile) -> dict[str, Tensor]:
    """The optimiser's hyperparameters [P, 1], rates as of this update."""
    columns = {name: value[:, None] for name, value in tile.unit_hypers("optimizer").items()}
    return tile.program.optimizer.scheduled(columns, tile.step[:, None])


def _settle(tile: Tile, context: Context, step: Tensor) -> tuple[Tensor, Tensor]:
    """The whole candidate step and the parameters after it, proximal controllers included."""
    moved = tile.params + step
    if not tile.program.proximals:
        return step, moved
    rate = _columns(tile).get("lr", torch.ones_like(moved[:, :1]))
    for name, unit in tile.program.proximals:
        if tile.switched[name]:
            _enter(tile, context, name)
            settled = unit.after(context, moved, rate)
            step = torch.where(settled == moved, step, settled - tile.params)
            moved = settled
    return step, moved


def _take(tile: Tile, moved: Tensor, fresh: dict[str, Tensor], accept: Tensor) -> None:
    """Write parameters and row state of the accepted rows."""
    if bool(accept.all()):
        tile.params.copy_(moved)
        for key, value in fresh.items():
            tile.slots[key].copy_(value)
        return
    tile.params.copy_(torch.where(accept[:, None], moved, tile.params))
    for key, value in fresh.items():
        slot = tile.slots[key]
        on = accept.reshape(-1, *(1 for _ in slot.shape[1:]))
        slot.copy_(torch.where(on, value, slot))


def _remember(tile: Tile, context: Context, name: str) -> None:
    """Keep what a controller put into its slots until the step is taken."""
    for slot, value in context.slots.items():
        key = f"controllers.{name}.{slot}"
        if value is not tile.slots[key]:
            context.fresh[key] = value


def _enter(tile: Tile, context: Context, name: str) -> None:
    """Show a controller its own hyperparameters and state; its diagnostics count for the rows it is switched on for."""
    prefix = f"controllers.{name}"
    context.hypers = tile.unit_hypers(prefix)
    context.slots = {key[len(prefix) + 1 :]: value for key, value in tile.slots.items() if key.startswith(f"{prefix}.")}
    context.tally.among(tile.on[name])


def train_rung(pack: Pack, report_every: int, eval_every: int) -> list[dict[str, float]]:
    """Train every row to its next rung boundary, evaluate, and return each row's metrics (finite values only).

    Rung r ends at update min(r * report_every, the row's budget). Rows are evaluated at every `eval_every`-th rung and
    when they end. Statuses and solved_at are set on the pack.
    """
    results: list[dict[str, float]] = []
    for cut, tile in tiles(pack):
        target = torch.minimum((pack.rung[cut] + 1) * report_every, tile.updates)
        tally, notes = Tally(), {}
        whole, tile.updates = tile.updates, target
        ends = (target - tile.step).clamp(min=0)  # a last rung may be shorter than its neighbours'
        for index in range(int(ends.max())):
            ending = ends == index + 1
            _gather(notes, update(tile, tally, ending=ending), ending)
        tile.updates = whole
        pack.rung[cut] += 1
        found = tally.values()
        if "profile" in notes:
            _keep_profiles(pack, cut, notes.pop("profile").cpu())
        found.update(notes)
        found.update(diagnostics.weights(tile))
        found.update(_evaluate(pack, cut, tile, eval_every))
        results += _rows(found, len(tile.step))
    _end(pack)
    return results


def _gather(notes: dict[str, Tensor], context: Context, ending: Tensor) -> None:
    """Take the diagnostics of the rows for which this was the rung's last update."""
    for key, value in context.notes.items():
        if context.detailed and (key == "profile" or key.startswith("state/")):
            on = ending.reshape(-1, *(1 for _ in value.shape[1:]))
            notes[key] = torch.where(on, value, notes[key]) if key in notes else value


def _evaluate(pack: Pack, cut: slice, tile: Tile, eval_every: int) -> dict[str, Tensor]:
    """Evaluate the rows that are due; the whole tile is run if any is."""
    live = tile.status == RowStatus.ACTIVE
    due = live & ((pack.rung[cut] % eval_every == 0) | (tile.step >= tile.updates))
    if not bool(due.any()):
        return {}
    loss, error = evaluation.evaluate(tile, tile.keys["eval"])
    step = tile.step
    for vector, solved in (
        (pack.solved_at[cut], error < tile.program.solved_below),
        (pack.solved_exactly_at[cut], error == 0),
    ):
        vector.copy_(torch.where(due & solved & (vector == NEVER), step, vector))
    for index in torch.nonzero(due & numerics.finite(loss)).flatten().tolist():
        row = cut.start + index
        if float(loss[index]) < pack.best[row][0]:
            pack.best[row] = (float(loss[index]), int(pack.rung[row]))
    blank = torch.full_like(loss, torch.nan)
    found = {"valid/loss": torch.where(due, loss, blank), "valid/error": torch.where(due, error, blank)}
    return found | {key: found["valid/loss"] * factor for key, factor in tile.program.task.derived.items()}


def _keep_profiles(pack: Pack, cut: slice, profile: Tensor) -> None:
    """Remember log10 |delta_t| against depth at the first rung, at up to two rungs between, and now.

    The two between are those by which training had doubled last: one of them lies between a third and two thirds of it
    whenever it ends, which nobody knows before, as a row that solves its task stops early.
    """
    for index, row in enumerate(range(cut.start, cut.start + len(profile))):
        now = int(pack.step[row])
        steps, kept = pack.profiles[row]
        if kept is None:
            pack.profiles[row] = ((now, now), profile[index].repeat(2, 1))
            continue
        (first, *between), last = range(len(steps) - 1), len(steps) - 1
        doubled = 2 * steps[between[-1]] if between else steps[first] + 1
        if steps[last] >= doubled:  # the newest one is overwritten below unless it stays for good
            between = [*between, last][-2:]
        rows = [first, *between]
        pack.profiles[row] = ((*(steps[i] for i in rows), now), torch.stack([*(kept[i] for i in rows), profile[index]]))


def _end(pack: Pack) -> None:
    """Mark rows that have used up their budget or are solved and may stop."""
    active = pack.status == RowStatus.ACTIVE
    done = active & (pack.step >= pack.updates)
    pack.status.copy_(torch.where(done, torch.full_like(pack.status, RowStatus.DONE), pack.status))
    if pack.program.stop_when_solved:
        solved = active & (pack.solved_at != NEVER)
        pack.status.copy_(torch.where(solved, torch.full_like(pack.status, RowStatus.SOLVED), pack.status))


def _rows(found: dict[str, Tensor], count: int) -> list[dict[str, float]]:
    """Per-row dictionaries with finite values only."""
    columns = {key: value.to(torch.float64).cpu().tolist() for key, value in found.items()}
    return [
        {key: values[index] for key, values in columns.items() if abs(values[index]) < float("inf")}
        for index in range(count)
    ]
