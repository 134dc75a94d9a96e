"""AWS's service models without what only people read, for ``json``'s decoder.

botocore keeps the models that it reads for as long as the process lives. More than half of their memory is documentation, the
same short words again and again, and dicts that remember an order which dicts keep anyway: EC2's is 14 MB, and 6 MB so.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

DOCUMENTATION = "documentation"
_SHORT = 64
"""Characters of a word that is likely to come again: names of shapes, types, locations."""


def slim(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """An ``object_pairs_hook``: a JSON object whose documentation is empty; botocore reads some of it. A member of that name, which
    is an object, stays."""
    return {name: _slim(name, value) for name, value in pairs}


def _slim(name: str, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if name == DOCUMENTATION:
        return ""
    return sys.intern(value) if len(value) < _SHORT else value
