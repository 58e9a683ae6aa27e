"""Words over a group: the state-tracking problem of Merrill, Petty, Sabharwal (2024)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rnnsweep.core.tasks.groups import GROUPS
from rnnsweep.core.tasks.word_problem import WordProblem


@dataclass(frozen=True)
class GroupWords(WordProblem):
    """Elements of `group`, one-hot and uniform; the class is their product so far.

    Permutations are multiplied from the left to the right: first the earlier symbol. The word problems of ``a5`` and
    ``s5`` are complete for NC1; those of ``z60`` and ``a4xz5``, of 60 elements like A5, are not.

    Attributes:
        group: ``s3`` (6 elements), ``z60``, ``a4xz5``, ``a5`` (60 each), ``s5`` (120), ``z2`` (parity).

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Merrill, Petty, Sabharwal (2024), *The illusion of state in state-space models*, section 5: Z60, A4 x Z5 and A5;
        Barrington (1989).

    Example:
        >>> GroupWords(group="s5").n_outputs
        120
    """

    fixed: ClassVar = {**WordProblem.fixed, "group": GROUPS}

    group: str = "s3"

    @property
    def group_name(self) -> str:
        """`group`."""
        return self.group
