"""Scores of one's own: what some function says of the answers of a whole evaluation beside what was wanted.

Functions are called as in scikit-learn, ``f(y_true, y_pred, **arguments)`` on arrays; those whose first argument is
called ``preds`` or ``input``, and classes with ``update`` and ``compute``, as in torchmetrics, on tensors and with the
answers first. Shapes: P rows · n sequences (or steps that count) of an evaluation · O outputs.
"""

from __future__ import annotations

import inspect
import json
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Shaped
from torch import Tensor

from rnnsweep.core.losses import BINARY_CROSS_ENTROPY, CrossEntropy
from rnnsweep.core.metrics.score_names import ARGUMENTS_BESIDE, RESPONSE, RESPONSES, WORST, key_of
from rnnsweep.errors import ConfigError, ConfigWarning
from rnnsweep.loader import fault, load_code

if TYPE_CHECKING:
    from rnnsweep.core.tasks.base import Task
    from rnnsweep.core.types import Batch

_ANSWERS_FIRST = ("preds", "input")


@dataclass(frozen=True)
class Scorer:
    """One function.

    Attributes:
        name: of its yaml; the metric is ``valid/NAME``.
        target: ``package.module.function``.
        arguments: JSON of its keyword arguments.
        response: what it is given, as in scikit-learn's `make_scorer`: ``predict``, classes (labels, numbers), or
            ``predict_proba``, probabilities [n, O] (of two classes the second's [n]).
    """

    name: str
    target: str
    arguments: str
    response: str

    @classmethod
    def of(cls, name: str, block: Mapping[str, Any]) -> Scorer:
        """Of its yaml.

        Raises:
            ConfigError: it names no code, or what is given is unknown.
        """
        key = f"scorers.{name}"
        if not isinstance(block, Mapping) or not isinstance(block.get("_target_"), str):
            raise ConfigError("names no function", key=key, value=block, allowed="a yaml with a _target_")
        response = block.get(RESPONSE, RESPONSES[0])
        if response not in RESPONSES:
            raise ConfigError("unknown value", key=f"{key}.{RESPONSE}", value=response, allowed=RESPONSES)
        worst = block.get(WORST)
        if worst is not None and (isinstance(worst, bool) or not isinstance(worst, (int, float))):
            raise ConfigError("is no number", key=f"{key}.{WORST}", value=worst, allowed="a number, or null")
        arguments = {name: value for name, value in block.items() if name not in ARGUMENTS_BESIDE}
        return cls(name, block["_target_"], json.dumps(arguments, sort_keys=True), response)

    @property
    def key(self) -> str:
        """Of the metric."""
        return key_of(self.name)

    @cached_property
    def _call(self) -> Callable[[np.ndarray, np.ndarray], Any]:
        """(y_true, y_pred) -> score."""
        code, arguments = load_code(self.target, f"scorers.{self.name}"), json.loads(self.arguments)
        if isinstance(code, type) and hasattr(code, "update") and hasattr(code, "compute"):
            kept = code(**arguments)

            def accumulated(wanted: np.ndarray, answers: np.ndarray) -> Any:
                kept.reset()
                kept.update(torch.from_numpy(answers), torch.from_numpy(wanted))
                return kept.compute()

            return accumulated
        if not callable(code):
            raise TypeError(f"{self.target} cannot be called")
        if isinstance(code, type):
            code, arguments = code(**arguments), {}
        if _first_argument(code) in _ANSWERS_FIRST:
            return lambda wanted, answers: code(torch.from_numpy(answers), torch.from_numpy(wanted), **arguments)
        return lambda wanted, answers: code(wanted, answers, **arguments)

    def score(self, wanted: np.ndarray, answers: np.ndarray) -> float:
        """The score of one row.

        Raises:
            ConfigError: the function cannot be imported, raises, or does not return one finite number.
        """
        key = f"scorers.{self.name}"
        try:
            with warnings.catch_warnings():
                # such as of classes that nobody named: the launch is no place for them, the score is
                warnings.simplefilter("ignore")
                found: Any = self._call(wanted, answers)
                value = float(found.item() if isinstance(found, (Tensor, np.ndarray)) else found)
        except ConfigError:
            raise
        except Exception as error:
            raise fault(error, "cannot be computed", key, self.target, self.target.rpartition(".")[0]) from error
        if not math.isfinite(value):
            raise ConfigError("is not finite", key=key, value=value, allowed="one finite number")
        return value


