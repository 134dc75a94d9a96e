"""The last lines of a container's log, read when all of them have arrived."""

from __future__ import annotations

import time
from collections.abc import Callable

from skylift.aws.output import LogReader, Stream
from skylift.executors.last_words import words as last_words

MOST_LOOKS = 5
"""A log driver sends what the container printed last within seconds of its end; more is not worth a thread."""


def lines_of(
    output: LogReader, stream: Stream, most: int, arn: str = "", *, pause: Callable[[], None] | None = None
) -> str:
    """The last lines for people, after a line that says which log it is. Raises like ``last_lines``.

    Args:
        arn: of what ran, on AWS: then the line links to the log in the console.
    """
    link = last_words.log_link(arn, stream.region, stream.group, stream.name) if arn else ""
    where = link or f"log group {stream.group}, stream {stream.name}"
    return last_words.lines_words(last_lines(output, stream, most, pause=pause or _second), where)


def last_lines(output: LogReader, stream: Stream, most: int, *, pause: Callable[[], None]) -> tuple[str, ...]:
    """The last lines, oldest first, once two reads in a row gave the same.

    For worker threads: it makes one to four pauses.

    Raises:
        Refused: the log may not be read.
        Unavailable: it cannot be read now.
    """
    lines = output.last(stream, most)
    for look in range(1, MOST_LOOKS):
        pause()
        again = output.last(stream, most)
        # An empty log needs more patience, because most containers print something.
        if again == lines and (lines or look > 1):
            break
        lines = again
    return lines


def _second() -> None:
    time.sleep(1.0)
