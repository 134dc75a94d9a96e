"""Whose refusal a row of a table is. Tests hold the tables of refused requests; docs/refusals.md is made from the same
tables."""

from __future__ import annotations

OURS = "skylift's local cloud"
"""In the message of a refusal that AWS does not have: what is asked works there, and not here."""


def says_whose(text: str, message: str) -> bool:
    """Whether a row's text names skylift exactly where the message does, and is part of it."""
    return text in message and (OURS in text) == (OURS in message)
