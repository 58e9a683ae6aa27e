"""What a report shows beside the loss: spectra, saturation, Lyapunov exponent, delta profile."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from jaxtyping import Float, Float64
from torch import Tensor

from rnnsweep.core import host_threads, numerics
from rnnsweep.core.activations import Activation, OutputSlope
from rnnsweep.core.families.base import Family, Values
from rnnsweep.core.loop_place import LoopPlace
from rnnsweep.core.loops import BackwardPass, Loop
from rnnsweep.core.recurrence.cells import Cell
from rnnsweep.core.sequence_lengths import own_steps, per_sequence, total_steps
from rnnsweep.core.types import Record, Trace
from rnnsweep.core.wires import places_of

SATURATED_BELOW = 0.1
"""|f'| below which a unit counts as saturated."""
_AT_ONCE = {"cpu": 1 << 17, "cuda": 1 << 24}
"""Numbers of a state's steps that are looked at together: few enough for a cache, or for what memory is left."""


def weights(family: Family, values: Values, hypers: Values) -> dict[str, Float64[Tensor, " P"]]:
    """Spectral radius and largest singular value of the loops' recurrent matrices, float64 [P]; see `spectra_of`."""
    return spectra_of(family, values, hypers)()


def spectra_of(family: Family, values: Values, hypers: Values) -> Callable[[], dict[str, Float64[Tensor, " P"]]]:
    """Copy the loops' recurrent matrices to the host; what is returned finds what a report says of them, float64 [P].

    That is the spectral radius and the largest singular value. Values may change meanwhile, and it asks nothing of the
    device: any thread may find it, beside what trains next.

    The last layer's; of several layers also each one's, by ``weights/rho.1``. Left out where that matrix is not square
    (gates) or there is none. Also what the family counts (`Family.counted`).

    Args:
        family: of the rows. values: their parameters. hypers: the family's hyperparameters and row state.

    Numerics:
        One LAPACK call per row and quantity, in float64, so that rows cannot mix, on whichever core. Non-finite
        matrices give NaN, as do those for which LAPACK does not converge.
    """
    taken: list[tuple[LoopPlace, Tensor, dict[str, Tensor]]] = []
    for place, part in zip(places_of(family), family.parts, strict=True):
        its = family.part_hypers(place, hypers)
        # as they are: half as many bytes leave the device, and each core widens its own rows
        matrices = part.weights(place.own(values), its).w_rec.detach().to("cpu", copy=True)
        counted = {key: its[slot].to("cpu", torch.float64, copy=True) for slot, key in part.counted.items()}
        taken.append((place, matrices, counted))

    def find() -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        for place, matrices, counted in taken:
            own = _spectra(matrices) | counted
            found |= {f"{key}{end}": value for key, value in own.items() for end in _ends(place)}
        return found

    return find


def _spectra(matrices: Tensor) -> dict[str, Tensor]:
    if matrices.shape[1] != matrices.shape[2] or not matrices.shape[1]:
        return {}
    rho, sigma = torch.full((2, len(matrices)), math.nan, dtype=torch.float64)

    def of_row(row: int) -> None:
        matrix = matrices[row].to(torch.float64)
        if not bool(matrix.isfinite().all()):  # torch refuses it
            return
        # one row's trouble must not be its neighbours'
        with contextlib.suppress(torch.linalg.LinAlgError):
            rho[row] = torch.linalg.eigvals(matrix).abs().max()
            sigma[row] = torch.linalg.matrix_norm(matrix, 2)

    host_threads.of_rows(of_row, len(matrices))
    return {"weights/rho": rho, "weights/sigma_max": sigma}


def _ends(place: LoopPlace) -> list[str]:
    """Ends of a loop's metric keys: its own where there are several; none for the last layer's that reads forward."""
    several = place.layers > 1 or place.reverse is not None
    return [f".{place.label}"] * several + [""] * place.main


def states(passes: Sequence[BackwardPass]) -> dict[str, Float64[Tensor, " P"]]:
    """Saturation share and largest Lyapunov exponent on the last training mini-batch, float64 [P].

    Keys of the last layer, and of each where there are several, as in `weights`. Saturation counts all nonlinearities
    of a cell, gates among them; it is left out for cells that have none. The exponent, given what the loop is fed with,
    is left out for cells that are not the simple one; that of the whole network is the largest of its layers'.
    """
    found: dict[str, Tensor] = {}
    for one in passes:
        if one.trace is not None:
            own = _of_states(one.loop, one.trace.record)
            found |= {f"{key}{end}": value for key, value in own.items() for end in _ends(one.loop.place)}
    return found


