"""Texts as sequences of characters or words, with a vocabulary from the training part."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnsweep.core.datasets.table_columns import Table, as_text, objects
from rnnsweep.core.datasets.table_sequences import Sequences, arrange
from rnnsweep.core.datasets.table_splits import Segment
from rnnsweep.core.datasets.table_targets import Targets
from rnnsweep.errors import ConfigError

TEXT = "text"
"""Column of a text file."""
UNKNOWN = "<unknown>"
"""Token that stands for all that the vocabulary does not have; its code is 0."""
_TOKEN, _OTHER = "token", "\0token"
"""Column of the tokens; the other one, which no file has, where a column beside them is called so."""
_WORD = re.compile(r"\w+(?:['\u2019-]\w+)*|[^\w\s]|\n")
"""Words with their apostrophes and hyphens, marks one by one, and ends of lines."""


@dataclass(frozen=True, eq=False)
class TokenRecipe:
    """What makes codes of texts.

    Attributes:
        words: whether tokens are words, else characters.
        vocabulary: tokens; a token's place is its code.
    """

    words: bool
    vocabulary: tuple[str, ...]

    @property
    def width(self) -> int:
        """Inputs of the network: one per token."""
        return len(self.vocabulary)

    def plain(self, column: str) -> dict[str, Any]:
        """As JSON, for whoever prepares texts of a column without rnnsweep."""
        pattern = _WORD.pattern if self.words else None
        return {"column": column, "pattern": pattern, "vocabulary": list(self.vocabulary)}

    def codes(self, sequences: Sequences) -> np.ndarray:
        """Codes int64 [tokens] of a table of tokens."""
        known = {token: code for code, token in enumerate(self.vocabulary)}
        cells = _tokens(sequences)
        return np.fromiter((known.get(cell, 0) for cell in cells), dtype=np.int64, count=len(cells))


def tokenise(text: str, words: bool) -> list[str]:
    """Characters, or words.

    Example:
        >>> tokenise("Don't, well-known!", words=True), tokenise("ab", words=False)
        (["Don't", ',', 'well-known', '!'], ['a', 'b'])
    """
    return _WORD.findall(text) if words else list(text)


def token_sequences(table: Table, column: str, words: bool, beside: str | None) -> Sequences:
    """A token per row; each text is a sequence.

    Args:
        table: of texts. column: that has them.
        words: see `TokenRecipe`.
        beside: a column that is kept, as it says which part a text is for.

    Raises:
        ConfigError: no such columns, or a text without a token.
    """
    texts = [as_text(cell) for cell in table.column(column, "task.target")]
    found: list[list[str]] = []
    for row, text in enumerate(texts):
        tokens = tokenise(text or "", words)
        if not tokens:
            raise table.wrong(row, column, "is empty", allowed="a text in each row")
        found.append(tokens)
    lengths = [len(tokens) for tokens in found]
    columns = {_OTHER if beside == _TOKEN else _TOKEN: objects(token for tokens in found for token in tokens)}
    if beside is not None:
        columns[beside] = np.repeat(table.column(beside, "task.split_by"), lengths)
    sequence = np.repeat(np.arange(len(found), dtype=np.int64), lengths)
    names = table.names if table.by_file else tuple(map(str, range(len(found))))
    file, row = np.repeat(table.file, lengths), np.repeat(table.row, lengths)
    return arrange(
        Table(table.path, table.files, columns, file, row, sequence, names, table.by_file, table.counted), None, None
    )


def _tokens(sequences: Sequences) -> np.ndarray:
    columns = sequences.table.columns
    return columns[_OTHER if _OTHER in columns else _TOKEN][sequences.order]


def fit_tokens(sequences: Sequences, segments: Sequence[Segment], words: bool, most: int) -> TokenRecipe:
    """The `most` commonest tokens of the training part in the order of their codes, after the unknown one.

    Raises:
        ConfigError: all tokens of the training part are the same.
    """
    cells = _tokens(sequences)
    counts: Counter[str] = Counter()
    for segment in segments:
        if segment.part == "train":
            counts.update(cells[segment.start : segment.end].tolist())
    if len(counts) < 2:
        problem = f"has one token only in the training part of {sequences.table.path}"
        raise ConfigError(problem, key="task.target", allowed="texts with different tokens")
    # by number, then by name: the same file gives the same codes
    common = sorted(counts, key=lambda token: (-counts[token], token))[:most]
    return TokenRecipe(words, (UNKNOWN, *sorted(common)))


def token_targets(codes: np.ndarray, recipe: TokenRecipe) -> Targets:
    """Each token is the target of an earlier one."""
    return Targets(codes, np.ones(len(codes), dtype=bool), recipe.vocabulary)
