"""Keeps what a worker works on: SQS hides its messages, and ECS does not end it.

Celery acknowledges a message when its Airflow task has ended. Until then SQS must hide it, and SQS does so for a minute
only, so that a dead worker's messages come back soon. This thread renews that minute, and the worker's protection from
being ended, while there is something to hold. An idle worker makes no calls here.

SQS hides a message for at most twelve hours in all. A message that comes back then changes nothing: whoever receives it
asks Airflow, hears that the Airflow task already runs, and drops it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from skylift.aws.errors import calling
from skylift.core.clock import Clock
from skylift.core.errors import SkyliftError
from skylift.runtime.workers.protection import Protection

log = logging.getLogger(__name__)

VISIBILITY_SECONDS = 60
"""For how long a renewal hides a message: the queue's own time (``control/parts/broker.py``)."""

RENEW_SECONDS = 20.0
LOOK_SECONDS = 1.0
IDLE_SECONDS = 5.0
"""How long a worker without work stays protected: the next Airflow task of a DAG often comes at once."""

MOST_ENTRIES = 10
"""Messages in one call (SQS)."""


class ReceivedRequest(Protocol):
    """One message that Celery has received, as ``celery.worker.request.Request`` is."""

    acknowledged: bool
    message: Any


@dataclass(frozen=True)
class HeldMessage:
    """Where SQS knows a message by."""

    queue: str
    receipt: str


def message_of(request: ReceivedRequest) -> HeldMessage | None:
    """SQS's names of the message; ``None`` if it came from elsewhere."""
    told = getattr(request.message, "delivery_info", None) or {}
    try:
        return HeldMessage(str(told["sqs_queue"]), str(told["sqs_message"]["ReceiptHandle"]))
    except (KeyError, TypeError):
        return None


class Holding:
    """Holds the messages that this worker has received and not acknowledged.

    Args:
        sqs: boto3's client.
        protection: of this worker's ECS task.
        outdated: whether newer workers replace this one.
        leave: makes Celery take no more messages, and end once its Airflow tasks have.
        clock: seconds; must not run back.
    """

    def __init__(
        self,
        sqs: Any,
        protection: Protection,
        outdated: Callable[[float], bool],
        leave: Callable[[], None],
        clock: Clock = time.monotonic,
    ) -> None:
        self._sqs = sqs
        self._protection = protection
        self._outdated = outdated
        self._leave = leave
        self._left = False
        self._clock = clock
        # By the object: a message that comes again has the same id as the one whose Airflow task runs here.
        self._held: dict[int, tuple[ReceivedRequest, HeldMessage | None]] = {}
        self._lock = threading.Lock()
        self._busy = threading.Event()
        self._renewed = 0.0
        self._last_work = 0.0

    def start(self) -> None:
        """Starts the thread. It ends with the process: as long as an Airflow task runs, it renews."""
        threading.Thread(target=self._run, name="skylift-holding", daemon=True).start()

    def take(self, request: ReceivedRequest) -> None:
        """Holds a message. Returns when the worker is protected, or cannot be, so that its work begins in safety."""
        now = self._clock()
        with self._lock:
            if not self._held:
                self._renewed = now
            self._held[id(request)] = (request, message_of(request))
            self._last_work = now
        self._protection.protect(now)
        self._busy.set()

    def look(self) -> bool:
        """Renews what is due; returns whether there is still something to hold, or to let go."""
        now = self._clock()
        with self._lock:
            for key in [key for key, (request, _) in self._held.items() if request.acknowledged]:
                del self._held[key]
            held = [message for _, message in self._held.values() if message is not None]
            if self._held:
                self._last_work = now
            elif now - self._last_work >= IDLE_SECONDS:
                # Under the lock: what is received now protects again, after this.
                self._protection.release()
                self._busy.clear()
                return False
        if held and now - self._renewed >= RENEW_SECONDS:
            self._renewed = now
            self._renew(held)
        if self._held:
            self._protection.protect(now)
            if not self._left and self._outdated(now):
                log.info("newer workers are there: this one takes no more Airflow tasks, and ends after those it has")
                self._left = True
                self._leave()
        return True

    def _renew(self, messages: Sequence[HeldMessage]) -> None:
        for queue in {message.queue for message in messages}:
            mine = [message.receipt for message in messages if message.queue == queue]
            for begin in range(0, len(mine), MOST_ENTRIES):
                entries = [
                    {"Id": str(number), "ReceiptHandle": receipt, "VisibilityTimeout": VISIBILITY_SECONDS}
                    for number, receipt in enumerate(mine[begin : begin + MOST_ENTRIES])
                ]
                self._change(queue, entries)

    def _change(self, queue: str, entries: list[dict[str, Any]]) -> None:
        """A message that was acknowledged a moment ago, or is twelve hours old, is not renewed; that is no error."""
        try:
            with calling("sqs ChangeMessageVisibilityBatch"):
                self._sqs.change_message_visibility_batch(QueueUrl=queue, Entries=entries)
        except SkyliftError as error:
            log.warning("messages of Airflow tasks that run here may be delivered again: %s", error)

    def _run(self) -> None:
        while True:
            self._busy.wait()
            self.look()
            time.sleep(LOOK_SECONDS)
