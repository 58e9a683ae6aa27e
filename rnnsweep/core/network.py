"""One trained row as a plain torch module: its loop with constant matrices, step by step, from any state.

Shapes: T steps · B sequences · I inputs · O outputs · S entries of the state; there are no rows here. Sequences are
right-aligned, as everywhere in `core`: sequence b's own steps are t >= T - lengths[b].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn.functional import pad

from rnnsweep.core.activations import Activation
from rnnsweep.core.both_ways import BothWays
from rnnsweep.core.dropping import expected_zone, mixed
from rnnsweep.core.embedded import plain
from rnnsweep.core.embedding import TABLE, Embedding
from rnnsweep.core.families.base import Family, path_of
from rnnsweep.core.readout import Readout
from rnnsweep.core.recurrence.cells import Cell, ProductCell
from rnnsweep.core.recurrence.layer_norm import summed
from rnnsweep.core.recurrence.reference import ReferenceEngine
from rnnsweep.core.sequence_lengths import ends_of
from rnnsweep.core.types import LoopWeights
from rnnsweep.core.wires import places_of
from rnnsweep.errors import ConfigError, RnnsweepError

_LOOP = ("w_rec", "act_bias", "h0", "leak")


@dataclass(frozen=True)
class Parts:
    """What a network is made of, besides its numbers.

    Attributes:
        family, readout: units of the trial.
        inputs: I.
        per_step: whether there is an output at every step, else at the last one.
        embedding: of the trial; where it has a table, inputs are codes of symbols.
    """

    family: Family
    readout: Readout
    inputs: int
    per_step: bool
    embedding: Embedding = field(default_factory=Embedding)

    @property
    def tokens(self) -> bool:
        """Whether inputs are codes."""
        return bool(self.embedding.size)


class RecurrentNetwork(torch.nn.Module):
    """A recurrent network with constant weights: any number of sequences, of any length, on any device.

    A map from raw parameters to the loop's matrix (Cayley, exponential, spectral radius, complex numbers, ...) is
    applied once, here: the module holds its result. Parameters of the module are those that were trained as they are;
    what a map made of them, and constants, are buffers. All are frozen; `requires_grad_` thaws the parameters.

    Attributes:
        parts: units and sizes.
        state_size: S, entries of the state that `stream` takes and returns.

    Numerics:
        `forward` over T steps equals T calls of `stream`, to rounding. Steps before a sequence's own start are selected
        away, so that what stands there, NaN included, has no effect.
    """

    def __init__(
        self, parts: Parts, values: Mapping[str, Float[Tensor, "1 ..."]], hypers: Mapping[str, Float[Tensor, " 1"]]
    ) -> None:
        """Fold one row.

        Args:
            parts: units and sizes.
            values: raw parameters of a pack of one, tied ones among them.
            hypers: the family's per-row hyperparameters and state, by name.
        """
        super().__init__()
        self.parts, family = parts, plain(parts.family)
        self._trained = {id(value) for value in values.values()}
        self.family, self.path = family, path_of(family)
        self.both = BothWays(family) if family.bidirectional else None
        self.feeds, self._loop_size, self.state_size = False, 0, 0
        if self.both is not None:
            self._hold("path", self.both.constants(values, hypers))
        else:
            self._hold_loop(values, hypers)
        # a tied one is the table's transpose: held once, so that what is thawed stays tied
        tied = {"w_out"} if parts.embedding.tied else set[str]()
        read = {spec.name for spec in parts.readout.parameters(family.width)} | {"w_out", "b_out", TABLE}
        self._hold("", {name: value for name, value in values.items() if name in read - tied})
        del self._trained

    def forward(
        self, inputs: Shaped[Tensor, ...], lengths: Shaped[Tensor, ...] | None = None
    ) -> Float[Tensor, "... B O"]:
        """Outputs of whole sequences: [B, O], or [T, B, O] where there is one at every step.

        Args:
            inputs: of all steps, [T, B, I]; codes [T, B] where the network looks symbols up.
            lengths: of each sequence, which ends at T; None: all are T steps long.

        Raises:
            ConfigError: inputs or lengths of another shape.
        """
        self._check(inputs, lengths)
        if self.both is not None:
            return self._both_ways(self.both, inputs, lengths)
        state = self.initial_state(inputs.shape[1])
        return self._outputs(self._states(inputs, state, lengths)[0], state, lengths)

    def stream(
        self, inputs: Shaped[Tensor, ...], state: Shaped[Tensor, ...] | None = None
    ) -> tuple[Float[Tensor, "... B O"], Float[Tensor, "B S"]]:
        """Outputs of the next steps of sequences, and the state with which the call after goes on.

        Args:
            inputs: of the next steps.
            state: from the call before; None: the sequences begin.

        Raises:
            ConfigError: inputs or state of another shape.
            RnnsweepError: read-out or family look at whole sequences.
        """
        self._check(inputs, None)
        if reason := self.whole_only:
            raise RnnsweepError(f"cannot go on from a state: {reason}; call the network on whole sequences")
        state = self.initial_state(inputs.shape[1]) if state is None else state.to(self.dtype)
        if state.shape != (inputs.shape[1], self.state_size):
            allowed = f"[B, {self.state_size}] for as many sequences B as the inputs have, {inputs.shape[1]}"
            raise ConfigError("has another shape", key="state", value=list(state.shape), allowed=allowed)
        states, last = self._states(inputs, state, None)
        return self._outputs(states, state, None), last

    @property
    def whole_only(self) -> str:
        """Why sequences cannot be taken in pieces; empty where they can."""
        if not self.parts.readout.carries:
            return f"the read-out {self.parts.readout.unit_name or 'in use'} looks back over all steps"
        if self.both is not None:
            return "the network reads sequences from both ends"
        return f"the family {self.family.unit_name} filters whole sequences" if self.feeds else ""

    @property
    def dtype(self) -> torch.dtype:
        """Floating type of the weights."""
        return self.get("w_out").dtype

    def initial_state(self, batch: int) -> Float[Tensor, "B S"]:
        """The state in which sequences begin."""
        state = self.get("w_out").new_zeros(batch, self.state_size)
        h0 = self._maybe("h0")
        # h_0 may be narrower than a cell's state: its memory begins at 0
        state = state if h0 is None else state + pad(h0, (0, self.state_size - h0.shape[-1]))
        kept = None if self.path is None else self.path.first(self._constants())
        return state if kept is None else torch.cat((state[:, : self._loop_size], kept[0].expand(batch, -1)), -1)

    def get(self, name: str) -> Shaped[Tensor, ...]:
        """A parameter or buffer; of a tied read-out the table's transpose."""
        held = self._maybe(name)
        return self.get(TABLE).T if held is None and name == "w_out" else getattr(self, name)

    # ------------------------------------------------------------------ what it holds

    def _hold_loop(self, values: Mapping[str, Tensor], hypers: Mapping[str, Tensor]) -> None:
        """The loop, and what stands before it."""
        family = self.family
        weights = family.weights(values, hypers)
        self._loop(weights)
        if self.path is not None:
            self._hold("path", self.path.constants(values, hypers))
            weights = self.path.affine(values, hypers, weights)
        self._hold("", {"w_in": weights.w_in, "b": weights.bias, "zone": self._zone(hypers)})
        self.feeds = family.feeds and self.path is None
        if self.feeds:  # a filter that is known over whole sequences only
            self._hold("raw", {**values, **{f"hyper_{name}": value for name, value in hypers.items()}})
        cell = family.cell
        self._loop_size = weights.w_rec.shape[-1] if cell is None else cell.state
        drive = 0 if weights.w_in is None else weights.w_in.shape[-1]
        self.state_size = self._loop_size + (0 if self.path is None else self.path.memory(drive))

    def _zone(self, hypers: Mapping[str, Tensor]) -> Tensor | None:
        last = next(place for place in places_of(self.family) if place.main)
        return expected_zone(self.family.parts[-1], self.family.part_hypers(last, hypers))

    def _loop(self, weights: LoopWeights) -> None:
        self._hold("", {name: getattr(weights, name) for name in _LOOP})
        self._hold("cell", weights.cell)

    def _hold(self, prefix: str, tensors: Mapping[str, Tensor | None]) -> None:
        for name, value in tensors.items():
            if value is None:
                continue
            key, own = f"{prefix}_{name}" if prefix else name, value[0].detach().clone().contiguous()
            if id(value) in self._trained and prefix != "raw":
                self.register_parameter(key, torch.nn.Parameter(own, requires_grad=False))
            else:
                self.register_buffer(key, own)

    def _maybe(self, name: str) -> Tensor | None:
        return getattr(self, name, None)

    def _named(self, prefix: str) -> dict[str, Tensor]:
        """The tensors of a prefix as a pack of one."""
        every = {**dict(self.named_parameters()), **dict(self.named_buffers())}
        return {name[len(prefix) + 1 :]: value[None] for name, value in every.items() if name.startswith(f"{prefix}_")}

    def _constants(self) -> dict[str, Tensor]:
        """What the input path reads: vectors as [1, 1, K], matrices as they are."""
        return {name: part[:, None] if part.ndim == 2 else part for name, part in self._named("path").items()}

    # ------------------------------------------------------------------ the loop

    def _states(
        self, inputs: Tensor, state: Tensor, lengths: Tensor | None
    ) -> tuple[Float[Tensor, "T B S"], Float[Tensor, "B S"]]:
        """The states after each step, and the last one."""
        return _walked(self._step(), state, self._drives(inputs, lengths), lengths)

    def _both_ways(self, both: BothWays, inputs: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs of a network that reads sequences from both ends."""
        x, constants = self._vectors(inputs), self._constants()
        h = both.shown(constants, x, lengths, lambda step, state, z: _walked(step, state, z, lengths)[0])  # T B 2H
        readout, per_step, steps = self.parts.readout, self.parts.per_step, h.shape[0]
        at_end = not per_step and readout.carries  # see `Run.see`
        if at_end:
            own = torch.full_like(h[0, :, 0], steps, dtype=torch.int64) if lengths is None else lengths
            h = ends_of(h[None], own[None])
        return self._read(h, torch.zeros_like(h[:1]), None if at_end else lengths)

    def _vectors(self, inputs: Tensor) -> Float[Tensor, "T B I"]:
        """Inputs as numbers: what symbols are looked up as."""
        if self.parts.tokens:
            found = self.get(TABLE)[inputs.clamp(min=0)]
            return torch.where((inputs >= 0)[..., None], found, torch.zeros_like(found))
        # an exported graph takes the type that it was traced with, and would be tied to a device by a conversion
        return inputs if torch.compiler.is_exporting() else inputs.to(self.dtype)

    def _drives(self, inputs: Tensor, lengths: Tensor | None) -> Float[Tensor, "T B D"]:
        x = self._vectors(inputs)
        if self.feeds:
            x = self._fed(x, lengths)
        w_in, bias = self._maybe("w_in"), self._maybe("b")
        if w_in is not None:
            x = x @ w_in
        return x if bias is None else x + bias

    def _fed(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """What a family's own filter makes of whole sequences, each a row of its own."""
        T, B = x.shape[:2]
        raw = {name: value.expand(B, *value.shape[1:]) for name, value in self._named("raw").items()}
        hypers = {name.removeprefix("hyper_"): value for name, value in raw.items() if name.startswith("hyper_")}
        own = torch.full((B,), T, device=x.device) if lengths is None else lengths
        engine = ReferenceEngine() if (cell := self.family.cell) is None else cell.engine()
        fed = self.family.feed(raw, hypers, x.permute(1, 0, 2)[:, :, None], own, engine).inputs  # B T 1 D
        return fed[:, :, 0].permute(1, 0, 2)

    def _step(self):
        """The step: (state [B, S], drive [B, D]) -> state."""
        # the cell and f once: units make them anew whenever they are asked
        cell, activation = self.family.cell, self.family.cell_activation
        path, size = self.path, self._loop_size
        loop = {name: self._maybe(name) for name in _LOOP}
        constants, zone = self._constants(), self._maybe("zone")
        # P K -> P 1 K; matrices go as they are
        own = {name: value[:, None] if value.ndim == 2 else value for name, value in self._named("cell").items()}

        def step(state: Tensor, drive: Tensor) -> Tensor:
            s, memory = state[:, :size], state[:, size:]
            if path is not None:
                moved, kept = path.step(constants, drive[None], memory[None])
                drive, memory = moved[0], kept[0]
            if cell is None:
                made = _simple_step(activation, loop, own, s, drive)
            else:
                made = _cell_step(cell, loop, own, s, drive)
            s = mixed(zone, s, made)
            return s if path is None else torch.cat((s, memory), -1)

        return step

    # ------------------------------------------------------------------ the read-out

    def _outputs(self, states: Tensor, first: Tensor, lengths: Tensor | None) -> Tensor:
        return self._read(self._shown(states), self._shown(first[None]), lengths)

    def _shown(self, states: Tensor) -> Float[Tensor, "T B H"]:
        visible = self.family.visible(states[..., : self._loop_size])
        return visible if self.path is None else self.path.shown(visible, states[..., self._loop_size :])

    def _read(self, h: Tensor, first: Tensor, lengths: Tensor | None) -> Tensor:
        """Outputs of what is shown at every step, and what was before the first one."""
        readout, per_step = self.parts.readout, self.parts.per_step
        if not readout.direct:
            h = self._seen(torch.cat((first, h)), lengths)
        y = (h if per_step else h[-1]) @ self.get("w_out")
        bias = self._maybe("b_out")
        return y if bias is None else y + bias

    def _seen(self, states: Tensor, lengths: Tensor | None) -> Tensor:
        """What the linear map sees, [T, B, H] or [1, B, H]; with lengths, each sequence is a row of its own."""
        readout, per_step, T, B = self.parts.readout, self.parts.per_step, states.shape[0] - 1, states.shape[1]
        specs = readout.parameters(self.family.width)
        values = {spec.name: self.get(spec.name)[None] for spec in specs}
        if lengths is None:
            every = torch.full((1,), T, device=states.device)
            seen = readout.look(values, states[None], every, per_step)[0]
        else:
            values = {name: value.expand(B, *value.shape[1:]) for name, value in values.items()}
            rows = states.permute(1, 0, 2)[:, :, None]  # B T+1 1 H
            seen = readout.look(values, rows, lengths, per_step)[:, :, 0].permute(1, 0, 2)
        return seen[1:] if per_step else seen[-1:]

    def _check(self, inputs: Tensor, lengths: Tensor | None) -> None:
        if torch.jit.is_tracing():  # the loop over steps and the lengths would become constants
            hint = "call the module itself, or export it with torch.export, which keeps steps and sequences open"
            raise RnnsweepError(f"a trace of this network would be wrong at any other length: {hint}")
        wanted = self.parts.inputs
        if self.parts.tokens:
            self._check_codes(inputs)
        elif inputs.dim() != 3 or inputs.shape[0] < 1 or inputs.shape[-1] != wanted:
            allowed = f"[T, B, {wanted}]: steps, sequences, and the inputs of this task"
            raise ConfigError("has another shape", key="inputs", value=list(inputs.shape), allowed=allowed)
        if lengths is None or torch.compiler.is_exporting():
            return
        T, B = inputs.shape[:2]
        if lengths.shape != (B,) or lengths.is_floating_point() or bool(((lengths < 1) | (lengths > T)).any()):
            allowed = f"[{B}] whole numbers of 1..{T}, one per sequence"
            raise ConfigError("do not fit the inputs", key="lengths", value=lengths.tolist(), allowed=allowed)

    def _check_codes(self, inputs: Tensor) -> None:
        if inputs.dim() != 2 or inputs.shape[0] < 1 or inputs.is_floating_point():
            allowed = "[T, B] whole numbers: steps, sequences; codes of symbols"
            shown = f"{inputs.dtype} {list(inputs.shape)}"
            raise ConfigError("are no codes", key="inputs", value=shown, allowed=allowed)
        if not torch.compiler.is_exporting() and bool(((inputs < -1) | (inputs >= self.parts.inputs)).any()):
            allowed = f"0..{self.parts.inputs - 1}, or -1 before a sequence's start"
            raise ConfigError("no such symbol", key="inputs", value=int(inputs.max()), allowed=allowed)


class Streaming(torch.nn.Module):
    """`RecurrentNetwork.stream` as the forward of a module, for exports: (inputs, state) -> (outputs, state)."""

    def __init__(self, network: RecurrentNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, inputs: Shaped[Tensor, ...], state: Shaped[Tensor, ...]
    ) -> tuple[Float[Tensor, "... B O"], Float[Tensor, "B S"]]:
        """See `RecurrentNetwork.stream`."""
        return self.network.stream(inputs, state)


def _simple_step(
    activation: Activation, loop: Mapping[str, Tensor | None], own: Mapping[str, Tensor], s: Tensor, drive: Tensor
) -> Tensor:
    """h_t of the simple loop."""
    w_rec, leak = loop["w_rec"], loop["leak"]
    assert w_rec is not None
    # vectors of a pack of one, [1, 1, H]
    y = activation.value(summed(s @ w_rec + drive, {name: part[0] for name, part in own.items()}), loop["act_bias"])
    return y if leak is None else (1 - leak) * s + leak * y


def _cell_step(
    cell: Cell, loop: Mapping[str, Tensor | None], own: Mapping[str, Tensor], s: Tensor, drive: Tensor
) -> Tensor:
    """The next state of a cell, as a pack of one."""
    w_rec = loop["w_rec"]
    assert w_rec is not None
    if not isinstance(cell, ProductCell):
        return cell.moved(s[None], drive[None], w_rec[None], own)[0][0]
    # the plain product of a module that is exported: a pack's own one is padded
    a = s[:, : cell.recurrent] @ w_rec if w_rec.numel() else s[:, :0]
    return cell.step(a[None], drive[None], s[None], own)[0]


def _walked(step, state: Tensor, drives: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
    """A loop's states after each step, and the last one."""
    steps, own = drives.shape[0], None
    if lengths is not None:
        own = (torch.arange(steps, device=drives.device)[:, None] >= (steps - lengths)[None, :])[..., None]  # T B 1
    if torch.compiler.is_exporting():
        return _scanned(step, state, drives, own)
    states = []
    for t in range(steps):
        new = step(state, drives[t])
        # selected, not multiplied: 0 * inf would be NaN
        state = new if own is None else torch.where(own[t], new, state)
        states.append(state)
    return torch.stack(states), state


def _scanned(step, state: Tensor, drives: Tensor, own: Tensor | None) -> tuple[Tensor, Tensor]:
    """The same loop as one operator, which leaves the number of steps open."""
    from torch._higher_order_ops.scan import scan

    def combine(carried: Tensor, at: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        new = step(carried, at[0])
        if len(at) > 1:
            new = torch.where(at[1], new, carried)
        return new, new.clone()  # two results may not share memory

    last, states = scan(combine, state, (drives,) if own is None else (drives, own))
    return states, last
