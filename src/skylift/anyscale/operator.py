"""What the operators do alike: wait in the triggerer or in the worker, and clean up when their task is ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from airflow.sdk import BaseOperator

from skylift.anyscale.parameters import number
from skylift.anyscale.watching import Pace

END_SECONDS = 25.0
"""For the call that ends what an Airflow task began, when that is ended."""
_LATE = timedelta(minutes=5)
"""The triggerer's own deadline is this much later than ours, which ends the job."""


class AnyscaleOperator(BaseOperator):
    """Base of the operators."""

    ui_color = "#e6eeff"
    poll_interval: float | str
    api_patience_seconds: float

    def _pace(self, name: str, seconds: object) -> Pace:
        """From the parameters; ``name`` is the one that holds the time-out."""
        interval = max(0.2, number("poll_interval", self.poll_interval))
        return Pace(interval, time.time() + number(name, seconds), float(self.api_patience_seconds))

    def _wait_in_triggerer(self, trigger: Any, pace: Pace) -> None:
        """Ends this process; the triggerer goes on, and then ``execute_complete``."""
        limit = timedelta(seconds=max(0.0, pace.deadline - time.time())) + _LATE
        self.defer(trigger=trigger, method_name="execute_complete", timeout=limit)

    def _in_thread(self, work: Callable[[], None]) -> None:
        """For ``on_kill``: signals interrupt the event loop of this thread, so that it cannot be used."""
        ending = threading.Thread(target=work, name="anyscale-end", daemon=True)
        ending.start()
        ending.join(END_SECONDS)

    def _tell(self, line: str) -> None:
        self.log.info("%s", line)
