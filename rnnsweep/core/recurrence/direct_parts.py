"""What a backward loop is given, checked before a kernel reads it."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor

from rnnsweep.core.types import Direct, Record


def given_part(direct: Direct) -> Float[Tensor, "P ... S"]:
    """Of the two parts the one that there is; `ValueError` for both or none."""
    if direct.last is not None and direct.steps is None:
        return direct.last
    if direct.steps is None or direct.last is not None:
        raise ValueError("one of the two direct parts must be given: last, or steps")
    return direct.steps


def direct_width(direct: Direct, most: int, least: int = 0) -> int:
    """Entries per sample of the part that is given.

    Raises:
        ValueError: both parts are given or none, or one with other than `least` to `most` entries.
    """
    width = given_part(direct).shape[-1]
    if width > most:
        raise ValueError(f"direct gradients have {width} entries; a state has {most}")
    if width < least:
        raise ValueError(f"direct gradients have {width} entries, not {least}")
    return width


def check_parts(record: Record, direct: Direct, name: str, derives_slope: bool) -> None:
    """Raise `ValueError` for parts of a record or of its direct gradients without which a loop would read nothing.

    Args:
        record, direct: what a backward loop goes over.
        name: the activation's. derives_slope: whether its f' is read from the state.
    """
    given_part(direct)
    if record.slope is None and not (derives_slope and record.weights.leak is None):
        raise ValueError(f"a record of {name} without slopes: another activation's, or another leak's?")
    if record.slope is None and record.weights.act_bias is not None:
        raise ValueError(f"{name} has no parameter act_bias")
