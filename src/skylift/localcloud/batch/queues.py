"""Batch's operations on job queues and their scheduling policies."""

# ruff: noqa: ARG002 - every operation takes caller and request (wire.provider)

from __future__ import annotations

from skylift.localcloud.batch.environments import FARGATE
from skylift.localcloud.batch.fair_share import check_policy
from skylift.localcloud.batch.operations import BatchOperations, Request
from skylift.localcloud.batch.shapes import (
    NAME,
    batch_arn,
    executing,
    merged_tags,
    milliseconds,
    name_of,
    page,
    refused,
)
from skylift.localcloud.batch.store import POLICY, QUEUE
from skylift.localcloud.ports import Document
from skylift.wire.provider import Caller

_HEALTHY = "JobQueue Healthy"
_UNSERVED = ("serviceEnvironmentOrder", "jobStateTimeLimitActions")
_MOST_ENVIRONMENTS = 3
_FRONT = 100


class QueueOperations(BatchOperations):
    """CreateJobQueue, UpdateJobQueue, DescribeJobQueues, DeleteJobQueue, GetJobQueueSnapshot."""

    def create_job_queue(self, caller: Caller, request: Request) -> Document:
        """Creates a queue; VALID at once."""
        name = request["jobQueueName"]
        if not NAME.fullmatch(name):
            raise executing("jobQueueName should match valid pattern")
        if name in self.store.queues:
            raise executing("Object already exists")
        order = self._order(request)
        document: Document = {
            "jobQueueName": name,
            "jobQueueArn": batch_arn(self.cloud, "job-queue", name),
            "state": request.get("state", "ENABLED"),
            "status": "VALID",
            "statusReason": _HEALTHY,
            "priority": _priority(request["priority"]),
            "computeEnvironmentOrder": order,
            "serviceEnvironmentOrder": [],
            "jobQueueType": self._kind(order),
            "tags": merged_tags({}, request.get("tags", {})),
            "jobStateTimeLimitActions": [],
        }
        if reference := request.get("schedulingPolicyArn"):
            document["schedulingPolicyArn"] = self.scheduling_policy(reference)["arn"]
        if request.get("jobQueueType", document["jobQueueType"]) != document["jobQueueType"]:
            raise executing(f"jobQueueType {request['jobQueueType']} does not match the compute environments.")
        self.store.save_thing(QUEUE, name, document)
        return {name: document[name] for name in ("jobQueueName", "jobQueueArn")}

    def update_job_queue(self, caller: Caller, request: Request) -> Document:
        """Changes state, priority, compute environments; replaces a scheduling policy. A disabled queue accepts no new
        jobs; those in it go on."""
        found = self.queue(request["jobQueue"])
        changed: Document = {name: request[name] for name in ("state", "priority") if name in request}
        _priority(changed.get("priority", 1))
        if "computeEnvironmentOrder" in request or any(request.get(name) for name in _UNSERVED):
            changed["computeEnvironmentOrder"] = order = self._order(request)
            if self._kind(order) != found["jobQueueType"]:
                raise executing("A queue cannot change between Fargate and EC2 compute environments.")
        if reference := request.get("schedulingPolicyArn"):
            if "schedulingPolicyArn" not in found:
                raise executing("A scheduling policy cannot be added to a job queue that was created without one.")
            changed["schedulingPolicyArn"] = self.scheduling_policy(reference)["arn"]
        self.store.save_thing(QUEUE, found["jobQueueName"], {**found, **changed})
        self.engine.capacity_changed()
        return {name: found[name] for name in ("jobQueueName", "jobQueueArn")}

    def describe_job_queues(self, caller: Caller, request: Request) -> Document:
        """Queues by name or ARN; without names, all of them; unknown ones are omitted."""
        names = [name_of(reference) for reference in request.get("jobQueues", ())]
        known = self.store.queues
        found = [known[name] for name in names if name in known] if names else [known[name] for name in sorted(known)]
        shown, more = page(found, request)
        return {"jobQueues": shown, **more}

    def delete_job_queue(self, caller: Caller, request: Request) -> Document:
        """Ends all its jobs, then disappears; must be disabled. An unknown one is not an error."""
        found = self.store.queues.get(name_of(request["jobQueue"]))
        if found is None:
            return {}
        if found["state"] != "DISABLED":
            raise executing("Cannot delete, state must be DISABLED")
        self.store.save_thing(QUEUE, found["jobQueueName"], found | {"status": "DELETING"})
        self.engine.ring()
        return {}

    def get_job_queue_snapshot(self, caller: Caller, request: Request) -> Document:
        """The first 100 runnable jobs."""
        arn = self.queue(request["jobQueue"])["jobQueueArn"]
        jobs = [
            {"jobArn": batch_arn(self.cloud, "job", job.id), "earliestTimeAtPosition": milliseconds(job.submission.at)}
            for job in self.engine.lines.front(arn, _FRONT)
        ]
        return {"frontOfQueue": {"jobs": jobs, "lastUpdatedAt": milliseconds(self.clock())}}

    def _order(self, request: Request) -> list[Document]:
        """``computeEnvironmentOrder`` with ARNs. Raises ``ClientException``."""
        for name in _UNSERVED:
            if request.get(name):
                raise refused(f"{name} is not supported by skylift's local cloud.")
        order = request.get("computeEnvironmentOrder", [])
        if not 1 <= len(order) <= _MOST_ENVIRONMENTS:
            raise executing(f"computeEnvironmentOrder must have 1 to {_MOST_ENVIRONMENTS} compute environments.")
        if len({item["order"] for item in order}) < len(order):
            raise executing("computeEnvironmentOrder: every order must be there once only.")
        arns = [self.environment(item["computeEnvironment"])["computeEnvironmentArn"] for item in order]
        if len(set(arns)) < len(arns):
            raise executing("computeEnvironmentOrder: every compute environment must be there once only.")
        return [{"order": item["order"], "computeEnvironment": arn} for item, arn in zip(order, arns, strict=True)]

    def _kind(self, order: list[Document]) -> str:
        kinds = {self.environment(item["computeEnvironment"])["computeResources"]["type"] in FARGATE for item in order}
        if len(kinds) > 1:
            raise executing("A queue cannot mix Fargate and EC2 compute environments.")
        return "ECS_FARGATE" if kinds.pop() else "ECS"


