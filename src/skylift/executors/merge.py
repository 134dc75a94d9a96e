"""Merging of ``executor_config`` over the options."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from typing import Any


def merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """A deep copy of ``base`` with ``over`` merged into it: dicts recursively, anything else replaces.

    Neither is changed, no part is shared.
    """
    result = {key: deepcopy(value) for key, value in base.items()}
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
        result[key] = merged(result[key], value) if both else deepcopy(value)
    return result
