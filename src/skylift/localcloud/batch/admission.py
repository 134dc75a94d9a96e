"""Follows consequences: dependencies let jobs begin or fail, and ends of children end arrays."""

from __future__ import annotations

from skylift.localcloud.batch.dependencies import DependencyState, gate_of, gate_of_child
from skylift.localcloud.batch.job_index import JobIndex
from skylift.localcloud.batch.lifecycle import ENDED, JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.batch.runnable_queue import RunnableQueue
from skylift.localcloud.batch.store import BatchStore
from skylift.localcloud.batch.verdict import CHILD_FAILED, DEPENDENCY_FAILED


class Admission:
    """Puts waiting jobs into their queues, or ends them."""

    def __init__(self, store: BatchStore, index: JobIndex, lines: RunnableQueue) -> None:
        self._store = store
        self._index = index
        self._lines = lines

    def admit(self, job: BatchJob) -> None:
        """Acts on a waiting job's dependencies. Harmless for a job that no longer waits."""
        if job.status not in {JobState.SUBMITTED, JobState.PENDING}:
            return
        if isinstance(job, ArrayJob):
            self._admit_array(job)
            return
        dependency = gate_of(job, self._store.find)
        if dependency is DependencyState.CLOSED:
            if job.status is JobState.SUBMITTED:
                self._index.move(job, JobState.PENDING)
        elif job.cancelled or dependency is DependencyState.SHUT:
            self._index.move(job, JobState.FAILED, reason=job.ending or DEPENDENCY_FAILED)
        else:
            self._index.move(job, JobState.RUNNABLE)
            self._lines.enter(job)

    def follow(self) -> None:
        """Handles the consequences of ends: dependents are admitted or fail, arrays end. It uses one queue, so that
        long chains need no stack."""
        while self._index.ended:
            job = self._index.ended.popleft()
            if job.index >= 0:
                array = self._index.array_of(job)
                self._step(array, job.index + 1)
                for other in self._index.dependents(array.id):
                    if isinstance(other, ArrayJob) and other.submission.stepwise:
                        self._step(other, job.index)
                self.maybe_end(array)
            for other in self._index.dependents(job.id):
                self.admit(other)

    def maybe_end(self, array: ArrayJob, reason: str = CHILD_FAILED) -> None:
        """An array has ended when all its children have; ``reason`` is its statusReason then, unless someone ended
        it."""
        summary = array.summary()
        if array.ended or sum(summary[state] for state in ENDED) < array.size:
            return
        if summary[JobState.SUCCEEDED] == array.size:
            self._index.move(array, JobState.SUCCEEDED, reason="")
        else:
            self._index.move(array, JobState.FAILED, reason=array.ending or reason)

    def _admit_array(self, array: ArrayJob) -> None:
        if array.status is JobState.SUBMITTED:
            self._index.move(array, JobState.PENDING)
        dependency = gate_of(array, self._store.find)
        if dependency is DependencyState.SHUT:
            self._index.move_sharing(array, JobState.FAILED, DEPENDENCY_FAILED)
            self.maybe_end(array, DEPENDENCY_FAILED)
        elif dependency is DependencyState.OPEN and array.submission.stepwise:
            for index in range(array.size):
                self._step(array, index)
        elif dependency is DependencyState.OPEN and array.rest is JobState.PENDING:
            self._index.move_sharing(array, JobState.RUNNABLE)
            self._lines.enter(array)

    def _step(self, array: ArrayJob, index: int) -> None:
        """One child of a stepwise array, while it still shares the state."""
        if index >= array.size or index in array.children or array.rest is not JobState.PENDING:
            return
        dependency = gate_of_child(array, index, self._store.find)
        if dependency is DependencyState.CLOSED or gate_of(array, self._store.find) is not DependencyState.OPEN:
            return
        child = self._index.adopt(array.shared_child(index))
        if dependency is DependencyState.SHUT:
            self._index.move(child, JobState.FAILED, reason=DEPENDENCY_FAILED)
        else:
            self._index.move(child, JobState.RUNNABLE)
            self._lines.enter(child)
