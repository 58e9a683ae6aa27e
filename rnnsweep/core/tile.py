"""Tiles of a pack, and one update of a tile.

A tile is some consecutive rows, as many as the engine trains best together: their records stay in the cache. An update:

    streams -> batch -> loop -> read-out -> backward
            -> controllers add -> transform -> optimiser proposes -> after -> gates admit -> apply

Shapes: see `core.types`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int8, Int64, Shaped
from torch import Tensor

from rnnsweep.core import diagnostics, numerics, remembered
from rnnsweep.core.at_once import AtOnce, decay_of, read_of, step_kernels
from rnnsweep.core.controllers.base import Context, Tally
from rnnsweep.core.dropout_masks import MaskDraws
from rnnsweep.core.kernels import Rows
from rnnsweep.core.loops import Learned
from rnnsweep.core.pack import Pack
from rnnsweep.core.program import CARRIED, Program
from rnnsweep.core.replay import Repeated, recorder
from rnnsweep.core.rng import Draws, sample_ids
from rnnsweep.core.types import Batch, RowStatus, Wanted

_DEFAULT_TILE = 1 << 30
"""Rows of a tile where the engine sets no limit."""


@dataclass
class Tile:
    """Views of some consecutive rows of a pack; writing to them writes to the pack.

    What depends on who is in it is worked out once, when it is cut: until rows join or leave they stay the same.

    Attributes:
        params, slots, hypers, keys, step, taken, updates, status, diverged_at: see `Pack`.
        until: int64 [P], the update at which a row pauses; memory of the tile's own. At first each row's budget.
        tally: diagnostics of the rung.
        on: per controller, which rows have it switched on. switched: whether any has.
        optimizer_hypers: the optimiser's hyperparameters [P, 1] as `Optimizer.propose` takes them, rates unscheduled.
        decays: whether any of these rows has weight decay.
        at_once: the kernel that does all that follows the gradient, where there is one for what these rows ask for.
        once_more: `update` with this tile's tally and no row at the end of its rung, replayed where the device can.
    """

    program: Program
    params: Float[Tensor, "P N"]
    slots: dict[str, Shaped[Tensor, "P ..."]]
    hypers: dict[str, Shaped[Tensor, " P"]]
    keys: dict[str, Int64[Tensor, " P"]]
    step: Int64[Tensor, " P"]
    taken: Int64[Tensor, " P"]
    updates: Int64[Tensor, " P"]
    status: Int8[Tensor, " P"]
    diverged_at: Int64[Tensor, " P"]
    until: Int64[Tensor, " P"]
    tally: Tally = field(default_factory=Tally)
    switched: dict[str, bool] = field(default_factory=dict)
    on: dict[str, Bool[Tensor, " P"]] = field(default_factory=dict)
    optimizer_hypers: Mapping[str, Shaped[Tensor, "#P N"]] = field(default_factory=dict)
    decays: bool = False
    at_once: AtOnce | None = None
    once_more: Callable[[], None] = field(default=lambda: None, repr=False)

    @cached_property
    def values(self) -> dict[str, Float[Tensor, "P ..."]]:
        """Views of the parameters by name."""
        return self.program.layout.view(self.params)

    def unit_hypers(self, prefix: str) -> dict[str, Shaped[Tensor, "P ..."]]:
        """One unit's hyperparameters [P] by field name; a family's or learner's row state is among them."""
        start = len(prefix) + 1
        named = {key[start:]: value for key, value in self.hypers.items() if key.startswith(f"{prefix}.")}
        if prefix in ("family", "learner"):
            named |= {key[start:]: value for key, value in self.slots.items() if key.startswith(f"{prefix}.")}
        return named

    def renew(self) -> bool:
        """Take up hyperparameters that were written in place; False where this tile no longer does what they ask for.

        What an update consists of is decided when a tile is cut: which controllers any row has on, whether any has
        weight decay. A recorded update keeps to that, and reads the values where they were.
        """
        fresh = _standing(self)
        if fresh.switched != self.switched or fresh.decays != self.decays:
            return False
        if any(not _written(self.on[name], value) for name, value in fresh.on.items()):
            return False
        kept = self.optimizer_hypers
        if any(not _written(kept[name], value) for name, value in fresh.optimizer_hypers.items()):
            return False
        self.until.copy_(self.updates)
        return True

    def learner_own(self) -> dict[str, Shaped[Tensor, "P ..."]]:
        """What the learning rule may read of its own, see `Learner.learn`."""
        return {**self.unit_hypers("learner"), "step": self.step, "key": self.keys["learner"]}


