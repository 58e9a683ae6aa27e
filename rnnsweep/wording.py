"""How printed text counts things."""

from __future__ import annotations


def counted(number: float, noun: str, nouns: str | None = None) -> str:
    """A number and its noun, which is one thing for 1 and several for every other number.

    Args:
        number: how many; printed as a whole number.
        noun: what one of them is called.
        nouns: what several are called; None: `noun` and an s.

    Example:
        >>> counted(1, "trial"), counted(0, "trial"), counted(3, "retry", "retries")
        ('1 trial', '0 trials', '3 retries')
    """
    return f"{number:.0f} {noun if number == 1 else nouns or f'{noun}s'}"