def _first_argument(code: Callable[..., Any]) -> str:
    try:
        return next(iter(inspect.signature(code).parameters), "")
    except (TypeError, ValueError):  # built-in functions have none that can be read
        return ""


@dataclass(frozen=True)
class Answers:
    """What mini-batches of an evaluation keep.

    Attributes:
        outputs, targets: logits or values, and what was wanted.
        counted: which count; None: all.
    """

    outputs: Float[Tensor, "P n O"]
    targets: Shaped[Tensor, "P n ..."]
    counted: Bool[Tensor, "P n"] | None = None


def collected(
    task: Task, outputs: Float[Tensor, "P ... O"], batch: Batch, counted: Shaped[Tensor, "P T S"] | None
) -> Answers:
    """What a mini-batch keeps; `counted` says of steps which count."""
    if not task.per_step:
        return Answers(outputs, batch.targets)
    assert counted is not None
    counts = counted.expand(outputs.shape[:3]).flatten(1, 2) > 0
    return Answers(outputs.flatten(1, 2), batch.targets.flatten(1, 2), counts)


def scores(scorers: Sequence[Scorer], task: Task, kept: Sequence[Answers]) -> dict[str, Float64[Tensor, " P"]]:
    """Each scorer's value of each row [P]; NaN where a row's outputs are not finite or the function fails for it.

    Numerics:
        Row by row on arrays of its own, on the processor: a row's score is the same alone and in a pack.
    """
    outputs, targets = torch.cat([part.outputs for part in kept], 1), torch.cat([part.targets for part in kept], 1)
    masks = [part.counted for part in kept if part.counted is not None]
    counted = torch.cat(masks, 1) if masks else None
    found = {scorer.key: torch.full((len(outputs),), torch.nan, dtype=torch.float64) for scorer in scorers}
    for row in range(len(outputs)):
        use = slice(None) if counted is None else counted[row]
        values, wanted = outputs[row][use].cpu().double(), targets[row][use].cpu()
        if not torch.isfinite(values).all():
            continue
        for scorer in scorers:
            try:
                found[scorer.key][row] = scorer.score(*answers(task, values, wanted, scorer.response))
            except ConfigError as error:
                warnings.warn(f"{error.key} has no value: {error.problem}", ConfigWarning, stacklevel=2)
    return {key: value.to(outputs.device) for key, value in found.items()}


def answers(
    task: Task, outputs: Float64[Tensor, "n O"], targets: Shaped[Tensor, "n ..."], response: str
) -> tuple[np.ndarray, np.ndarray]:
    """What was wanted and what was answered, as scikit-learn has it.

    Classes are whole numbers [n], labels 0 and 1 [n, O], numbers in the units of the data [n, O], or [n] of one output.
    """
    loss = task.loss
    if isinstance(loss, CrossEntropy):
        if response == "predict":
            return targets.numpy(), outputs.argmax(-1).numpy()
        shares = torch.softmax(outputs, -1).numpy()
        return targets.numpy(), shares[:, 1] if shares.shape[1] == 2 else shares
    if loss is BINARY_CROSS_ENTROPY:
        there = (targets > 0).long().numpy()
        return there, (outputs > 0).long().numpy() if response == "predict" else torch.sigmoid(outputs).numpy()
    wanted, given = (task.in_units(values.double().numpy()) for values in (targets, outputs))
    alone = given.ndim == 2 and given.shape[1] == 1
    return (wanted[:, 0], given[:, 0]) if alone else (wanted, given)