def tiles(pack: Pack) -> list[tuple[slice, Tile]]:
    """Cut a pack into tiles of the engine's preferred number of rows; the same ones until rows join or leave."""
    if not pack.cuts:
        # An engine without a limit (a GPU) takes the pack whole.
        size = pack.program.tile_rows or _DEFAULT_TILE
        cuts = [slice(start, min(start + size, len(pack))) for start in range(0, len(pack), size)]
        pack.cuts = [(cut, _tile(pack, cut)) for cut in cuts]
    return pack.cuts


def _tile(pack: Pack, cut: slice) -> Tile:
    program = pack.program
    hypers = {key: value[cut] for key, value in pack.hypers.items()}
    tile = Tile(
        program,
        pack.params[cut],
        {name: value[cut] for name, value in pack.slots.items()},
        hypers,
        {purpose: value[cut] for purpose, value in pack.keys.items()},
        pack.step[cut],
        pack.taken[cut],
        pack.updates[cut],
        pack.status[cut],
        pack.diverged_at[cut],
        pack.updates[cut].clone(),
    )
    standing = _standing(tile)
    tile.on, tile.switched, tile.decays = standing.on, standing.switched, standing.decays
    tile.optimizer_hypers = standing.optimizer_hypers
    tile.at_once = _at_once(tile)
    here = weakref.ref(tile)  # a tile that is cut anew goes at once, and its graph's memory with it
    tile.once_more = Repeated(lambda: _updated(here), recorder(program.device) if program.replays else None)
    return tile


def _updated(here: weakref.ref[Tile]) -> None:
    tile = here()
    assert tile is not None  # it alone asks
    update(tile, tile.tally)


def _at_once(tile: Tile) -> AtOnce | None:
    """The kernel that does all that follows the gradient, where no row asks for more."""
    program, hypers = tile.program, tile.optimizer_hypers
    kernels, formula = step_kernels(program, tile.switched), program.optimizer.fused_formula
    if kernels is None or formula is None:
        return None
    rows = Rows(
        tile.params,
        tuple(tile.slots[f"optimizer.{name}"] for name in program.optimizer.slots),
        *(tile.status, tile.step, tile.taken, tile.until, tile.diverged_at),
        read_of(hypers, formula),
        decay_of(hypers) if tile.decays else None,
    )
    return AtOnce(kernels, program, rows, hypers, tile.hypers)


@dataclass(frozen=True)
class _Standing:
    """What follows from the hyperparameters of a tile's rows; see `Tile` for the fields."""

    on: dict[str, Bool[Tensor, " P"]]
    switched: dict[str, bool]
    optimizer_hypers: Mapping[str, Shaped[Tensor, "#P N"]]
    decays: bool


def _standing(tile: Tile) -> _Standing:
    program, hypers = tile.program, tile.hypers
    columns = {name: value[:, None] for name, value in tile.unit_hypers("optimizer").items()}
    placed = program.optimizer.placed(columns, program.layout)
    # Asked once per rung: a decay of 0 would still cost a pass over all parameters at every update.
    decays = bool((hypers.get("optimizer.weight_decay", torch.zeros(1)) > 0).any())
    # A controller without hyperparameters of its own answers once for all rows.
    on = {
        name: unit.active(tile.unit_hypers(f"controllers.{name}")).to(tile.step.device).expand(len(tile.step))
        for name, unit in program.controllers.items()
    }
    return _Standing(on, {name: bool(value.any()) for name, value in on.items()}, placed, decays)


def _written(kept: Tensor, fresh: Tensor) -> bool:
    """Whether a tensor that may have been recorded holds the fresh values now, at the address that it had."""
    if kept.data_ptr() != fresh.data_ptr() and not torch.equal(kept, fresh):
        if 0 in kept.stride():  # one answer for all rows has no place for several
            return False
        kept.copy_(fresh)
    return True


