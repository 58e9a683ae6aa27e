"""What is measured of a user's sequences: what a mini-batch of an evaluation keeps, and what is made of it.

Shapes: P rows · B mini-batch · n sequences (or steps) of an evaluation · O outputs.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from rnnsweep.core.datasets.table_inputs import Scale
from rnnsweep.core.losses import CROSS_ENTROPY
from rnnsweep.core.tasks import classification_scores as scores
from rnnsweep.core.tasks.table_metrics import AUROC, BALANCED, F1, PERPLEXITY, RMSE
from rnnsweep.core.types import Batch


def per_sequence(scale: Scale, outputs: Float[Tensor, "P ... O"], batch: Batch, power: int) -> Shaped[Tensor, "P B"]:
    """Mean over steps and columns of the absolute error to some power, in the units of the data."""
    units = torch.as_tensor(scale.deviation, device=outputs.device)
    off = ((outputs - batch.targets).double().abs() * units).pow(power).mean(-1)
    if batch.mask is None:
        return off
    # where, not a product with the mask: 0 * inf is NaN
    off = torch.where(batch.mask > 0, off, torch.zeros_like(off))
    return off.sum(1) / batch.mask.double().sum(1)


def of_numbers(scale: Scale, outputs: Float[Tensor, "P ... O"], batch: Batch) -> dict[str, Shaped[Tensor, "P n ..."]]:
    """Squared errors with their weights."""
    square = per_sequence(scale, outputs, batch, 2)
    weight = torch.ones_like(square) if batch.mask is None else batch.mask.double().sum(1)
    return {"squares": square * weight, "weights": weight}


def of_tokens(outputs: Float[Tensor, "P T B O"], batch: Batch) -> dict[str, Shaped[Tensor, "P n ..."]]:
    """Costs of tokens, and which count."""
    cost = CROSS_ENTROPY.score(outputs.flatten(1, 2), batch.targets.flatten(1, 2))[0]
    counted = torch.ones_like(cost) if batch.mask is None else batch.mask.flatten(1)
    return {"costs": torch.where(counted > 0, cost, torch.zeros_like(cost)).double(), "counted": counted}


def of_labels(outputs: Float[Tensor, "P B O"], batch: Batch) -> dict[str, Shaped[Tensor, "P n ..."]]:
    """Counts of each label, and the answers."""
    return {"labels": scores.label_counts(outputs, batch.targets), "outputs": outputs, "there": batch.targets}


def of_classes(outputs: Float[Tensor, "P ... O"], batch: Batch, per_step: bool) -> dict[str, Shaped[Tensor, "P n ..."]]:
    """Confusions of classes; of whole sequences also the answers."""
    counted = torch.ones_like(batch.targets) if batch.mask is None else batch.mask
    if per_step:
        return {"confusion": scores.confusion(*(t.flatten(1, 2) for t in (outputs, batch.targets, counted)))}
    found = {"confusion": scores.confusion(outputs, batch.targets, counted)}
    return found | {"outputs": torch.softmax(outputs, -1), "classes": batch.targets}


def summary(collected: Mapping[str, Shaped[Tensor, "P n ..."]], classes: int) -> dict[str, Shaped[Tensor, " P"]]:
    """Balanced accuracy, F1 and AUROC; the root of the mean squared error; or perplexity."""
    if "costs" in collected:
        return {PERPLEXITY: (collected["costs"].sum(1) / collected["counted"].double().sum(1)).exp()}
    if "squares" in collected:
        return {RMSE: (collected["squares"].sum(1) / collected["weights"].sum(1)).sqrt()}
    if "labels" in collected:
        area = scores.auroc_macro(collected["outputs"], collected["there"] > 0)
        return {F1: scores.label_f1_macro(collected["labels"]), AUROC: area}
    counts = collected["confusion"]
    found = {BALANCED: scores.balanced_accuracy(counts), F1: scores.f1_macro(counts)}
    if "classes" not in collected:
        return found
    there = torch.nn.functional.one_hot(collected["classes"], classes).bool()
    return found | {AUROC: scores.auroc_macro(collected["outputs"], there)}
