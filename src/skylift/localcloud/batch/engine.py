"""The Batch jobs under way: admitted, started, followed through ECS, ended; adopted after a restart.

It has no loop of its own: a submission, or a change of an ECS task or of capacity, calls ``ring``; timers only wait for
timeouts.
"""

from __future__ import annotations

import asyncio
import heapq
import logging

from skylift.core.clock import Clock
from skylift.core.errors import Unavailable
from skylift.localcloud.batch.admission import Admission
from skylift.localcloud.batch.job_index import JobIndex
from skylift.localcloud.batch.launching import JobLauncher
from skylift.localcloud.batch.lifecycle import PLACED, JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.batch.runnable_queue import RunnableQueue
from skylift.localcloud.batch.shapes import milliseconds
from skylift.localcloud.batch.shown import attempt_of, strategy, timeout
from skylift.localcloud.batch.store import QUEUE, BatchStore
from skylift.localcloud.batch.verdict import TIMED_OUT, AttemptEnd, JobDecision, ended, judge
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.model.lifecycle import StopCode, TaskState
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.changes import TaskListener
from skylift.localcloud.ecs.tasks.slots import SlotListener
from skylift.localcloud.ports import Capacity, Change, Document

KEPT_SECONDS = 24 * 3600.0
"""How long an ended job can be described. AWS: at least 24 hours
(https://docs.aws.amazon.com/batch/latest/userguide/job_states.html)."""
_QUEUE_DELETED = "Job queue was deleted"
_PRUNE_SECONDS = 600.0
_FULL_DISK_SECONDS = 5.0
_NO_ROOM_SECONDS = 1.0
_log = logging.getLogger(__name__)


