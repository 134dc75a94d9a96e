"""Whole numbers in text from others."""

from __future__ import annotations

MOST_DIGITS = 15


def natural(text: str) -> int | None:
    """The number that a text is; ``None`` if it is not one. Only digits 0 to 9 are allowed, and not more than any real
    count needs."""
    return int(text) if len(text) <= MOST_DIGITS and text.isascii() and text.isdecimal() else None
