"""Decides who is next: one line of runnable jobs per job queue and share identifier; job queues by priority."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.ports import Document

_Entry = tuple[int, int, int, int, BatchJob]
Turns = Callable[[str, Mapping[str, int]], Sequence[str]]
"""The share identifiers of a job queue (ARN) in the order of their turns, by the numbers of their next jobs."""


def oldest_first(_queue: str, oldest: Mapping[str, int]) -> Sequence[str]:
    """The ``Turns`` of a queue without a policy."""
    return sorted(oldest, key=lambda share: oldest[share])


class RunnableQueue:
    """The runnable jobs. An array is in its line once, for all its children that have not begun.

    In a line, a higher scheduling priority goes first, then who is oldest. A queue without a policy has one line.
    """

    def __init__(self, turns: Turns = oldest_first) -> None:
        self._turns = turns
        self._lines: dict[str, dict[str, list[_Entry]]] = {}
        self._aside: dict[str, list[BatchJob]] = {}
        self._first: dict[str, str] = {}
        self._tickets = itertools.count()

    def enter(self, job: BatchJob) -> None:
        """A job that is RUNNABLE, or an array whose sharing children are."""
        submission = job.submission
        line = self._lines.setdefault(submission.queue, {}).setdefault(submission.share, [])
        heapq.heappush(line, (-submission.priority, submission.number, job.index, next(self._tickets), job))

    def head(self, queue: str) -> BatchJob | None:
        """The next job of a queue: a single one, or a child (perhaps still without a record)."""
        lines = self._lines.get(queue, {})
        heads = {share: job for share, line in lines.items() if (job := _head_of(line)) is not None}
        if not heads:
            return None
        oldest = {share: job.submission.number for share, job in heads.items()}
        share = self._turns(queue, oldest)[0] if len(heads) > 1 else next(iter(heads))
        self._first[queue] = share
        return heads[share]

    def step_aside(self, queue: str) -> None:
        """The last ``head`` (an array as a whole) cannot run anywhere: it waits until ``all_return``."""
        line = self._lines[queue][self._first[queue]]
        self._aside.setdefault(queue, []).append(heapq.heappop(line)[4])

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
        """The first jobs of a queue, in order; with a policy, each share's own, in the order of their turns now."""
        lines = self._lines.get(queue, {})
        oldest = {share: job.submission.number for share, line in lines.items() if (job := _head_of(line)) is not None}
        entries = [entry for share in self._turns(queue, oldest) for entry in heapq.nsmallest(most, lines[share])]
        return [job for entry in entries[:most] if (job := _next_of(entry[4])) is not None]


def _head_of(line: list[_Entry]) -> BatchJob | None:
    while line:
        job = _next_of(line[0][4])
        if job is not None:
            return job
        heapq.heappop(line)
    return None


def _next_of(job: BatchJob) -> BatchJob | None:
    if not isinstance(job, ArrayJob):
        return job if job.status is JobState.RUNNABLE else None
    if job.rest is not JobState.RUNNABLE:
        return None
    while job.next < job.size and job.next in job.children:
        job.next += 1
    return job.shared_child(job.next) if job.next < job.size else None
