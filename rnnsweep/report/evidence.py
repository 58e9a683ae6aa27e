"""How much the trials of a sweep can carry: what is left out of a report, and the cautions beside what is not."""

from __future__ import annotations

from rnnsweep.report.data import SweepData

LEAST_TRIALS = 8
"""Complete trials below which the importance of keys is an accident."""
LEAST_VALUES = 4
"""Different objective values below which trials cannot be put in an order that importances or surfaces rest on."""
TRIALS_PER_KEY = 10
LEAST_SURFACE = 12
"""Complete trials below which a surface over two keys would be invented."""


def ordered(data: SweepData) -> bool:
    """Whether enough complete trials with different objectives are there to ask which keys mattered.

    Where half of them tie for the best, the best tenth, which importances compare with all, is picked by nothing.
    """
    complete = data.ranked
    return (
        len(complete) >= LEAST_TRIALS
        and complete["objective"].nunique() >= LEAST_VALUES
        and 2 * len(data.leaders) < len(complete)
    )


def varied(data: SweepData) -> bool:
    """Whether objectives fill their range: a surface over trials that are all alike but one shows that one alone."""
    values = data.ranked["objective"].astype(float)
    span = values.max() - values.min()
    # rounded to twentieths of the span: values that look alike on a colour scale count once
    return ordered(data) and span > 0 and ((values - values.min()) / span * 20).round().nunique() >= LEAST_VALUES


def few(data: SweepData, therefore: str) -> str:
    """A caution where trials are few for the number of keys, or many of them tie; empty where neither holds.

    Args:
        data: the sweep.
        therefore: what a reader must not rely on then.
    """
    complete, tied = data.ranked, data.leaders
    parts = []
    if len(complete) < TRIALS_PER_KEY * len(data.space):
        parts.append(f"only {len(complete)} complete trials for {len(data.space)} searched keys")
    if len(tied) > max(1.0, 0.1 * len(complete)):  # more than the best tenth that importances compare with all
        parts.append(f"{len(tied)} of {len(complete)} trials tie for the best objective")
    return f"Caution: {' and '.join(parts)}; {therefore}." if parts else ""


def sparse(data: SweepData) -> str:
    """The caution beside pairs of keys: `few`, and that no surface is drawn between too few trials."""
    parts = [few(data, "the next few trials may change this picture")]
    if len(data.ranked) < LEAST_SURFACE:
        parts.append("Too few trials for a surface: points only.")
    return " ".join(part for part in parts if part)
