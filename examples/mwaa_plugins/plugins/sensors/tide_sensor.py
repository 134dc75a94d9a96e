"""A sensor that uses the hook."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseSensorOperator
from hooks.tide_hook import TideHook


class TideSensor(BaseSensorOperator):
    """Waits until the water reaches a height. Each look is an hour later.

    Args:
        metres: above low tide.
    """

    def __init__(self, *, metres: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.metres = metres
        self._hour = 5

    def poke(self, context: Any) -> bool:  # noqa: ARG002 - Airflow's signature
        """Looks once."""
        self._hour += 1
        found = TideHook().heights()[self._hour % 24]
        self.log.info("%s h: %s m", self._hour, found)
        return found >= self.metres
