"""What is measured of sequences of the user's own, by goal."""

from __future__ import annotations

from collections.abc import Mapping

from rnnsweep.core.datasets.table_preparing import TOKENS
from rnnsweep.unit import Metric

ACCURACY, BALANCED, F1, AUROC = "valid/accuracy", "valid/balanced_accuracy", "valid/f1_macro", "valid/auroc"
MAE, RMSE, PERPLEXITY = "valid/mae", "valid/rmse", "valid/perplexity"
METRICS: Mapping[str, Metric] = {
    ACCURACY: Metric("share of right answers on the evaluation set, 0..1", "accuracy", drawn=True),
    BALANCED: Metric("mean over classes of the share of right answers, 0..1", "balanced accuracy"),
    F1: Metric("F1 on the evaluation set, mean over classes or labels, 0..1", "F1"),
    AUROC: Metric("area under the ROC curve, mean over classes or labels, each against the rest, 0..1", "AUROC"),
    MAE: Metric("mean absolute error in the units of the data, mean over target columns", "mean absolute error"),
    RMSE: Metric("root of the mean squared error in the units of the data", "root mean squared error", drawn=True),
    PERPLEXITY: Metric("exponential of the mean loss per token on the evaluation set", "perplexity", drawn=True),
}
OF_GOAL: Mapping[str, tuple[str, ...]] = {
    "classify": (ACCURACY, BALANCED, F1, AUROC),
    "label": (ACCURACY, BALANCED, F1),
    "regress": (MAE, RMSE),
    "forecast": (MAE, RMSE),
    **dict.fromkeys(TOKENS, (ACCURACY, PERPLEXITY)),
}
