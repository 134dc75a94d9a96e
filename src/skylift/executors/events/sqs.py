"""``SqsSource``: EventBridge events from an SQS queue, as observations.

The messages are EventBridge's own events ("ECS Task State Change", "Batch Job State Change"). ``detail`` is the ECS
task or Batch job in the format of DescribeTasks or DescribeJobs, so each executor translates it with its usual
code. Everything else in the queue (services' events, other formats, no JSON) is deleted and counted: one odd
message must not come again for ever.

Several schedulers may read one queue (docs/decisions/0008-events.md). SQS gives each event to one of them. If nobody
here knows its workload, the event is put back: at first at once, then with a delay. After several times it is dropped,
because slow polling finds what it reported.
"""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from skylift.aws.clients import client
from skylift.aws.messages import LONGEST_WAIT, MOST_PER_CALL, Message, Messages, per_call, region_of
from skylift.core.attempt import Observation
from skylift.core.clock import Clock
from skylift.executors.events.source import Source

log = logging.getLogger(__name__)

ECS_TASK = "ECS Task State Change"
BATCH_JOB = "Batch Job State Change"
KINDS = frozenset({ECS_TASK, BATCH_JOB})

ANOTHERS = "another executor's"
NOBODYS = ""
"""In place of a ref: events for the other executor on the same queue, and messages that are for nobody."""

Translate = Callable[[Mapping[str, Any]], Observation | None]
"""An observation from an event's ``detail``; ``None``: nothing of ours. Any ``LookupError``, ``TypeError``,
``ValueError`` or ``AttributeError`` says that the detail has another shape than AWS's."""

GIVE_BACK = (0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 5)
"""Seconds after which a stranger's event is visible again, by how often it was received; after that it is nobody's."""

PAUSE = (0.1, 0.5)
"""Seconds, by chance, for which one who has given events back lets the others receive: without it, whoever is quickest
would get the same events again and again; always the same pause would keep two in step."""

STALE = 120.0
"""Seconds after which a stranger's event is nobody's at once: whoever wanted it has looked by now."""

LANES = 4
"""Calls at the same time when the queue is full; each brings at most ten messages."""

MOST_ROUNDS = 10
"""Rounds of full lanes before what there is is handed over."""

GAP = 0.2
"""Seconds between two receives that were not full: a trickle of events is gathered, five receives a second at most."""


@dataclass
class Counts:
    """What came out of the queue since the start.

    Attributes:
        received: messages.
        ignored: events of other kinds.
        poison: messages that are not such an event at all.
        returned: strangers that were put back.
        dropped: strangers that nobody took.
    """

    received: int = 0
    ignored: int = 0
    poison: int = 0
    returned: int = 0
    dropped: int = 0


class SqsSource(Source):
    """A queue as a ``Source``; see its contract in ``skylift.executors.events.source``.

    Args:
        messages: the queue.
        translate: by the event's ``detail-type``.
        clock: seconds since the epoch.
        wait: seconds of a long poll.
        give_back: see ``GIVE_BACK``.

    Attributes:
        counts: see there.
    """

    def __init__(
        self,
        messages: Messages,
        translate: Mapping[str, Translate],
        *,
        clock: Clock = time.time,
        wait: int = LONGEST_WAIT,
        give_back: Sequence[int] = GIVE_BACK,
    ) -> None:
        self.counts = Counts()
        self._messages = messages
        self._translate = translate
        self._clock = clock
        self._wait = wait
        self._back = give_back
        self._unsettled: list[tuple[Message, str]] = []
        self._limiters: ThreadPoolExecutor | None = None
        self._next = float("-inf")
        self._complained = False

    def receive(self) -> list[Observation]:
        # We forget what was not settled; SQS delivers it again.
        self._unsettled = []
        time.sleep(max(0.0, self._next - time.monotonic()))
        batch = self._messages.receive(self._wait)
        full = len(batch) == MOST_PER_CALL
        if full:
            batch += self._more()
        self._next = float("-inf") if full or not batch else time.monotonic() + GAP
        self.counts.received += len(batch)
        seen: list[Observation] = []
        for message in batch:
            understood = self._understood(message.body)
            if isinstance(understood, Observation):
                self._unsettled.append((message, understood.ref))
                seen.append(understood)
            else:
                self._unsettled.append((message, understood))
        return seen

    def settle(self, strangers: Collection[str]) -> None:
        done: list[str] = []
        back: dict[str, int] = {}
        for message, ref in self._unsettled:
            if ref not in strangers and ref != ANOTHERS:
                done.append(message.receipt)
            elif message.receives <= len(self._back) and self._clock() - message.sent < STALE:
                back[message.receipt] = self._back[message.receives - 1]
            else:
                self.counts.dropped += 1
                done.append(message.receipt)
        self._unsettled = []
        self.counts.returned += len(back)
        if back:
            self._next = max(self._next, time.monotonic() + random.uniform(*PAUSE))  # noqa: S311  no secret
        give_back = partial(self._give_back, back)
        self._all([*per_call(list(back), give_back), *per_call(done, self._messages.delete)])

    def close(self) -> None:
        if self._limiters:
            self._limiters.shutdown(wait=False, cancel_futures=True)
        self._messages.close()

    def _more(self) -> list[Message]:
        """The rest of a full queue, several calls at a time."""
        found: list[Message] = []
        for _ in range(MOST_ROUNDS):
            pages = self._all([partial(self._messages.receive, 0)] * LANES)
            found += [message for page in pages for message in page]
            if not all(len(page) == MOST_PER_CALL for page in pages):
                break
        return found

    def _give_back(self, seconds: Mapping[str, int], receipts: Sequence[str]) -> None:
        self._messages.give_back({receipt: seconds[receipt] for receipt in receipts})

    def _all(self, calls: Sequence[Callable[[], Any]]) -> list[Any]:
        """All answers; this thread makes one of the calls."""
        if len(calls) <= 1:
            return [call() for call in calls]
        if self._limiters is None:
            self._limiters = ThreadPoolExecutor(LANES, thread_name_prefix="skylift-queue")
        return list(self._limiters.map(lambda call: call(), calls))

    def _understood(self, body: str) -> Observation | str:
        """An observation; or ``ANOTHERS``, or ``NOBODYS``."""
        try:
            event = json.loads(body)
            translate = self._translate.get(event["detail-type"])
            if translate is None and event["detail-type"] in KINDS:
                return ANOTHERS
            found = translate(event["detail"]) if translate else None
            self.counts.ignored += found is None
            return found or NOBODYS
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            self.counts.poison += 1
            if not self._complained:
                self._complained = True
                # Never log the message itself: an event's overrides may contain a workload with its token.
                log.warning(
                    "The events queue holds messages that are no EventBridge events; they are deleted (first: %s, %d "
                    "characters)",
                    type(error).__name__,
                    len(body),
                )
            return NOBODYS


def source_of(queue: str, translate: Mapping[str, Translate], *, session: Any, region: str) -> SqsSource | None:
    """The source that ``[skylift] events_queue`` names; ``None`` if it is empty. Does not call AWS yet.

    Args:
        queue: URL, ARN or name; a region in it overrides ``region``.
        translate: see ``SqsSource``.
        session: a boto3 session with the credentials; ``None`` for the usual ones.
        region: "" to use AWS's own settings.
    """
    if not queue:
        return None
    wanted = region_of(queue) or region or None
    sqs = client("sqs", region=wanted, attempts=2, read_timeout=LONGEST_WAIT + 10, session=session)
    return SqsSource(Messages(sqs, queue), translate)