def train_batch(tile: Tile) -> Batch:
    """The mini-batch of each row's next update: a function of the row's key and step alone."""
    program, step = tile.program, tile.step
    samples = program.task.samples
    if samples is None:
        # Fresh sequences without end: update n owns the ids n B .. n B + B - 1.
        ids = torch.add(program.places, step[:, None], alpha=program.batch)
    elif program.chosen is None:
        ids = sample_ids(tile.keys["order"], step, program.batch, samples)
    else:
        ids = program.chosen[sample_ids(tile.keys["order"], step, program.batch, len(program.chosen))]
    # Same key and ids, same sequences: whatever the pack, the tile or the number of retries.
    batch = program.task.batch(Draws(tile.keys["data"], ids, step, program.dtype, tokens=program.family.looks_up))
    if program.random:
        batch = replace(batch, masks=MaskDraws(tile.keys["dropout"], step, program.batch))
    if not program.carries:
        return batch
    state = tile.slots[CARRIED]
    begins = program.task.begins(step, program.batch)[:, None, None]
    return replace(batch, state=torch.where(begins, torch.zeros_like(state), state))


def update(tile: Tile, tally: Tally, *, ending: Bool[Tensor, " P"] | None = None) -> Context:
    """One update of every live row of the tile, in place. Ended rows do not change.

    A row whose loss, or whose parameters after the step, would be non-finite is marked DIVERGED and keeps its last
    finite parameters; it takes no further step.

    Args:
        tile: rows.
        tally: where diagnostics go.
        ending: rows for which this is the last update of a rung (costly diagnostics, trace kept); None: of no row.
    """
    detailed = ending is not None
    learned, context = learn(tile, tally, _wanted(tile, detailed))
    context.ending = ending
    if detailed and context.trace is not None:
        context.notes.update(diagnostics.states(context.passes))
        context.notes["profiles"] = diagnostics.profiles(context.passes)
    if tile.at_once is None:
        _step(tile, context, learned)
    else:
        _step_at_once(tile, tile.at_once, context, learned)
    return context


def _step(tile: Tile, context: Context, learned: Learned) -> None:
    """The rest of an update, controllers and optimiser in turn."""
    # Ended rows stay in the tensors until the rung ends; they are computed and thrown away.
    alive = (tile.status == RowStatus.ACTIVE) & (tile.step < tile.until)
    context.tally.begin(alive)
    # A loss that is not finite ends the row before its gradient is looked at.
    finite = numerics.finite(learned.loss)
    context.tally.mean("train/loss", learned.loss, finite)
    if learned.state is not None:  # text that was read is read, be the step taken or not
        # Rows that ended keep the state that they ended with.
        state, on = tile.slots[CARRIED], (alive & finite)[:, None, None]
        state.copy_(torch.where(on, learned.state, state))
    diverged = ~finite
    drop = _control(tile, context, diverged)
    _apply(tile, context, alive, diverged, drop)


def _step_at_once(tile: Tile, at_once: AtOnce, context: Context, learned: Learned) -> None:
    """The rest of an update by kernels; what it adds to the tally is named in the order of `_control`."""
    tally, gates = context.tally, [one for one in tile.program.gates if tile.switched[one[0]]]
    tally.of_mean("train/loss", tile.step)
    if gates or any(tile.switched[name] for name, _ in tile.program.additive):
        tally.begin((tile.status == RowStatus.ACTIVE) & (tile.step < tile.until))
    _add_terms(tile, context)
    admitted, before = None, tile.taken if context.ending is None else tile.taken.clone()
    if gates:
        step = at_once.proposed(context.gradients, tally)
        admitted = torch.ones_like(tile.status, dtype=torch.bool)
        for name, unit in gates:
            _enter(tile, context, name)
            admitted &= unit.admit(context, step)
    at_once.take(context.gradients, learned.loss, admitted, tally)
    for name, unit in gates if context.ending is not None else ():
        _enter(tile, context, name)
        # of rows that took their step the parameters are those after it
        unit.observe(context, tile.params, tile.taken > before)
    tally.among(None)


def learn(tile: Tile, tally: Tally, want: Wanted) -> tuple[Learned, Context]:
    """What the learning rule makes of the next mini-batch, and all that controllers may read about it."""
    program, batch, family_hypers = tile.program, train_batch(tile), tile.unit_hypers("family")
    with remembered.unwritten():
        learned = program.learner.learn(program, tile.params, family_hypers, batch, want, tile.learner_own())  # pyright: ignore[reportArgumentType] - as in `program`
    context = Context(
        program.family,
        program.task,
        program.engine,
        program.activation,
        program.layout,
        tile.params,
        tile.values,
        family_hypers,
        batch,
        learned.gradients,
        learned.passes,
        tile.step,
        tally,
        program.readout,
        program.wires,
        proposed=learned.step,
        fresh={f"learner.{name}": value for name, value in learned.slots.items()},
    )
    return learned, context


