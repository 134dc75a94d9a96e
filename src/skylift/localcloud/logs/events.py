"""Operations on events: PutLogEvents, GetLogEvents, FilterLogEvents; and the entry of containers' output."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from skylift.localcloud.logs.batches import START, Place, StoredEvent, pack
from skylift.localcloud.logs.operations import LogOperations, LogsUnavailable, Request, written
from skylift.localcloud.logs.patterns.lexer import InvalidPattern
from skylift.localcloud.logs.patterns.pattern import FilterPattern, parse
from skylift.localcloud.logs.put_rules import accepted, check_size, invalid, split
from skylift.localcloud.logs.reading import LAST, MOST_EVENTS, EventPage, EventRange, read_page, read_page_before
from skylift.localcloud.logs.store import LogGroup
from skylift.localcloud.logs.tokens import (
    backward_token,
    digits_of,
    forward_token,
    place_token,
    stream_token,
    token_place,
)
from skylift.wire.provider import Caller

T = TypeVar("T")
_QUESTION = ("logStreamNames", "logStreamNamePrefix", "startTime", "endTime", "filterPattern", "startFromHead")
_LAST_PLACE = Place(LAST, LAST, LAST)


@dataclass(frozen=True)
class Arrival:
    """Events that were stored.

    Attributes:
        stream: its name.
        times: of the events, in order.
        batch: its number.
    """

    group: LogGroup
    stream: str
    times: Sequence[int]
    messages: Sequence[str]
    batch: int


class NewEvents(Protocol):
    """Who wants to know of new events: metric filters, live tails, subscriptions."""

    def arrived(self, new: Arrival) -> None:
        """Events were stored. On the event loop; must not block."""
        ...


class EventOperations(LogOperations):
    """Events. Writing is quick, and done on the event loop; reading is done in a thread."""

    listeners: list[NewEvents]

    def put_log_events(self, _caller: Caller, request: Request) -> Request:
        """Stores what is taken of a batch before it answers."""
        group = self.group_named(request["logGroupName"])
        stream = self.stream_named(group, request["logStreamName"])
        times, messages = split(request["logEvents"])
        packed = pack(times, messages)
        check_size(packed.size, packed.longest)
        taken = accepted(times, self.store.now(), group.retention)
        if taken.rejected is not None:
            times, messages = times[taken.first : taken.last], messages[taken.first : taken.last]
            packed = pack(times, messages)
        if times:
            with written("the log events"):
                batch = self.store.append(group, stream, times, packed)
            self._tell(Arrival(group, stream.name, times, messages, batch))
        return {"nextSequenceToken": f"{stream.id:056d}", "rejectedLogEventsInfo": taken.rejected}

    def write(self, group_name: str, stream_name: str, events: Sequence[Mapping[str, Any]]) -> None:
        """Stores a container's output (``timestamp``, ``message``), whatever its age. Raises ``AwsError``, or
        ``DiskFull``."""
        group = self.group_named(group_name)
        stream = self.stream_named(group, stream_name)
        ordered = sorted(events, key=lambda event: int(event["timestamp"]))
        if not ordered:
            return
        times, messages = [int(one["timestamp"]) for one in ordered], [str(one["message"]) for one in ordered]
        with written("the log events"):
            batch = self.store.append(group, stream, times, pack(times, messages))
        self._tell(Arrival(group, stream_name, times, messages, batch))

    def prepare(self, group_name: str, stream_name: str, *, create_group: bool) -> None:
        """Creates a missing stream, and a missing group if asked. Raises ``AwsError``, or ``DiskFull``."""
        with written("the log stream"):
            group = self.store.group(group_name)
            if group is None and create_group:
                group = self.store.add_group(group_name, {})
            group = group or self.group_named(group_name)
            if self.store.stream(group, stream_name) is None:
                self.store.add_stream(group, stream_name)

    def _tell(self, new: Arrival) -> None:
        for one in self.listeners:
            one.arrived(new)

    async def get_log_events(self, _caller: Caller, request: Request) -> Request:
        """Events of one stream, forwards or backwards; the same tokens again at an end."""
        group = self.group_of(request)
        stream = self.stream_named(group, request["logStreamName"])
        start = max(request.get("startTime", 0), group.oldest(self.store.now()))
        wanted = EventRange(group.id, group.widest, [stream.id], start, request.get("endTime", LAST))
        token, limit = request.get("nextToken"), request.get("limit", MOST_EVENTS)
        forward, place = (request.get("startFromHead", False), None)
        if token is not None:
            forward, place = stream_token(token)
        if forward:
            begin = START if place is None else place
            page = await self.read(lambda disk: read_page(disk, wanted, begin, limit))
        else:
            end = _LAST_PLACE if place is None else place
            page = await self.read(lambda disk: read_page_before(disk, wanted, end, limit))
        events = page.events
        first = events[0].place if events else (place or Place(max(start, 0), 0, 0))
        last = events[-1].place if events else (place or Place(max(start, 0), 0, 0))
        return {
            "events": [_in_stream(one) for one in events],
            "nextForwardToken": forward_token(last),
            "nextBackwardToken": backward_token(first),
        }

    async def filter_log_events(self, _caller: Caller, request: Request) -> Request:
        """Events of a group that match, in the order of their times."""
        if not request.get("startFromHead", True):
            raise invalid("startFromHead=false is not served here: events come in the order of their times.")
        group = self.group_of(request)
        question = [group.id, *(request.get(name) for name in _QUESTION)]
        after = token_place(request.get("nextToken"), question)
        streams = self._streams(group, request)
        end = request["endTime"] + 1 if "endTime" in request else LAST
        start = max(request.get("startTime", 0), group.oldest(self.store.now()))
        text = request.get("filterPattern", "")
        wanted = EventRange(group.id, group.widest, streams, start, end, pattern_of(text) if text.strip() else None)
        limit = request.get("limit", MOST_EVENTS)

        def read(disk: sqlite3.Connection) -> tuple[EventPage, dict[int, str]]:
            page = read_page(disk, wanted, after, limit)
            numbers = {one.stream for one in page.events}
            named = disk.execute("SELECT id, name FROM stream WHERE log_group = ?", (group.id,))
            return page, {number: name for number, name in named if number in numbers}

        page, names = await self.read(read)
        token = place_token(page.next, question) if page.next is not None else None
        return {"events": [_filtered(one, names) for one in page.events], "searchedLogStreams": [], "nextToken": token}

    async def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Reads in a thread. Raises ``LogsUnavailable`` if the file cannot be read."""

        def call() -> T:
            with self.store.reading() as disk:
                return read(disk)

        try:
            return await asyncio.to_thread(call)
        except sqlite3.DatabaseError as error:
            raise LogsUnavailable(f"The local cloud cannot read its logs: {error}") from error

    def _streams(self, group: LogGroup, request: Request) -> list[int] | None:
        """Ids of the streams that a request names; ``None``: all. Raises ``AwsError``."""
        names, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix")
        if names and prefix:
            raise invalid("LogStreamNamePrefix and LogStreamNames are mutually exclusive parameters.")
        if names:
            return [self.stream_named(group, name).id for name in dict.fromkeys(names)]
        return [one.id for one in self.store.streams(group, prefix=prefix)] if prefix else None


def pattern_of(text: str) -> FilterPattern:
    """A caller's pattern. Raises ``AwsError``."""
    try:
        return parse(text)
    except InvalidPattern as error:
        raise invalid(str(error)) from None


def _in_stream(event: StoredEvent) -> Request:
    return {"timestamp": event.place.time, "message": event.message, "ingestionTime": event.ingested}


def _filtered(event: StoredEvent, names: Mapping[int, str]) -> Request:
    return {
        "logStreamName": names.get(event.stream, ""),
        "timestamp": event.place.time,
        "message": event.message,
        "ingestionTime": event.ingested,
        "eventId": digits_of(event.place),
    }
