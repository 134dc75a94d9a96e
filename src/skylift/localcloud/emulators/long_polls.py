"""SQS long polls that sleep until a message arrives. ministack's own polls check ten times a second, and so see a
message up to 100 ms late.

ministack sets one event (``esm_wake``) whenever a message arrives in any queue or is returned to it. Delayed messages
become visible by time.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

LONGEST_NAP = 1.0
"""Seconds after which a poll checks anyway, for what sets no event, such as the deletion of a queue."""

SHORTEST_NAP = 0.01

Receive = Callable[[dict[str, Any], str], Awaitable[dict[str, Any]]]


class LongPolls:
    """Replaces ministack's waiting in ReceiveMessage. Belongs to one event loop; ``ring`` may be called from any
    thread.

    Args:
        sqs: ministack's module ``services.sqs``.
        wake: ministack's ``core.concurrency.esm_wake``.
    """

    def __init__(self, sqs: Any, wake: Any) -> None:
        self._sqs = sqs
        self._loop = asyncio.get_running_loop()
        self._thread = threading.get_ident()
        self._bell = asyncio.Event()
        self._closed = False
        self._set: Callable[[], None] = wake.set
        self._receive: Receive = sqs._HANDLERS["ReceiveMessage"]
        wake.set = self._ring
        sqs._HANDLERS["ReceiveMessage"] = self.receive

    async def receive(self, request: dict[str, Any], url: str) -> dict[str, Any]:
        """Replaces ministack's ``_act_receive_message``."""
        deadline = time.monotonic() + self._wait(request, url)
        while True:
            bell = self._bell
            answer = await self._receive({**request, "WaitTimeSeconds": 0}, url)
            left = deadline - time.monotonic()
            if answer or left <= 0 or self._closed:
                return answer
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(bell.wait(), min(left, self._nap(request, url)))

    def close(self) -> None:
        """Ends all polls, so that the stopping server neither waits for them nor cuts them off."""
        self._closed = True
        self._wake()

    def _wait(self, request: Mapping[str, Any], url: str) -> int:
        said = request.get("WaitTimeSeconds")
        if said is None:
            said = self._queue(request, url)["attributes"].get("ReceiveMessageWaitTimeSeconds", 0)
        return int(said)

    def _nap(self, request: Mapping[str, Any], url: str) -> float:
        now = time.time()
        # A visible message that was not returned waits for its group (FIFO), whose first message will be visible again.
        soon: list[float] = [
            one["visible_at"] - now for one in self._queue(request, url)["messages"] if one["visible_at"] > now
        ]
        return max(SHORTEST_NAP, min([LONGEST_NAP, *soon]))

    def _queue(self, request: Mapping[str, Any], url: str) -> Any:
        return self._sqs._get_q(request.get("QueueUrl", url), "sqs:ReceiveMessage")

    def _ring(self) -> None:
        self._set()
        if threading.get_ident() == self._thread:
            return self._wake()
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any longer
            self._loop.call_soon_threadsafe(self._wake)  # costs one byte through a socket
        return None

    def _wake(self) -> None:
        # Polls that wait hear the old event; later ones wait for the new one.
        self._bell.set()
        self._bell = asyncio.Event()
