"""Parity: have there been an even or an odd number of ones?"""

from __future__ import annotations

from dataclasses import dataclass

from rnnsweep.core.tasks.word_problem import WordProblem


@dataclass(frozen=True)
class Parity(WordProblem):
    """Bits, one-hot, each 0 or 1 with equal chance; the class is the number of ones so far, modulo 2.

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Delétang et al. (2023), *Neural networks and the Chomsky hierarchy* (parity check, tested at lengths beyond
        those of training); Merrill, Petty, Sabharwal (2024) for classes at every step.

    Example:
        >>> task = Parity(length=20, eval_lengths=[40])
        >>> task.n_inputs, task.n_outputs, sorted(task.chance)[:2]
        (2, 2, ['valid/error', 'valid/error.length40'])
    """

    @property
    def group_name(self) -> str:
        """Z_2."""
        return "z2"
