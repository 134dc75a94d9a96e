"""Sends a container's lines to CloudWatch Logs, and waits while that cannot take them; the lines are in the
container's log file."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from skylift.localcloud.ports import Logs
from skylift.wire.errors import AwsError

RETRY_SECONDS = 2.0
LAST_SECONDS = 10.0
"""How long we wait with the lines of an ended container; then its end is reported without them."""

_log = logging.getLogger(__name__)


class LogSending:
    """The lines of one ECS task.

    Attributes:
        whole: whether no line was given up.
    """

    def __init__(self, logs: Logs, task: str, allowed: Callable[[str, str], None]) -> None:
        """``allowed`` raises ``AwsError`` if the lines of a group and stream may not be sent."""
        self._logs = logs
        self._task = task
        self._allowed = allowed
        self._deadline = float("inf")
        self.whole = True

    def end_soon(self) -> None:
        """All containers have ended: nobody may wait for the logs for ever."""
        self._deadline = asyncio.get_running_loop().time() + LAST_SECONDS

    async def send(self, group: str, stream: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Returns when they are accepted or given up: because the group is gone or the role may not send them (as ECS's
        driver does), or because the disk was full for too long."""
        while True:
            try:
                self._allowed(group, stream)
                return await self._logs.put(group, stream, events)
            except AwsError as error:
                if error.status < 500 or asyncio.get_running_loop().time() > self._deadline:
                    _log.warning("%s lines of %s in %s not delivered: %s", len(events), self._task, stream, error)
                    self.whole = False
                    return None
            await asyncio.sleep(RETRY_SECONDS)
