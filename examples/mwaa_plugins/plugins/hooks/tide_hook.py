"""A hook: the height of the water at a place."""

from __future__ import annotations

import math

from airflow.sdk import BaseHook

HOURS_BETWEEN_HIGH_TIDES = 12.42


def height(hour: float) -> float:
    """Metres above low tide, so many hours after a high tide."""
    return round(2 + 2 * math.cos(2 * math.pi * hour / HOURS_BETWEEN_HIGH_TIDES), 2)


class TideHook(BaseHook):
    """Would ask a service; computes instead."""

    def heights(self) -> dict[int, float]:
        """The heights of a day, by hour."""
        return {hour: height(hour) for hour in range(24)}
