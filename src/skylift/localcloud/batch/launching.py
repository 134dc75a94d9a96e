"""Starts attempts: decides who is next and where, makes their ECS tasks, and passes them to ECS so that none is lost or
doubled.

The order makes it safe: first the job's record names its ECS task (one transaction), then ECS accepts that ECS task
(another). After a crash in between, the ECS task is unknown, and the job is runnable as before.
"""

from __future__ import annotations

from collections.abc import Iterator

from skylift.core.errors import Unavailable
from skylift.core.names import arn
from skylift.localcloud.batch.containers import ecs_overrides, ecs_request, ecs_tags, effective, on_fargate, size_of
from skylift.localcloud.batch.dependencies import Room, room_for
from skylift.localcloud.batch.job_index import JobIndex
from skylift.localcloud.batch.lifecycle import JobState
from skylift.localcloud.batch.model import ArrayJob, BatchJob
from skylift.localcloud.batch.runnable_queue import RunnableQueue
from skylift.localcloud.batch.store import DEFINITION, BatchStore
from skylift.localcloud.ecs.api.provider import EcsProvider
from skylift.localcloud.ecs.model.lifecycle import TaskState
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.make import TaskRequest
from skylift.localcloud.ports import Capacity, Document
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

CANNOT_EVER_RUN = (
    "MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - The job needs more vCPUs than the maxvCpus of any "
    "compute environment of its queue."
)


class JobLauncher:
    """Compares the queues with what is free: vCPUs of compute environments, and slots of the machine
    (``ecs.tasks.slots``).

    Attributes:
        refused: whether there was no capacity for a queue at the last ``launch``.
    """

    def __init__(
        self, ecs: EcsProvider, store: BatchStore, index: JobIndex, lines: RunnableQueue, capacity: Capacity
    ) -> None:
        self._capacity = capacity
        self.refused = False
        self._ecs = ecs
        self._store = store
        self._index = index
        self._lines = lines

    def launch(self) -> None:
        """Starts as many attempts as fit.

        Raises:
            Unavailable: the disk cannot take it; the jobs are runnable as before.
        """
        started: list[tuple[BatchJob, EcsTask]] = []
        self.refused = False
        free = self._free()
        while len(started) < free and (found := self._next()):
            queue, job, compute_environment, vcpus = found
            job = self._index.adopt(job)
            try:
                task = self._make(queue, job, compute_environment)
            except AwsError as error:  # the owner of the job can act: statusReason says what ECS refuses
                self._index.move(job, JobState.FAILED, reason=error.message)
                continue
            arn_of_task = {"taskArn": task.document["taskArn"]}
            self._index.move(
                job, JobState.STARTING, task=task.id, place=compute_environment, container=arn_of_task, reason=""
            )
            self._index.take_capacity(job, vcpus)
            started.append((job, task))
        if started:
            self._hand_over(started)

    def size(self, job: BatchJob) -> float:
        """vCPUs that a job takes."""
        return size_of(effective(self._index.definition(job), job.submission.request)).vcpus

    def _free(self) -> int:
        """Slots of the machine, without those that attempts which were just started will take."""
        known = self._ecs.store.tasks
        coming = (name for name in self._index.running if known[name].state is TaskState.PROVISIONING)
        return self._ecs.engine.slots.free - sum(1 for _ in coming)

    def _next(self) -> tuple[Document, BatchJob, str, float] | None:
        passed = True
        while passed:  # whoever was behind one that stepped aside is a head now
            passed = False
            for queue, job in self._heads():
                vcpus = self.size(job)
                compute_environment = room_for(queue, vcpus, self._store.environments, self._index.used)
                if isinstance(compute_environment, str):
                    return queue, job, compute_environment, vcpus
                if compute_environment is Room.NEVER:
                    self._aside(queue, job)
                    passed = True
        return None

    def _heads(self) -> Iterator[tuple[Document, BatchJob]]:
        for queue, job in self._lines.by_priority(self._store.queues.values()):
            if self._capacity.has_room("batch", queue["jobQueueName"]):
                yield queue, job
            else:
                self.refused = True

    def _aside(self, queue: Document, job: BatchJob) -> None:
        """It cannot run anywhere: records that, and lets others pass."""
        self._lines.step_aside(queue["jobQueueArn"])
        shown = self._store.jobs[job.submission.id] if job.index >= 0 else job
        if isinstance(shown, ArrayJob):
            shown.rest_reason = CANNOT_EVER_RUN
        shown.reason = CANNOT_EVER_RUN
        self._store.note(shown)
        self._index.tell(shown)

    def _hand_over(self, started: list[tuple[BatchJob, EcsTask]]) -> None:
        try:
            self._index.write()
            self._ecs.engine.launch([task for _, task in started])
        except (Unavailable, AwsError) as error:
            for job, _ in started:
                self._index.move(job, JobState.RUNNABLE, container={})
                self._lines.enter(job)
            if isinstance(error, AwsError):  # ECS is shutting down: the next start continues
                raise Unavailable(error.message) from error
            raise

    def _make(self, queue: Document, job: BatchJob, compute_environment: str) -> EcsTask:
        definition = self._index.definition(job)
        environment = self._store.environments[compute_environment]
        overrides = ecs_overrides(definition, job, queue["jobQueueName"], compute_environment)
        task_definition = self._task_definition(definition)
        request = {**_where(environment, definition), "overrides": overrides, "startedBy": job.submission.id}
        tags = ecs_tags(definition, job.submission)
        order = TaskRequest(
            task_definition, environment["ecsClusterArn"], request, f"family:{task_definition['family']}", tags=tags
        )
        return self._ecs.maker.make(order, 1)[0]

    def _task_definition(self, definition: Document) -> Document:
        """The ECS task definition of a job definition's revision; registered when first needed."""
        known = self._ecs.store.definitions.get(definition.get("ecsTaskDefinition", ""))
        if known is not None:
            return known
        cloud = self._ecs.cloud
        batch = Caller("", arn("iam", "", cloud.account, "role/AWSServiceRoleForBatch"), cloud.account, cloud.region)
        answer = self._ecs.register_task_definition(batch, ecs_request(definition, cloud.region))
        definition["ecsTaskDefinition"] = answer["taskDefinition"]["taskDefinitionArn"]
        self._store.save_thing(DEFINITION, definition["jobDefinitionArn"], definition)
        return self._ecs.store.definitions[definition["ecsTaskDefinition"]]


def _where(environment: Document, definition: Document) -> Document:
    """RunTask's members that say where: launch type or Spot, and the network."""
    resources = environment["computeResources"]
    network = {"subnets": resources.get("subnets", []), "securityGroups": resources.get("securityGroupIds", [])}
    if not on_fargate(definition):
        return {"launchType": "EC2"}
    said: Document = {"networkConfiguration": {"awsvpcConfiguration": network}}
    if resources["type"] == "FARGATE_SPOT":
        return {**said, "capacityProviderStrategy": [{"capacityProvider": "FARGATE_SPOT"}]}
    return {**said, "launchType": "FARGATE"}
