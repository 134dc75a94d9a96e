"""Options by Airflow's queue, and what replaces them while there is no capacity: read in one way for ECS and Batch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self, TypeVar

from skylift.core.errors import Refused
from skylift.executors.options.queues import Words, own_words
from skylift.executors.options.settings import (
    AWS_CONN_ID,
    CAPACITY_FALLBACK,
    CHECK_HEALTH,
    CONN_ID,
    OWN_SECTION,
    QUEUES,
    REGION,
    REGION_NAME,
    Options,
)


@dataclass(frozen=True, kw_only=True)
class QueueOptions:
    """What the options of both executors have in common, for one of Airflow's queues.

    Attributes:
        request: the arguments of RunTask or SubmitJob, as far as options set them.
        container: name of the container in which Airflow runs.
        connection: the Airflow connection with the credentials.
        region: "" for AWS's own setting.
        most_attempts: containers for one launch.
        check_health: check at start that what the options name exists.
        fallbacks: arguments to change, one after the other, while there is no capacity.
        queues: the options of the queues that differ.
        queue: the queue of these options; "" for the section's own.
        words: the options that the queue's entry sets, by name.
    """

    request: Mapping[str, Any]
    container: str
    connection: str
    region: str
    most_attempts: int
    check_health: bool
    fallbacks: tuple[Mapping[str, Any], ...] = ()
    queues: Mapping[str, Self] = field(default_factory=dict)
    queue: str = ""
    words: frozenset[str] = frozenset()

    def of(self, queue: str) -> Self:
        """The options of one of Airflow's queues; the section's own for a queue without an entry."""
        return self.queues.get(queue, self)

    def fallback(self, shortages: int) -> Mapping[str, Any] | None:
        """The fallback whose turn it is after so many times without capacity; ``None`` for the first choice."""
        turn = shortages % (len(self.fallbacks) + 1)
        return self.fallbacks[turn - 1] if turn else None


Read = TypeVar("Read", bound=QueueOptions)


def read_by_queue(conf: Any, names: Iterable[str], read: Callable[[Words | None, list[Words]], Read]) -> Read:
    """A section's options, and those of the queues in ``[skylift] queues`` that have a word of it.

    Args:
        names: the words that may differ by queue.
        read: the options with an entry's words over them (``None``: no entry's), and with these fallbacks.

    Raises:
        Refused: as ``read``; with the queue's name.
    """
    own, names = Options(conf, OWN_SECTION), tuple(names)
    common = own[CAPACITY_FALLBACK]
    base = read(None, common)
    queues: dict[str, Read] = {}
    for queue, words in own[QUEUES].items():
        if not own_words(words, (*names, CAPACITY_FALLBACK.name)):
            continue
        ours = own_words(words, names)
        try:
            found = read(ours, words.get(CAPACITY_FALLBACK.name, common))
        except Refused as error:
            raise Refused(f"[{OWN_SECTION}] queues, queue {queue!r}: {error}") from error
        queues[queue] = replace(found, queue=queue, words=frozenset(ours))
    return replace(base, queues=queues)


def connected(options: Options) -> dict[str, Any]:
    """The options that say how AWS is reached: they are the same in both sections."""
    return {
        "connection": options[AWS_CONN_ID] or options[CONN_ID],
        "region": options[REGION_NAME] or options[REGION],
        "check_health": options[CHECK_HEALTH],
    }
