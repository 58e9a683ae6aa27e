"""What a user's step must be so that rows can be trained with it: tried out once on a few random sequences.

Refused in one line: states of another form or dtype, sequences that mix, a state that is changed in place, buffers that
change, memory between calls, random numbers (dropout), parameters that are no floats or are frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

import torch
from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.families.own_steps import Build, ModuleBuild, dotted
from rnnsweep.errors import ConfigError

_INPUTS, _BATCH, _MOST = 3, 5, 4
"""Sizes of the trial run, and the largest number of state tensors."""


@lru_cache
def checked(build: Build) -> int:
    """The number of state tensors of a step that can be trained.

    Raises:
        ConfigError: it cannot; says why.
    """
    if isinstance(build, ModuleBuild):
        _check_parameters(build)
    # A stream of its own: a config's check must not move the user's generator.
    draws = torch.Generator().manual_seed(1)
    values = _first_values(build, _INPUTS, draws)
    inputs = torch.randn(_BATCH, _INPUTS, generator=draws)
    states = [torch.randn(_BATCH, build.hidden, generator=draws) for _ in range(_MOST)]
    trial = _Trial(build, values, inputs)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        count = trial.count(states)
        for dtype in (torch.float32, torch.float64):
            trial.check(states[:count], dtype)
    return count


def _first_values(build: Build, n_inputs: int, draws: torch.Generator) -> dict[str, Float[Tensor, " ..."]]:
    """Parameters by the user's names: a module's own first values, else normal ones."""
    if isinstance(build, ModuleBuild):
        return {name: part.detach() for name, part in build.make(n_inputs).named_parameters()}
    return {spec.source: 0.3 * torch.randn(spec.shape, generator=draws) for spec in build.specs(n_inputs)}


def _check_parameters(build: ModuleBuild) -> None:
    for name, part in build.make(_INPUTS).named_parameters():
        if not part.is_floating_point():
            _refuse(build, f"has a parameter {name} of {_name(part.dtype)}", "Parameters are real floats.")
        if not part.requires_grad:
            _refuse(build, f"has a frozen parameter {name}", "What is not trained is a buffer.")


@dataclass
class _Trial:
    """One step of some sequences."""

    build: Build
    values: dict[str, Tensor]
    inputs: Tensor

    def count(self, states: list[Tensor]) -> int:
        """The smallest number of state tensors that the step takes and gives back."""
        misfits: list[str] = []
        errors: list[Exception] = []
        for count in range(1, len(states) + 1):
            given = [state.clone() for state in states[:count]]
            try:
                misfits.append(_misfit(self.run(given), given))
            except Exception as error:  # noqa: BLE001 - the user's code may raise anything
                errors.append(error)
            else:
                if not misfits[-1]:
                    return count
        if not misfits:
            # An error of unpacking only says that this was not the number of states.
            raise next((error for error in errors if not _about_form(error)), errors[0])
        _refuse(
            self.build, misfits[0], "It takes (inputs [B, I], state) and returns the next state: [B, H], or a tuple."
        )

    def run(self, states: list[Tensor], inputs: Tensor | None = None) -> Any:
        """What the step returns."""
        inputs = (self.inputs if inputs is None else inputs).to(states[0].dtype)
        values = {name: value.to(inputs.dtype, copy=True).requires_grad_() for name, value in self.values.items()}
        constants = {name: inputs.new_tensor(value) for name, value in self.build.constants.items()}
        call = self.build.named(inputs, constants)
        return call(values, inputs.clone(), states[0] if len(states) == 1 else tuple(states))

    def check(self, states: list[Tensor], dtype: torch.dtype) -> None:
        """Raise `ConfigError` for the first promise that the step breaks."""
        given = [state.to(dtype, copy=True) for state in states]
        copies = [state.clone() for state in given]
        like = self.inputs.to(dtype)
        before, generator = [buffer.clone() for buffer in self.build.buffers(like)], torch.get_rng_state()
        first = self.run(copies)
        if not torch.equal(generator, torch.get_rng_state()):
            _refuse(self.build, "draws random numbers", "Take out dropout and noise: a row must be reproducible.")
        if not _same(copies, given):
            _refuse(self.build, "changes its state in place", "Return a new tensor.")
        if not _same(before, self.build.buffers(like)):
            _refuse(self.build, "changes a buffer", "What changes from step to step is part of the state.")
        if problem := _misfit(first, given):
            _refuse(
                self.build, f"{problem} for {_name(dtype)}", "Make constants like the inputs: inputs.new_zeros(...)."
            )
        if self.values and not any(new.requires_grad for new in _tuple(first)):
            _refuse(self.build, "returns a state without a gradient", "Leave out detach() and no_grad().")
        self._check_calls(given, [new.detach() for new in _tuple(first)])

    def _check_calls(self, states: list[Tensor], first: list[Tensor]) -> None:
        self.run([state.flip(0) for state in states], self.inputs.flip(0))
        again = [new.detach() for new in _tuple(self.run([state.clone() for state in states]))]
        if not _same(again, first):
            _refuse(self.build, "remembers something between calls", "What it remembers is part of the state.")
        alone = _tuple(self.run([state[:1].clone() for state in states], self.inputs[:1]))
        if not all(
            torch.allclose(x[:1], y.detach(), rtol=1e-3, atol=1e-4, equal_nan=True)
            for x, y in zip(first, alone, strict=True)
        ):
            _refuse(self.build, "mixes the sequences of a mini-batch", "The first axis is the mini-batch's.")


def _misfit(result: Any, states: list[Tensor]) -> str:
    """How a result is not what the states are; empty where it is."""
    if (isinstance(result, tuple | list) and len(states) == 1) or not isinstance(result, tuple | list | Tensor):
        return f"returns {_words(result)}, which is no state"
    new = _tuple(result)
    if len(new) != len(states) or any(
        not isinstance(x, Tensor) or x.shape != y.shape for x, y in zip(new, states, strict=True)
    ):
        return f"returns {_words(result)}, which is no state"
    wrong = next((x.dtype for x, y in zip(new, states, strict=True) if x.dtype != y.dtype), None)
    return "" if wrong is None else f"returns a state of {_name(wrong)}"


def _words(result: Any) -> str:
    if isinstance(result, Tensor):
        return f"a tensor of shape {list(result.shape)}"
    return f"{len(result)} values" if isinstance(result, tuple | list) else f"a {type(result).__name__}"


def _tuple(result: Any) -> list[Tensor]:
    return list(result) if isinstance(result, tuple | list) else [result]


def _same(left: Sequence[Tensor], right: Sequence[Tensor]) -> bool:
    """Bit for bit, but that NaN is NaN."""
    return all(
        torch.equal(x.isnan(), y.isnan()) and torch.equal(x.nan_to_num(), y.nan_to_num())
        for x, y in zip(left, right, strict=True)
    )


def _about_form(error: Exception) -> bool:
    return any(word in str(error) for word in ("unpack", "tuple"))


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _refuse(build: Build, problem: str, hint: str) -> NoReturn:
    raise ConfigError(problem, key="family._target_", value=dotted(build.target), hint=hint)