def _wanted(tile: Tile, detailed: bool) -> Wanted:
    """What the controllers that are switched on need of the mini-batch."""
    trace, term_rows = detailed, None
    for name, unit in tile.program.controllers.items():
        # A controller that no row has switched on asks for nothing.
        if not tile.switched[name]:
            continue
        if unit.backward_term is not None and tile.program.backward_term is not None:
            term_rows = tile.on[name] if term_rows is None else term_rows | tile.on[name]
        else:
            # Also where its term cannot be taken along: it forms it from the trace then.
            trace = trace or unit.needs_trace
    return Wanted(trace, term_rows)


def _control(tile: Tile, context: Context, diverged: Tensor) -> Tensor:
    """Run additive controllers, then transforms, on the gradients; returns the rows whose update is dropped."""
    program, tally = tile.program, context.tally
    _add_terms(tile, context)
    # Before any transform, and after what regularisers added: the norm that clipping sees.
    norm = numerics.row_norm(context.gradients)
    finite = numerics.finite(norm)
    tally.mean("grad/norm", norm, finite)
    tally.count("grad/nonfinite", ~finite)
    drop = torch.zeros_like(finite)
    # All of them in turn, each on the last one's result; a norm that is known is not computed again.
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


def _add_terms(tile: Tile, context: Context) -> None:
    """Run additive controllers on the gradients."""
    for name, unit in tile.program.additive:
        if tile.switched[name]:
            _enter(tile, context, name)
            context.gradients = unit.add(context)
    context.tally.among(None)


def _apply(tile: Tile, context: Context, alive: Tensor, diverged: Tensor, drop: Tensor) -> None:
    """Propose the step, let gates admit it, take it where all agree, and advance the rows' clocks."""
    program = tile.program
    step = _propose(tile, context) if context.proposed is None else context.proposed
    # Proximal controllers come before the gates: these judge the step as it will really be.
    step, moved = _settle(tile, context, step)
    if program.family.slots:
        # Row state of the family goes with the parameters: it is kept only where the step is taken.
        advanced = program.family.advance(program.layout.view(moved), tile.unit_hypers("family"))
        context.fresh.update({f"family.{name}": value for name, value in advanced.items()})
    # Whom no gate needs to be asked about.
    accept = alive & ~diverged & ~drop
    for name, unit in program.gates:
        if tile.switched[name]:
            _enter(tile, context, name)
            accept &= unit.admit(context, step)
            _remember(tile, context, name)
    broken = accept & ~numerics.rows_finite(moved)
    accept &= ~broken
    diverged |= broken
    for name, unit in program.gates:
        if tile.switched[name]:
            _enter(tile, context, name)
            unit.observe(context, moved, accept)
    # Gates narrowed the tally to their own rows.
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
    hypers = optimizer.scheduled(tile.optimizer_hypers, tile.step[:, None])
    step, new_slots = optimizer.propose(context.gradients, slots, hypers, tile.taken[:, None].to(tile.program.dtype))
    context.fresh.update({f"optimizer.{name}": value for name, value in new_slots.items()})
    return optimizer.decay(step, tile.params, hypers) if tile.decays else step


def _settle(tile: Tile, context: Context, step: Tensor) -> tuple[Tensor, Tensor]:
    """The whole candidate step and the parameters after it, proximal controllers included."""
    moved = tile.params + step
    if not tile.program.proximals:
        return step, moved
    rate = tile.program.optimizer.scheduled(tile.optimizer_hypers, tile.step[:, None]).get(
        "lr", torch.ones_like(moved[:, :1])
    )
    for name, unit in tile.program.proximals:
        if tile.switched[name]:
            _enter(tile, context, name)
            settled = unit.after(context, moved, rate)
            # Where nothing was moved the step stays to the bit: moved - params would round.
            step = torch.where(settled == moved, step, settled - tile.params)
            moved = settled
    return step, moved


def _take(tile: Tile, moved: Tensor, fresh: dict[str, Tensor], accept: Tensor) -> None:
    """Write parameters and row state of the accepted rows."""
    # The usual case, without a pass of `where` over parameters and slots.
    if numerics.known_all(accept):
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
