"""The state of every Batch job: the one place that moves jobs, counts children, and knows who waits for whom."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping, Sequence

from skylift.core.clock import Clock
from skylift.localcloud.batch.fair_share import ShareLedger, ranked
from skylift.localcloud.batch.lifecycle import BATCH_JOB, ENDED, PLACED, JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.batch.shapes import name_of
from skylift.localcloud.batch.shown import described
from skylift.localcloud.batch.store import BatchStore
from skylift.localcloud.events import Events
from skylift.localcloud.ports import Change, CloudContext, Document


class JobIndex:
    """Jobs by state.

    Attributes:
        running: ECS task id to the job whose attempt it is.
        ended: jobs that have ended, but whose dependents do not know yet.
    """

    def __init__(self, cloud: CloudContext, store: BatchStore, clock: Clock, on_change: Change, events: Events) -> None:
        self.running: dict[str, BatchJob] = {}
        self.ended: deque[BatchJob] = deque()
        self._cloud = cloud
        self._store = store
        self._clock = clock
        self._on_change = on_change
        self._events = events
        self._states: dict[str, dict[JobState, dict[str, BatchJob]]] = {}
        self._dependents: dict[str, dict[str, BatchJob]] = {}
        self._used: dict[str, dict[str, float]] = {}
        self._shares = ShareLedger(clock)
        for job in store.jobs.values():
            self.add(job)

    def add(self, job: BatchJob) -> None:
        """Adds a job that the store has accepted."""
        self._of(job.submission.queue, job.status)[job.id] = job
        if not job.ended:
            for need in job.submission.needs:
                if "jobId" in need:
                    self._dependents.setdefault(need["jobId"], {})[job.id] = job

    def in_state(self, queue: str, state: JobState) -> list[BatchJob]:
        """Singles and arrays' parents of a queue (ARN), in no order."""
        return list(self._of(queue, state).values())

    def alive(self, queue: str) -> list[BatchJob]:
        """Those that have not ended."""
        return [job for state in JobState if state not in ENDED for job in self.in_state(queue, state)]

    def dependents(self, name: str) -> Iterable[BatchJob]:
        """Jobs that wait for the job with that id."""
        return list(self._dependents.get(name, {}).values())

    def awaited(self) -> set[str]:
        """Ids of singles and arrays for which, or for whose children, some job waits."""
        return {name.partition(":")[0] for name, waiting in self._dependents.items() if waiting}

    def forget(self, jobs: list[BatchJob]) -> None:
        """Removes ended jobs. Raises ``Unavailable``: then none is removed."""
        self._store.forget(jobs)
        for job in jobs:
            self._of(job.submission.queue, job.status).pop(job.id, None)

    def move(self, job: BatchJob, state: JobState, **members: object) -> None:
        """Sets the job's next state and the members that change with it; records and reports it."""
        before = job.status
        job.status = BATCH_JOB.move(before, state)
        for name, value in members.items():
            setattr(job, name, value)
        if job.index >= 0:
            self._count(self.array_of(job), before, state)
        else:
            self._of(job.submission.queue, before).pop(job.id, None)
            self._of(job.submission.queue, state)[job.id] = job
        if state not in PLACED:
            self._leave(job)
        if state in ENDED:
            job.stopped = self._clock()
            self._no_longer_waits(job)
            self.ended.append(job)
        self._store.note(job)
        self.tell(job)

    def tell(self, job: BatchJob) -> None:
        """Reports a job's present state: to the listener at once, to EventBridge with the next ``write``."""
        document = described(self._cloud, job, self.definition(job))
        self._store.note_events(self._events.of_batch_job(document))
        self._on_change("batch-job", document)

    def write(self) -> None:
        """Writes what has changed, in one transaction with its events. Raises ``Unavailable``: then it is written
        later."""
        self._store.flush()
        self._events.ring()

    def definition(self, job: BatchJob) -> Document:
        """The revision of the job definition that it was submitted with."""
        return self._store.definitions[job.submission.definition]

    def array_of(self, child: BatchJob) -> ArrayJob:
        """The parent of a child."""
        parent = self._store.jobs[child.submission.id]
        assert isinstance(parent, ArrayJob)
        return parent

    def adopt(self, child: BatchJob) -> BatchJob:
        """Gives a child that shares the state its own record; returns any other job unchanged."""
        if child.index < 0:
            return child
        array = self.array_of(child)
        if child.index not in array.children:
            array.children[child.index] = child
            array.counts[child.status] = array.counts.get(child.status, 0) + 1
        return array.children[child.index]

    def move_sharing(self, array: ArrayJob, state: JobState, reason: str = "") -> None:
        """Moves all children that share the state at once. Reports the end of each, but writes nothing for
        each."""
        if not array.sharing or array.rest in ENDED:
            return
        array.rest, array.rest_reason, array.summed = BATCH_JOB.move(array.rest, state), reason, self._clock()
        self._store.note(array)
        if state in ENDED:
            gone = [array.shared_child(index) for index in range(array.size) if index not in array.children]
            self.ended.extend(gone)
            for child in gone:
                self.tell(child)

    def take_capacity(self, job: BatchJob, vcpus: float) -> None:
        """The job uses capacity of its compute environment (``job.place``) and of the machine."""
        self.running[job.task] = job
        self._used.setdefault(job.place, {})[job.id] = vcpus
        self._shares.take(job.submission.queue, job.submission.share, vcpus)

    def used(self, environment: str) -> float:
        """vCPUs in use of a compute environment."""
        return sum(self._used.get(environment, {}).values())

    def turns(self, queue: str, oldest: Mapping[str, int]) -> Sequence[str]:
        """Share identifiers of a queue (ARN) in the order of their turns (``runnable_queue.Turns``)."""
        policy = self._policy_of(queue)
        return ranked({share: self._shares.used(queue, share, policy) for share in oldest}, oldest, policy)

    def _policy_of(self, queue: str) -> Document:
        """The ``fairsharePolicy`` of a queue; empty without one: then there is one share."""
        arn = self._store.queues[name_of(queue)].get("schedulingPolicyArn", "")
        return dict(self._store.policies[name_of(arn)]["fairsharePolicy"]) if arn else {}

    def _leave(self, job: BatchJob) -> None:
        self.running.pop(job.task, None)
        vcpus = self._used.get(job.place, {}).pop(job.id, 0.0)
        self._shares.leave(job.submission.queue, job.submission.share, vcpus)
        job.task = job.place = ""

    def _no_longer_waits(self, job: BatchJob) -> None:
        if job.index < 0:
            for name in {need.get("jobId", "") for need in job.submission.needs}:
                waiting = self._dependents.get(name, {})
                waiting.pop(job.id, None)
                if not waiting:
                    self._dependents.pop(name, None)

    def _count(self, array: ArrayJob, before: JobState, after: JobState) -> None:
        array.counts[before] -= 1
        array.counts[after] = array.counts.get(after, 0) + 1
        array.summed = self._clock()

    def _of(self, queue: str, state: JobState) -> dict[str, BatchJob]:
        return self._states.setdefault(queue, {}).setdefault(state, {})
