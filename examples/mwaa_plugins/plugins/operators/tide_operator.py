"""An operator that uses the hook."""

from __future__ import annotations

from typing import Any

from airflow.sdk import BaseOperator
from hooks.tide_hook import TideHook


class TideOperator(BaseOperator):
    """Returns the heights of a day, by hour."""

    def execute(self, context: Any) -> dict[int, float]:  # noqa: ARG002 - Airflow's signature
        """See the class."""
        found = TideHook().heights()
        self.log.info("highest %s m, lowest %s m", max(found.values()), min(found.values()))
        return found
