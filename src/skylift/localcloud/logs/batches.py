"""One batch of events of one stream, as it is stored: times, ends and one text. Pure.

A batch is what one PutLogEvents brought, in the order of its times. All messages are one text, so that a search looks
at a megabyte at a time, and decodes only the messages in which it found something.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import NamedTuple

from skylift.localcloud.logs.patterns.pattern import FilterPattern

EVENT_OVERHEAD = 26
"""Bytes that AWS counts for each event besides its message."""


class Place(NamedTuple):
    """Where an event is in the order of all: its time, its batch, its number in the batch."""

    time: int
    batch: int
    number: int


START = Place(-1, 0, 0)
"""Before every event."""


class StoredEvent(NamedTuple):
    """One event."""

    place: Place
    stream: int
    ingested: int
    message: str


class PackedEvents(NamedTuple):
    """Events as three blobs, their size as AWS counts it, and the longest message's bytes."""

    times: bytes
    ends: bytes
    text: bytes
    size: int
    longest: int


def pack(times: Sequence[int], messages: Sequence[str]) -> PackedEvents:
    """Packs events that are in order."""
    joined = "".join(messages)
    if joined.isascii():  # as long in bytes as in characters
        text, lengths = joined.encode(), list(map(len, messages))
    else:
        encoded = [message.encode("utf-8", "replace") for message in messages]
        text, lengths = b"".join(encoded), list(map(len, encoded))
    ends, size = array("I", accumulate(lengths)), len(text) + EVENT_OVERHEAD * len(lengths)
    return PackedEvents(array("q", times).tobytes(), ends.tobytes(), text, size, max(lengths, default=0))


class LogBatch:
    """A batch that was read.

    Attributes:
        number: its id; it orders batches of the same time.
        stream: id of its stream.
    """

    def __init__(self, number: int, stream: int, ingested: int, times: bytes, ends: bytes, text: bytes) -> None:
        self.number = number
        self.stream = stream
        self._ingested = ingested
        self._times, self._ends = array("q"), array("I")
        self._times.frombytes(times)
        self._ends.frombytes(ends)
        self._text = text

    def events(
        self, start: int, end: int, pattern: FilterPattern | None, *, after: Place = START
    ) -> Iterator[StoredEvent]:
        """Those whose time is in ``[start, end)`` and that match, after a place, in order."""
        first = bisect_left(self._times, start)
        last = bisect_left(self._times, end)
        if after.time >= start:
            first = max(first, bisect_left(self._times, after.time))
            while first < last and self._place(first) <= after:
                first += 1
        for number in self._candidates(first, last, pattern):
            message = self._message(number)
            if pattern is None or pattern.matches(message):
                yield StoredEvent(self._place(number), self.stream, self._ingested, message)

    def event(self, number: int) -> StoredEvent | None:
        """The event with that number, if there is one."""
        if not 0 <= number < len(self._times):
            return None
        return StoredEvent(self._place(number), self.stream, self._ingested, self._message(number))

    def _place(self, number: int) -> Place:
        return Place(self._times[number], self.number, number)

    def _message(self, number: int) -> str:
        begin = self._ends[number - 1] if number else 0
        return self._text[begin : self._ends[number]].decode("utf-8", "replace")

    def _candidates(self, first: int, last: int, pattern: FilterPattern | None) -> Iterable[int]:
        """Numbers of the events that may match: those with one of the pattern's needles."""
        if pattern is None or not pattern.needles or first >= last:
            return range(first, last)
        needles = [needle.encode("utf-8", "replace") for needle in pattern.needles]
        if len(needles) == 1:
            return self._with(needles[0], first, last)
        found = [set(self._with(needle, first, last)) for needle in needles]
        return sorted(set().union(*found))

    def _with(self, needle: bytes, first: int, last: int) -> Iterator[int]:
        ends, text = self._ends, self._text
        begin, end = ends[first - 1] if first else 0, ends[last - 1]
        number = first
        while (place := text.find(needle, begin, end)) >= 0:
            number = bisect_right(ends, place, number, last)
            if place + len(needle) <= ends[number]:
                yield number
                begin = ends[number]
                number += 1
            else:  # it reaches into the next message
                begin = place + 1
            if number >= last:
                return
