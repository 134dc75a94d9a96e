"""Whole numbers in what others send."""

from __future__ import annotations

MOST_DIGITS = 15


def natural(text: str) -> int | None:
    """The number that a text is; ``None`` when it is none: only the digits 0 to 9, and not so many that nothing is
    counted in it."""
    return int(text) if len(text) <= MOST_DIGITS and text.isascii() and text.isdecimal() else None
