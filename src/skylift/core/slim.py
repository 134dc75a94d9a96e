"""Reads AWS's service models without the text that only people read, for ``json``'s decoder.

botocore keeps the models that it reads as long as the process lives. More than half of their memory is documentation,
repeated short words, and dicts that remember an order which dicts keep anyway. EC2's model is 14 MB, and 6 MB this way.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

DOCUMENTATION = "documentation"
_SHORT = 64
"""Characters of a word that is likely to come again: names of shapes, types, locations."""


def slim(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook``: empties the documentation of a JSON object. An object that is called so stays."""
    return {name: _kept(name, value) if isinstance(value, str) else value for name, value in pairs}


def _kept(name: str, text: str) -> str:
    if name == DOCUMENTATION:
        return ""  # botocore asks some objects for it
    return sys.intern(text) if len(text) < _SHORT else text
