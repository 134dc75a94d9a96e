"""Reads events of a group or a stream in order, forwards or backwards, a page at a time.

Order: by the event's time, then by the batch that brought it, then by its place in the batch. Batches may overlap in
time, so what a batch holds waits until no earlier event can come. A page ends when it is full, or after
``MOST_SECONDS``; it says where the next one begins.
"""

from __future__ import annotations

import heapq
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from skylift.localcloud.logs.batches import EVENT_OVERHEAD, START, LogBatch, Place, StoredEvent
from skylift.localcloud.logs.patterns.pattern import FilterPattern

MOST_EVENTS, MOST_BYTES = 10_000, 1_048_576
"""Of one answer (API reference of GetLogEvents and FilterLogEvents)."""

MOST_SECONDS = 5.0
"""Of one search; clients wait for a minute."""

LAST = 1 << 62
"""After every time."""

_BATCH = "SELECT id, stream, ingested, times, ends, text, first, last FROM batch"


@dataclass(frozen=True)
class EventRange:
    """Which events are wanted.

    Attributes:
        group: id of the group.
        widest: the group's.
        streams: ids of streams; ``None``: all that exist.
        start: the first time.
        end: the time after the last.
        pattern: what they must match.
    """

    group: int
    widest: int
    streams: Sequence[int] | None = None
    start: int = 0
    end: int = LAST
    pattern: FilterPattern | None = None


@dataclass(frozen=True)
class EventPage:
    """Events in order of time.

    Attributes:
        next: where the next page begins: after this place; ``None``: there is no more.
    """

    events: list[StoredEvent]
    next: Place | None = None


def read_page(disk: sqlite3.Connection, wanted: EventRange, after: Place, limit: int) -> EventPage:
    """The next events after a place."""
    events, size, began = list[StoredEvent](), 0, time.monotonic()
    for found in _ordered(disk, wanted, after):
        if isinstance(found, Place):
            if time.monotonic() - began > MOST_SECONDS:
                return EventPage(events, found)
            continue
        length = len(found.message.encode("utf-8", "replace")) + EVENT_OVERHEAD
        if len(events) >= limit or (events and size + length > MOST_BYTES):
            return EventPage(events, events[-1].place)
        events.append(found)
        size += length
    return EventPage(events)


def read_page_before(disk: sqlite3.Connection, wanted: EventRange, before: Place, limit: int) -> EventPage:
    """The last events of one stream before a place, in order of time."""
    events, size = list[StoredEvent](), 0
    for found in _ordered_backwards(disk, wanted, before):
        length = len(found.message.encode("utf-8", "replace")) + EVENT_OVERHEAD
        if len(events) >= limit or (events and size + length > MOST_BYTES):
            break
        events.append(found)
        size += length
    return EventPage(events[::-1])


def read_all(disk: sqlite3.Connection, wanted: EventRange) -> Iterator[StoredEvent]:
    """All events, in order."""
    return (found for found in _ordered(disk, wanted, START) if not isinstance(found, Place))


def _ordered(disk: sqlite3.Connection, wanted: EventRange, after: Place) -> Iterator[StoredEvent | Place]:
    """The events; and, between batches, the place before which none is left."""
    begin = max(wanted.start, after.time)
    waiting = list[StoredEvent]()
    where, values = _where(wanted, begin, wanted.end)
    for row in chain(disk.execute(f"{_BATCH} {where} ORDER BY first, id", values), (None,)):
        batch = LogBatch(*row[:6]) if row is not None else None
        floor = Place(row[6], row[0], -1) if row is not None else Place(LAST, 0, 0)
        waiting.sort()
        ready = next((number for number, one in enumerate(waiting) if one.place > floor), len(waiting))
        yield from waiting[:ready]
        del waiting[:ready]
        if batch is not None:
            if floor > after:
                yield floor
            waiting.extend(batch.events(wanted.start, wanted.end, wanted.pattern, after=after))


def _ordered_backwards(disk: sqlite3.Connection, wanted: EventRange, before: Place) -> Iterator[StoredEvent]:
    end = min(wanted.end, before.time + 1)
    waiting = list[tuple[tuple[int, int, int], StoredEvent]]()
    (stream,) = wanted.streams or ()
    where = "INDEXED BY batch_backwards WHERE stream = ? AND last >= ? AND last < ? AND first < ?"
    values = (stream, wanted.start, end + wanted.widest, end)
    for row in disk.execute(f"{_BATCH} {where} ORDER BY last DESC, id DESC", values):
        ceiling = (-row[7], -row[0], 0)
        while waiting and waiting[0][0] < ceiling:
            yield heapq.heappop(waiting)[1]
        for event in LogBatch(*row[:6]).events(wanted.start, end, wanted.pattern):
            if event.place < before:
                heapq.heappush(waiting, ((-event.place.time, -event.place.batch, -event.place.number), event))
    while waiting:
        yield heapq.heappop(waiting)[1]


def _where(wanted: EventRange, begin: int, end: int) -> tuple[str, list[int]]:
    """Batches that reach into ``[begin, end)``; one that begins before is at most ``widest`` long."""
    values = [begin - wanted.widest, end, begin]
    times = "first >= ? AND first < ? AND last >= ?"
    if wanted.streams is not None and len(wanted.streams) == 1:
        return f"INDEXED BY batch_of_stream WHERE stream = ? AND {times}", [wanted.streams[0], *values]
    among = "SELECT id FROM stream" if wanted.streams is None else ", ".join(map(str, wanted.streams)) or "NULL"
    where = f"INDEXED BY batch_of_group WHERE log_group = ? AND {times} AND stream IN ({among})"
    return where, [wanted.group, *values]