def _of_states(loop: Loop, record: Record) -> dict[str, Tensor]:
    cell = loop.family.cell
    if cell is None:
        saturated = saturation(record, lambda part: _slopes(record, loop.activation, part))
        return {"state/saturation": saturated, "state/lyapunov_max": lyapunov(record, loop.activation)}
    # the base's: a cell without nonlinearities of its own
    if type(cell).slopes is Cell.slopes:
        return {}
    # vectors [P, K] are to broadcast over the mini-batch
    own = {name: value[:, None, :] if value.ndim == 2 else value for name, value in record.weights.cell.items()}
    kept: Tensor = record.kept  # pyright: ignore[reportAttributeAccessIssue] - records of cells have it
    drive = getattr(record, "drive", record.h[:, 1:])  # fused loops keep no drives, nor do their cells ask for them

    def slope(t: int) -> Tensor:
        slopes = cell.slopes(kept[:, t], drive[:, t], record.h[:, t], own)
        assert slopes is not None
        return slopes

    def slopes(part: slice) -> Tensor:
        return torch.stack([slope(t) for t in range(part.start, part.stop)], 1)

    return {"state/saturation": saturation(record, slopes)}


def _slopes(record: Record, activation: Activation, part: slice) -> Float[Tensor, "P t B H"]:
    """`slope_at` of some steps."""
    if record.slope is not None:
        return record.slope[:, part]
    assert isinstance(activation, OutputSlope)  # else forward has stored the slope
    return activation.slope_from_output(record.h[:, part.start + 1 : part.stop + 1])


def _parts(record: Record) -> Iterator[slice]:
    """Steps by so many as are looked at together: on a GPU each thing that is done costs a launch."""
    T = record.h.shape[1] - 1
    width = max(1, _AT_ONCE.get(record.h.device.type, _AT_ONCE["cpu"]) // max(1, record.h[:, 0].numel()))
    for start in range(0, T, width):
        yield slice(start, min(start + width, T))


def saturation(record: Record, slopes: Callable[[slice], Float[Tensor, "P t B K"]]) -> Float64[Tensor, " P"]:
    """Share of nonlinearities and own steps with |f'| < 0.1, float64 [P].

    Args:
        record: whose steps count. slopes: f' [P, t, B, K] of some steps.
    """
    lengths, T, B = record.lengths, record.h.shape[1] - 1, record.h.shape[2]
    flat, size = torch.zeros(len(lengths), dtype=torch.float64, device=lengths.device), 1
    own = own_steps(lengths, T)[..., None]  # P T S 1
    for part in _parts(record):
        low = slopes(part).abs() < SATURATED_BELOW  # P t B K
        size = low.shape[3]
        flat += (low & own[:, part]).flatten(1).sum(1)
    return flat / (total_steps(lengths, B) * size)


def lyapunov(record: Record, activation: Activation) -> Float64[Tensor, " P"]:
    """Mean growth rate of a perturbation that starts equal in all units, nats per step, float64 [P].

    Numerics:
        Renormalised at every step; a direction that dies out exactly gives -inf, which is not reported. Logarithms are
        added step by step.

    References:
        Benettin et al. (1980); the first exponent of Vogt et al. (2022), averaged over the mini-batch.
    """
    w = record.weights
    own = own_steps(record.lengths, record.h.shape[1] - 1)  # P T S
    v = torch.ones_like(record.h[:, 0]) / math.sqrt(record.h.shape[-1])  # P B H, of norm 1
    norms: list[Tensor] = []  # P B each
    for part in _parts(record):
        slopes = _slopes(record, activation, part)
        for t in range(part.start, part.stop):
            new = activation.pushforward(slopes[:, t - part.start], numerics.matmul(v, w.w_rec))
            if w.leak is not None:
                leak = w.leak[:, None, None]
                new = (1 - leak) * v + leak * new
            wide = new.double()
            norms.append(wide.square().sum(-1).sqrt())
            # rescaled at each step, or it would overflow or vanish long before T
            v = torch.where(own[:, t, :, None], (wide / norms[-1][..., None]).to(v.dtype), v)
    growth = torch.stack(norms, 1).log()  # P T B
    growth = torch.where(own, growth, torch.zeros_like(growth))
    total = torch.zeros_like(growth[:, 0])  # P B
    for one in growth.unbind(1):
        total += one
    return (total / per_sequence(record.lengths)).mean(1)


def profiles(passes: Sequence[BackwardPass]) -> Float64[Tensor, "P L T"]:
    """log10 of the mean of |delta_t| over the sequences that have begun, of each loop; -inf where all deltas are 0.

    Cells without a recurrent matrix have no delta; |x_t|, what a step hands back, stands in.
    """
    return torch.stack([_profile(one.trace) for one in passes if one.trace is not None], 1)


def _profile(trace: Trace) -> Float64[Tensor, "P T"]:
    lengths = trace.record.lengths
    size = (trace.delta if trace.delta.shape[-1] else trace.x).double().square().sum(-1).sqrt()  # P T B
    if lengths.ndim == 1:
        return size.mean(2).log10()
    own = own_steps(lengths, size.shape[1])
    return (torch.where(own, size, torch.zeros_like(size)).sum(2) / own.sum(2).clamp(min=1)).log10()