class SchedulingPolicyOperations(BatchOperations):
    """CreateSchedulingPolicy, UpdateSchedulingPolicy, DescribeSchedulingPolicies, ListSchedulingPolicies,
    DeleteSchedulingPolicy."""

    def create_scheduling_policy(self, caller: Caller, request: Request) -> Document:
        """Creates a fair-share policy."""
        name = request["name"]
        if not NAME.fullmatch(name):
            raise executing("Scheduling policy name should match valid pattern")
        if name in self.store.policies:
            raise executing("Object already exists")
        check_policy(request)
        document: Document = {
            "name": name,
            "arn": batch_arn(self.cloud, "scheduling-policy", name),
            "fairsharePolicy": {"shareDistribution": [], **request.get("fairsharePolicy", {})},
            "tags": merged_tags({}, request.get("tags", {})),
        }
        self.store.save_thing(POLICY, name, document)
        return {"name": name, "arn": document["arn"]}

    def update_scheduling_policy(self, caller: Caller, request: Request) -> Document:
        """Replaces the fair-share policy; its job queues follow it at once."""
        found = self.scheduling_policy(request["arn"])
        check_policy(request)
        if "fairsharePolicy" in request:
            changed = {"shareDistribution": [], **request["fairsharePolicy"]}
            self.store.save_thing(POLICY, found["name"], found | {"fairsharePolicy": changed})
            self.engine.ring()
        return {}

    def describe_scheduling_policies(self, caller: Caller, request: Request) -> Document:
        """Policies by ARN; unknown ones are omitted."""
        known, names = self.store.policies, [name_of(arn) for arn in request["arns"]]
        return {"schedulingPolicies": [known[name] for name in names if name in known]}

    def list_scheduling_policies(self, caller: Caller, request: Request) -> Document:
        """ARNs, by name."""
        found = [{"arn": one["arn"]} for _, one in sorted(self.store.policies.items())]
        shown, more = page(found, request)
        return {"schedulingPolicies": shown, **more}

    def delete_scheduling_policy(self, caller: Caller, request: Request) -> Document:
        """Forgets a policy that no job queue has. An unknown one is not an error."""
        found = self.store.policies.get(name_of(request["arn"]))
        if found is None:
            return {}
        users = [name for name, one in self.store.queues.items() if one.get("schedulingPolicyArn") == found["arn"]]
        if users:
            raise executing(f"Cannot delete, the scheduling policy is used by job queues: {', '.join(sorted(users))}")
        self.store.remove_thing(POLICY, found["name"])
        return {}


def _priority(priority: int) -> int:
    if not 0 <= priority <= 1000:
        raise executing("Job queue priority must be between 0 and 1000.")
    return priority
