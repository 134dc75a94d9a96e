"""The entry: a filter pattern's text becomes something that can be asked about a message."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Protocol

from skylift.localcloud.logs.patterns.delimited import parse_delimited
from skylift.localcloud.logs.patterns.json_pattern import parse_json
from skylift.localcloud.logs.patterns.terms import parse_terms


class FilterPattern(Protocol):
    """What a pattern says about messages."""

    @property
    def needles(self) -> frozenset[str]:
        """Every message that matches contains one of these texts; empty: nothing is known."""
        ...

    def matches(self, message: str) -> bool:
        """Whether a message matches."""
        ...

    def values(self, message: str) -> Mapping[str, str]:
        """Of a message that matches: the values of the pattern's fields, e.g. ``{"$.latency": "5"}``."""
        ...


@lru_cache(maxsize=256)
def parse(text: str) -> FilterPattern:
    """Reads a pattern. Raises ``InvalidPattern``."""
    stripped = text.strip()
    if stripped.startswith("{"):
        return parse_json(stripped)
    return parse_delimited(stripped) if stripped.startswith("[") else parse_terms(stripped)
