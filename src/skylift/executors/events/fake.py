"""A source without a queue, for tests: it fulfils the contract of ``Source`` and does what a test tells it.

The same tests as for the real one check it (``tests/contract/test_source_contract.py``).
"""

from __future__ import annotations

from collections.abc import Collection
from threading import Condition

from skylift.core.attempt import Observation
from skylift.core.errors import SkyliftError
from skylift.executors.events.source import Source

MOST_AT_ONCE = 10
MOST_RECEIVES = 4


class FakeSource(Source):
    """A queue in memory. Thread-safe.

    Attributes:
        waits: most seconds that ``receive`` waits.
        errors: for the next calls of ``receive``.
        settled: what was handed over for good.
        dropped: strangers that came back too often.
    """

    def __init__(self, waits: float = 0.0) -> None:
        self.waits = waits
        self.errors: list[SkyliftError] = []
        self.settled: list[Observation] = []
        self.dropped: list[Observation] = []
        self._queue: list[tuple[Observation, int]] = []
        self._out: list[tuple[Observation, int]] = []
        self._closed = False
        self._news = Condition()

    def put(self, *seen: Observation) -> None:
        """Events that happen."""
        with self._news:
            self._queue += [(one, 0) for one in seen]
            self._news.notify_all()

    def receive(self) -> list[Observation]:
        with self._news:
            if self.errors:
                raise self.errors.pop(0)
            # What was not settled comes again.
            self._queue, self._out = [*self._out, *self._queue], []
            self._news.wait_for(lambda: self._queue or self._closed, self.waits)
            taken, self._queue = self._queue[:MOST_AT_ONCE], self._queue[MOST_AT_ONCE:]
            self._out = [(one, times + 1) for one, times in taken]
            return [one for one, _ in taken]

    def settle(self, strangers: Collection[str]) -> None:
        with self._news:
            for one, times in self._out:
                if one.ref not in strangers:
                    self.settled.append(one)
                elif times >= MOST_RECEIVES:
                    self.dropped.append(one)
                else:
                    self._queue.append((one, times))
            self._out = []

    def close(self) -> None:
        with self._news:
            self._closed = True
            self._news.notify_all()
