"""Decides who is next: one queue of runnable jobs per job queue, oldest first; job queues by priority."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Iterable, Iterator

from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.ports import Document

_Entry = tuple[int, int, int, BatchJob]


class RunnableQueue:
    """The runnable jobs. An array is in its queue once, for all its children that have not begun."""

    def __init__(self) -> None:
        self._lines: dict[str, list[_Entry]] = {}
        self._aside: dict[str, list[BatchJob]] = {}
        self._tickets = itertools.count()

    def enter(self, job: BatchJob) -> None:
        """A job that is RUNNABLE, or an array whose sharing children are."""
        line = self._lines.setdefault(job.submission.queue, [])
        heapq.heappush(line, (job.submission.number, job.index, next(self._tickets), job))

    def head(self, queue: str) -> BatchJob | None:
        """The next job of a queue: a single one, or a child (perhaps still without a record)."""
        line = self._lines.get(queue, [])
        while line:
            job = _next_of(line[0][3])
            if job is not None:
                return job
            heapq.heappop(line)
        return None

    def step_aside(self, queue: str) -> None:
        """The head (an array as a whole) cannot run anywhere: it waits until ``all_return``."""
        self._aside.setdefault(queue, []).append(heapq.heappop(self._lines[queue])[3])

    def all_return(self) -> None:
        """Those that stepped aside return to their queues, because capacity has changed."""
        for job in itertools.chain.from_iterable(self._aside.values()):
            self.enter(job)
        self._aside.clear()

    def by_priority(self, queues: Iterable[Document]) -> Iterator[tuple[Document, BatchJob]]:
        """Job queues with a head, in the order in which to serve them: by priority, then by the head's age."""
        heads = [(queue, head) for queue in queues if (head := self.head(queue["jobQueueArn"])) is not None]
        return iter(sorted(heads, key=lambda pair: (-pair[0]["priority"], pair[1].submission.number)))

    def front(self, queue: str, most: int) -> list[BatchJob]:
        """The first jobs of a queue, in order."""
        entries = heapq.nsmallest(most, self._lines.get(queue, ()))
        return [job for entry in entries if (job := _next_of(entry[3])) is not None]


def _next_of(job: BatchJob) -> BatchJob | None:
    if not isinstance(job, ArrayJob):
        return job if job.status is JobState.RUNNABLE else None
    if job.rest is not JobState.RUNNABLE:
        return None
    while job.next < job.size and job.next in job.children:
        job.next += 1
    return job.shared_child(job.next) if job.next < job.size else None