class BatchEngine(TaskListener, SlotListener):
    """Moves jobs. ``recover`` before ECS starts, ``begin`` after it."""

    def __init__(
        self, ecs: EcsProvider, store: BatchStore, clock: Clock, on_change: Change, capacity: Capacity
    ) -> None:
        self.index = JobIndex(ecs.cloud, store, clock, on_change, ecs.engine.events)
        self.lines = RunnableQueue(self.index.turns)
        self._ecs = ecs
        self._store = store
        self._clock = clock
        self._admission = Admission(store, self.index, self.lines)
        self.launching = JobLauncher(ecs, store, self.index, self.lines, capacity)
        self._deadlines: list[tuple[float, str, str]] = []
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._rung = False
        self._open = False
        ecs.engine.changes.listen(self)
        ecs.engine.slots.listen(self)

    def recover(self) -> None:
        """Updates the jobs from ECS's records. Must run before ECS starts, because ECS then forgets old tasks."""
        for job in list(self._store.jobs.values()):
            if isinstance(job, ArrayJob):
                for child in list(job.children.values()):
                    self._take_up(child)
                if not job.ended:
                    self._take_up_array(job)
            else:
                self._take_up(job)
        self._admission.follow()

    def begin(self) -> None:
        """From now on attempts are started. ECS must have started."""
        self._open = True
        for name, job in list(self.index.running.items()):
            if job.ending:
                self._ecs.engine.stop(self._ecs.store.tasks[name], StopCode.USER, job.ending)
        self._take_up_endings()
        self._prune()
        self._arm()
        self.ring()

    def close(self) -> None:
        """Starts nothing more. Safe to call twice."""
        self._open = False
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()

    def submit(self, job: BatchJob) -> None:
        """Accepts a job: when this returns, it is on disk. Raises ``Unavailable``: the disk cannot take it."""
        self._store.accept(job)
        self.index.add(job)
        self.ring()

    def ring(self) -> None:
        """Checks soon; many calls lead to one check."""
        if self._open and not self._rung:
            self._rung = True
            asyncio.get_running_loop().call_soon(self._look)

    def slot_free(self) -> None:
        """Runnable jobs may start now."""
        self.ring()

    def capacity_changed(self) -> None:
        """Compute environments or queues have changed."""
        self.lines.all_return()
        self.ring()

    def terminate(self, job: BatchJob, reason: str) -> None:
        """TerminateJob, in every state. Recorded when this returns; what runs ends soon.

        Raises:
            Unavailable: the disk cannot take it; the job is unchanged.
        """
        if not job.ended:
            self._end(job, reason, terminating=True)

    def cancel(self, job: BatchJob, reason: str) -> None:
        """CancelJob: ends what has not begun, and leaves the rest. A PENDING job ends once its dependencies have.

        Raises:
            Unavailable: as ``terminate``.
        """
        if job.waiting:
            self._end(job, reason, terminating=False)

    def _end(self, job: BatchJob, reason: str, *, terminating: bool) -> None:
        job = self.index.adopt(job)
        self._record(job, **_said(terminating), ending=job.ending or reason)
        self._carry_out(job, terminating=terminating)
        self._settle()

    def _record(self, job: BatchJob, **members: object) -> None:
        """Records what is to happen to a job. What follows can be done again after a crash, so it may be late."""
        before = {name: getattr(job, name) for name in members}
        vars(job).update(members)
        try:
            self._store.record(job)
        except Unavailable:
            vars(job).update(before)
            raise

    def _carry_out(self, job: BatchJob, *, terminating: bool) -> None:
        """Ends what TerminateJob, or CancelJob, ends of a job."""
        reason = job.ending
        if isinstance(job, ArrayJob):
            self.index.move_sharing(job, JobState.FAILED, reason)
            for child in [one for one in job.children.values() if (not one.ended if terminating else one.waiting)]:
                vars(child).update(_said(terminating), ending=child.ending or reason)
                self._carry_out(child, terminating=terminating)
        elif terminating and job.status in PLACED:
            self._store.note(job)
            self._ecs.engine.stop(self._ecs.store.tasks[job.task], StopCode.USER, reason)
        elif terminating or job.status is not JobState.PENDING or job.index >= 0:
            self.index.move(job, JobState.FAILED, reason=reason)

    def _take_up_endings(self) -> None:
        """Completes ends that somebody requested and a crash interrupted."""
        for job in list(self._store.jobs.values()):
            children = list(job.children.values()) if isinstance(job, ArrayJob) else []
            for one in (each for each in (job, *children) if not each.ended):
                if one.terminated or (one.cancelled and one.waiting):
                    self._carry_out(one, terminating=one.terminated)

    def _settle(self) -> None:
        """Writes what follows from what is on disk: now, or, if the disk is full, later."""
        self._admission.follow()
        self.ring()
        try:
            self.index.write()
        except Unavailable as error:
            _log.warning("%s", error)
            self._later("disk", _FULL_DISK_SECONDS, self.ring)

    def _look(self) -> None:
        self._rung = False
        if not self._open:
            return
        try:
            for queue in list(self._store.queues.values()):
                for job in self.index.in_state(queue["jobQueueArn"], JobState.SUBMITTED):
                    self._admission.admit(job)
                self._drain(queue)
            self._admission.follow()
            if not self._ecs.engine.closing:
                self.launching.launch()
                if self.launching.refused:
                    self._later("room", _NO_ROOM_SECONDS, self.ring)
                self._admission.follow()
            self.index.write()
        except Unavailable as error:  # a full disk: the machine's owner can act, Batch waits
            _log.warning("%s", error)
            self._later("disk", _FULL_DISK_SECONDS, self.ring)

    def task_changed(self, task: EcsTask) -> None:
        """The ECS task of a job's attempt has changed, so the job changes too."""
        job = self.index.running.get(task.id)
        if job is None:
            return
        if task.stopped:
            self._attempt_over(job, task)
        elif task.state is TaskState.RUNNING and job.status is JobState.STARTING:
            self._attempt_runs(job, task)
        self.ring()

    def _attempt_runs(self, job: BatchJob, task: EcsTask) -> None:
        container = attempt_of(task.document, self._task_definition(task))
        self.index.move(job, JobState.RUNNING, started=task.document["startedAt"], container=container)
        if seconds := timeout(job, self.index.definition(job)):
            heapq.heappush(self._deadlines, (task.document["startedAt"] + seconds, job.id, task.id))
            self._arm()

    def _attempt_over(self, job: BatchJob, task: EcsTask) -> None:
        container = attempt_of(task.document, self._task_definition(task))
        end = ended(task.document, self._task_definition(task))
        if end.reason and "containers" not in container:
            container["reason"] = end.reason
        job.container = container
        job.started = task.document.get("startedAt", job.started)
        self._judge(job, end, task.document.get("startedAt"), task.document["stoppedAt"])

    def _judge(self, job: BatchJob, end: AttemptEnd, began: float | None, stopped: float) -> None:
        attempt: Document = {"statusReason": job.ending or end.status_reason, "stoppedAt": milliseconds(stopped)}
        if began is not None:
            attempt["startedAt"] = milliseconds(began)
        several = "containers" in job.container
        attempt |= {"taskProperties": [job.container]} if several else {"container": job.container}
        job.attempts = [*job.attempts, attempt]
        verdict: JobDecision = judge(
            end,
            strategy(job, self.index.definition(job)),
            len(job.attempts),
            job.ending,
            closed=self._queue_of(job)["status"] == "DELETING",
        )
        self.index.move(job, verdict.status, reason=verdict.reason)
        if verdict.status is JobState.RUNNABLE:
            self.lines.enter(job)

    def _end_attempt(self, job: BatchJob, reason: str) -> None:
        """Asks the ECS task to end; the job's record says why before, so that a crash forgets neither."""
        if job.ending:
            return
        self._record(job, ending=reason)
        self._ecs.engine.stop(self._ecs.store.tasks[job.task], StopCode.USER, reason)

    def _take_up(self, job: BatchJob) -> None:
        """A single job or a child after a restart."""
        if job.status in PLACED:
            task = self._ecs.store.tasks.get(job.task)
            if task is None and job.status is JobState.STARTING and not job.ending:
                self.index.move(job, JobState.RUNNABLE, container={})
            elif task is None:
                self._judge(
                    job, AttemptEnd(None, "", "The local cloud has lost its ECS task.", False), None, self._clock()
                )
            else:
                self.index.take_capacity(job, self.launching.size(job))
                if task.stopped:
                    self._attempt_over(job, task)
                elif job.status is JobState.RUNNING or task.state is TaskState.RUNNING:
                    self._take_up_running(job, task)
        if job.status is JobState.RUNNABLE:
            self.lines.enter(job)
        elif job.waiting and job.index < 0:
            self._admission.admit(job)

    def _take_up_running(self, job: BatchJob, task: EcsTask) -> None:
        if job.status is JobState.STARTING:
            self._attempt_runs(job, task)
        elif seconds := timeout(job, self.index.definition(job)):
            began = task.document.get("startedAt", job.started)  # ECS may have written less than Batch
            assert began is not None, "a job that runs has a start"
            heapq.heappush(self._deadlines, (began + seconds, job.id, task.id))

    def _take_up_array(self, array: ArrayJob) -> None:
        if array.rest is JobState.RUNNABLE:
            self.lines.enter(array)
        elif array.rest is JobState.PENDING:
            self._admission.admit(array)
        self._admission.maybe_end(array)

    def _arm(self) -> None:
        if self._deadlines:
            self._later("timeout", max(self._deadlines[0][0] - self._clock(), 0.0), self._time_out)

    def _time_out(self) -> None:
        now = self._clock()
        try:
            while self._deadlines and self._deadlines[0][0] <= now:
                _, _, task_id = self._deadlines[0]
                if (job := self.index.running.get(task_id)) is not None:
                    self._end_attempt(job, TIMED_OUT)
                heapq.heappop(self._deadlines)
        except Unavailable as error:  # a full disk: the machine's owner can act; the timeout comes later
            _log.warning("%s", error)
            self._later("timeout", _FULL_DISK_SECONDS, self._time_out)
            return
        self._arm()

    def _drain(self, queue: Document) -> None:
        """A queue that is being deleted ends its jobs, and disappears when nothing of it is left."""
        if queue["status"] != "DELETING":
            return
        alive = self.index.alive(queue["jobQueueArn"])
        for job in alive:
            if not job.terminated:
                self.terminate(job, _QUEUE_DELETED)
        if not alive:
            self._store.remove_thing(QUEUE, queue["jobQueueName"])

    def _prune(self) -> None:
        """Forgets what ended more than a day ago and is not awaited."""
        oldest, awaited = self._clock() - KEPT_SECONDS, self.index.awaited()
        old = [
            job
            for job in self._store.jobs.values()
            if job.ended and (job.stopped or 0.0) < oldest and job.id not in awaited
        ]
        try:
            if old:
                self.index.forget(old)
        except Unavailable as error:  # the disk's owner can act; they are forgotten next time
            _log.warning("Old Batch jobs are not forgotten: %s", error)
        self._later("prune", _PRUNE_SECONDS, self._prune)

    def _task_definition(self, task: EcsTask) -> Document:
        return self._ecs.store.definitions[task.document["taskDefinitionArn"]]

    def _queue_of(self, job: BatchJob) -> Document:
        return self._store.queues[job.submission.queue.rsplit("/", 1)[-1]]

    def _later(self, name: str, seconds: float, what: object) -> None:
        if not self._open:
            return
        if timer := self._timers.pop(name, None):
            timer.cancel()
        assert callable(what)
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, what)


def _said(terminating: bool) -> dict[str, bool]:
    """The member of a job that says who has ended it."""
    return {"terminated" if terminating else "cancelled": True}
