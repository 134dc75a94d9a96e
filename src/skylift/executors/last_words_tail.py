"""The last lines of a container's log, read when all of them have come in."""

from __future__ import annotations

import time
from collections.abc import Callable

from skylift.aws.output import Output, Stream

MOST_LOOKS = 5
"""A log driver sends what the container printed last within seconds of its end; more is not worth a thread."""


def _second() -> None:
    time.sleep(1.0)


def last_lines(output: Output, stream: Stream, most: int, *, pause: Callable[[], None] = _second) -> tuple[str, ...]:
    """The last lines, oldest first, once two looks in a row gave the same.

    For worker threads: it takes a second at least, five at most.

    Raises:
        Refused: the log may not be read.
        Unavailable: it cannot be read now.
    """
    lines = output.last(stream, most)
    for look in range(1, MOST_LOOKS):
        pause()
        again = output.last(stream, most)
        # An empty log needs more patience: most containers print something.
        if again == lines and (lines or look > 1):
            break
        lines = again
    return lines
