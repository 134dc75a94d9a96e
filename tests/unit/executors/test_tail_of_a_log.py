"""The last lines of a container's log: read until they stay the same, and not longer."""

from __future__ import annotations

from typing import Any

import pytest

from skylift.aws.output import Stream
from skylift.executors.last_words.tail import MOST_LOOKS, last_lines

pytestmark = pytest.mark.unit


class Log:
    """What each read gives; the last of it from then on."""

    def __init__(self, *reads: tuple[str, ...]) -> None:
        self.reads, self.looks = list(reads), 0

    def last(self, stream: Stream, most: int) -> tuple[str, ...]:
        assert most == 7
        self.looks += 1
        return self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]


@pytest.mark.parametrize(
    ("reads", "found", "looks"),
    [
        ([("a",)], ("a",), 2),
        ([("a",), ("a", "b")], ("a", "b"), 3),
        ([()], (), 3),
        ([(), (), ("a",)], ("a",), 4),
        ([(), ("a",)], ("a",), 3),
        ([(), (), (), ("a",)], (), 3),
        ([("a",), ("b",), ("c",), ("d",), ("e",), ("f",)], ("e",), MOST_LOOKS),
    ],
)
def test_reading_ends_when_two_reads_are_the_same(reads: Any, found: tuple[str, ...], looks: int) -> None:
    log, pauses = Log(*reads), list[int]()
    assert last_lines(log, Stream("g", "s"), 7, pause=lambda: pauses.append(1)) == found  # type: ignore[arg-type]
    assert (log.looks, len(pauses)) == (looks, looks - 1)
    assert MOST_LOOKS == 5
