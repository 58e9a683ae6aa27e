"""Bracket languages of bounded depth, Dyck-(k, m): what closes next, or is the word well formed?

Shapes: P rows · T = `max_length` steps · B mini-batch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from rnnsweep.core.rng import Draws, stream_of
from rnnsweep.core.sequence_lengths import row_steps
from rnnsweep.core.tasks.onehot import symbols
from rnnsweep.core.tasks.step_errors import STEP_ERROR, StepErrors
from rnnsweep.core.tasks.synthetic import FILLING, SYMBOLS
from rnnsweep.core.types import Batch
from rnnsweep.errors import ConfigError
from rnnsweep.unit import Range

CORRUPTED = stream_of("bracket language: corrupted words")


@dataclass(frozen=True)
class BracketLanguage(StepErrors):
    """Brackets of `kinds` kinds, one-hot (opening 0..k-1, closing k..2k-1), never more than `depth` open at once.

    At every step a bracket opens or closes with equal chance where both are possible; an opening one is of any kind.

    ``closing``: the class after each step is the kind of the bracket that must close next, or k where none is open. A
    sequence, a prefix of a word, is wrong if any of its classes is.
    ``acceptance``: the class at the end is 1 for a word of the language, 0 for one of whose closing brackets a single
    one has been given another kind, so that counting is not enough. Both with equal chance. A word has an even number
    of steps: odd lengths are one step shorter.

    Attributes:
        kinds: k; at least 2 for ``acceptance``.
        depth: m.
        wanted: ``closing`` or ``acceptance``.

    Numerics:
        Inputs are exactly 0 and 1.

    References:
        Hewitt, Hahn, Ganguli, Liang, Manning (2020), *RNNs can generate bounded hierarchical languages with optimal
        memory*: the language and its distribution. Ours differs: words do not end by themselves; acceptance is our own.

    Example:
        >>> task = BracketLanguage(kinds=2, depth=3)
        >>> task.n_inputs, task.n_outputs
        (4, 3)
    """

    fixed: ClassVar = {
        **StepErrors.fixed,
        "kinds": Range(1, 1024, integer=True),
        "depth": Range(1, integer=True, open_high=True),
        "wanted": ("closing", "acceptance"),
    }

    kinds: int = 2
    depth: int = 3
    wanted: str = "closing"

    def check(self) -> None:
        """Also refuse words of one kind that could not be corrupted.

        Raises:
            ConfigError: some field is out of range.
        """
        super().check()
        if not self.per_step and self.kinds < 2:
            problem = "a bracket of the only kind cannot be given another one"
            raise ConfigError(problem, key="task.kinds", value=self.kinds, allowed=">= 2 with wanted=acceptance")

    @property
    def least(self) -> int:
        """Two steps: one word."""
        return 2

    @property
    def per_step(self) -> bool:  # pyright: ignore[reportIncompatibleVariableOverride] - see `Task`: fields or properties
        """Whether there is a class at each step."""
        return self.wanted == "closing"

    @property
    def tokens(self) -> bool:
        """Whether inputs are symbols: yes."""
        return True

    @property
    def n_inputs(self) -> int:
        """I = 2 k."""
        return 2 * int(self.kinds)

    @property
    def n_outputs(self) -> int:
        """O = k + 1, or 2."""
        return int(self.kinds) + 1 if self.per_step else 2

    @property
    def chance_loss(self) -> float:
        """Entropy of the class at each step, averaged over the steps and lengths; ln 2 of a word."""
        return self._chance[0]

    @property
    def chance_error(self) -> float:
        """Of the better of two fixed answers: always the same kind, or a kind and nothing in turn; 1/2 of a word."""
        return self._chance[1]

    @property
    def chance(self) -> Mapping[str, float]:
        """Of a single step: of the likeliest class there."""
        return {**super().chance, STEP_ERROR: self._chance[2]}

    @property
    def _chance(self) -> tuple[float, float, float]:
        if not self.per_step:
            return math.log(2), 0.5, 0.5
        return _chance(int(self.kinds), int(self.depth), *self.length_bounds)

    def batch(self, draws: Draws) -> Batch:
        """Sequences of the ids in `draws`; targets are classes, int64 [P, T, B] or [P, B]."""
        draws = self.addressed(draws)
        lengths, T, K = self.lengths(draws), self.max_length, int(self.kinds)
        lengths = lengths if self.per_step else lengths - lengths % 2
        opens = self._walk(draws, lengths)  # P T B
        kinds = draws.integers(0, K - 1, T, FILLING).transpose(1, 2)
        closes_kind, on_top = _matched(opens, kinds, row_steps(lengths, T), min(int(self.depth), T), K)
        codes = torch.where(opens, kinds, K + closes_kind)
        if self.per_step:
            return Batch(symbols(codes, row_steps(lengths, T), 2 * K, draws), on_top, lengths)
        codes, intact = self._corrupted(draws, codes, opens, lengths)
        return Batch(symbols(codes, row_steps(lengths, T), 2 * K, draws), intact, lengths)

    def _walk(self, draws: Draws, lengths: Int64[Tensor, " P"]) -> Tensor:
        """Whether a bracket opens at each step, bool [P, T, B]; nothing opens or closes before the start."""
        T, coins = self.max_length, draws.integers(0, 1, self.max_length, SYMBOLS).transpose(1, 2).bool()
        own, depth = row_steps(lengths, T), torch.zeros_like(draws.ids)
        opens = torch.zeros_like(coins)
        for t in range(T):
            now = (depth == 0) | (coins[:, t] & (depth < self.depth))
            if not self.per_step:
                # all that is open must close before the end
                now = now & (depth < T - t)
            opens[:, t] = now & own[:, t, None]
            depth = depth + torch.where(own[:, t, None], 2 * now.long() - 1, torch.zeros_like(depth))
        return opens

    def _corrupted(self, draws: Draws, codes: Tensor, opens: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Codes of which half the words have one closing bracket of another kind, and which are intact, [P, B]."""
        K, words = int(self.kinds), draws.words(3, CORRUPTED)
        intact, closing = words[..., 0] >> 31, ~opens & row_steps(lengths, self.max_length)[:, :, None]
        # the place among the closing brackets, half of all steps, and how many kinds further
        place = words[..., 1] * (lengths // 2)[:, None] >> 32
        further = 1 + (words[..., 2] * (K - 1) >> 32)
        here = closing & (closing.long().cumsum(1) - 1 == place[:, None]) & (intact == 0)[:, None]
        return torch.where(here, K + (codes - K + further[:, None]) % K, codes), intact


def _matched(opens: Tensor, kinds: Tensor, own: Tensor, levels: int, none: int) -> tuple[Tensor, Tensor]:
    """Kind that each closing bracket must have, and kind on top after each step, `none` where nothing is open.

    Args:
        opens, kinds: [P, T, B]. own: bool [P, T]. levels: most that can be open.
        none: the number for nothing.
    """
    depth = torch.where(own[:, :, None], 2 * opens.long() - 1, torch.zeros_like(kinds)).cumsum(1)
    step = torch.arange(opens.shape[1], device=opens.device)[:, None]
    closes, on_top = torch.zeros_like(kinds), torch.full_like(kinds, none)
    for level in range(1, levels + 1):
        # what lies at a level is what was opened to it last: no stack is needed
        opened = torch.where(opens & (depth == level), step, torch.zeros_like(step)).cummax(1).values
        lies = kinds.gather(1, opened)
        on_top = torch.where(depth == level, lies, on_top)
        closes = torch.where(~opens & own[:, :, None] & (depth == level - 1), lies, closes)
    return closes, on_top


@lru_cache(maxsize=32)
def _chance(kinds: int, depth: int, low: int, high: int) -> tuple[float, float, float]:
    """Loss, error of a sequence and error of a step of the best answer that depends on the step alone."""
    levels = np.zeros(min(depth, high) + 1)  # probability of each depth
    levels[0] = 1.0
    same = np.zeros_like(levels)  # likewise, and all classes so far were kind 0
    entropy, misses, constant, in_turn = [], [], [], []
    for t in range(high):
        up, down = _moves(levels, depth)
        levels = up + down
        up, down = _moves(same, depth) if t else (np.eye(1, len(same), 1)[0], np.zeros_like(same))
        # down to nothing open the class is another one
        same = up / kinds + np.where(np.arange(len(same)) > 0, down, 0.0)
        p = np.array([levels[0], *[(1 - levels[0]) / kinds] * kinds])
        entropy.append(-float((p[p > 0] * np.log(p[p > 0])).sum()))
        misses.append(1 - float(p.max()))
        constant.append(float(same.sum()))
        before = in_turn[-1] if t else 1.0
        in_turn.append(before / kinds if t % 2 == 0 else before * (0.5 if depth > 1 else 1.0))
    lengths = np.arange(low, high + 1)
    right = max(np.mean(np.array(way)[lengths - 1]) for way in (constant, in_turn))
    means = [np.mean(np.cumsum(way)[lengths - 1] / lengths) for way in (entropy, misses)]
    return float(means[0]), 1 - float(right), float(means[1])


def _moves(levels: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """What goes up and what comes down of probabilities by depth."""
    opening = np.full(len(levels), 0.5)
    opening[0] = 1.0
    if depth < len(levels):
        opening[depth] = 0.0
    up, down = np.zeros_like(levels), np.zeros_like(levels)
    up[1:], down[:-1] = (levels * opening)[:-1], (levels * (1 - opening))[1:]
    return up, down
