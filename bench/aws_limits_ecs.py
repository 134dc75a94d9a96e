"""ECS of the bench's AWS: what executors call, with ECS's rules for client tokens, sizes and lists."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from bench.aws_limits_account import Account, Container

from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

ACCOUNT_ID, REGION = "000000000000", "us-east-1"
CLUSTER, DEFINITION, CONTAINER = "bench", "airflow", "airflow"
CLUSTER_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}:cluster/{CLUSTER}"
DEFINITION_ARN = f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}:task-definition/{DEFINITION}:1"
MOST_OVERRIDES = 8192
MOST_DESCRIBED = 100

Asked = dict[str, Any]


class Ecs:
    """The provider. Accounts are found by access key."""

    service = "ecs"
    blocking = False

    def __init__(self, account_of: Callable[[str], Account]) -> None:
        self._account_of = account_of

    async def run_task(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        _check_cluster(request)
        if request["taskDefinition"].rpartition("/")[2].partition(":")[0] != DEFINITION:
            raise AwsError("ClientException", "TaskDefinition not found.")
        if len(json.dumps(request.get("overrides", {}), separators=(",", ":"))) > MOST_OVERRIDES:
            text = f"Container Overrides length must be at most {MOST_OVERRIDES}"
            raise AwsError("InvalidParameterException", text)
        token, count = request.get("clientToken", ""), request.get("count", 1)
        essence = json.dumps({key: request[key] for key in sorted(request) if key != "tags"}, sort_keys=True)
        if token in account.tokens:
            known, first = account.tokens[token]
            first.seen = account.clock()
            if known != essence:
                members = {"resourceIds": [first.ref]}
                raise AwsError("ConflictException", "The client token was used with other parameters.", 400, members)
            return {"tasks": [document(first, account.clock())], "failures": []}
        made = [self._make(account, request) for _ in range(count)]
        if token:
            account.tokens[token] = essence, made[0]
        now = account.clock()
        await account.hold("ecs RunTask")
        return {"tasks": [document(one, now) for one in made], "failures": []}

    def describe_tasks(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        _check_cluster(request)
        if len(request["tasks"]) > MOST_DESCRIBED:
            raise AwsError("InvalidParameterException", f"Tasks cannot be more than {MOST_DESCRIBED}.")
        now, tasks, failures = account.clock(), [], []
        for ref in request["tasks"]:
            one = account.containers.get(arn_of(ref))
            if one is None:
                failures.append({"arn": arn_of(ref), "reason": "MISSING"})
            else:
                one.seen = now
                tasks.append(document(one, now))
        return {"tasks": tasks, "failures": failures}

    def list_tasks(self, caller: Caller, request: Asked) -> Asked:
        account, now = self._account_of(caller.access_key), self._account_of(caller.access_key).clock()
        _check_cluster(request)
        wanted = request.get("desiredStatus", "RUNNING")
        started_by = request.get("startedBy")
        if started_by is not None and request.keys() & {"family", "serviceName", "containerInstance", "launchType"}:
            raise AwsError("InvalidParameterException", "startedBy cannot be combined with another filter.")
        refs = [
            one.ref
            for one in account.containers.values()
            if (started_by is None or one.request.get("startedBy") == started_by)
            and (one.state(now) == "stopped") == (wanted == "STOPPED")
        ]
        start, size = int(request.get("nextToken") or 0), request.get("maxResults", 100)
        more = {"nextToken": str(start + size)} if start + size < len(refs) else {}
        return {"taskArns": refs[start : start + size], **more}

    def stop_task(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        _check_cluster(request)
        one = account.containers.get(arn_of(request["task"]))
        if one is None:
            raise AwsError("InvalidParameterException", "The referenced task was not found.")
        now = account.clock()
        one.seen = now
        if one.state(now) != "stopped":
            code = 143 if one.state(now) == "running" else None
            one.end(now, exit_code=code, stop_code="UserInitiated", stopped=request.get("reason", ""))
            account.changed(one)
        return {"task": document(one, now)}

    def describe_clusters(self, _caller: Caller, request: Asked) -> Asked:
        wanted = request.get("clusters") or ["default"]
        known = [one for one in wanted if one.rpartition("/")[2] == CLUSTER]
        shown = {"clusterArn": CLUSTER_ARN, "clusterName": CLUSTER, "status": "ACTIVE"}
        missing = [{"arn": one, "reason": "MISSING"} for one in wanted if one not in known]
        return {"clusters": [{**shown, "defaultCapacityProviderStrategy": []} for _ in known], "failures": missing}

    def describe_task_definition(self, _caller: Caller, request: Asked) -> Asked:
        if request["taskDefinition"].rpartition("/")[2].partition(":")[0] != DEFINITION:
            raise AwsError("ClientException", "Unable to describe task definition.")
        container = {"name": CONTAINER, "image": "airflow", "essential": True}
        shown = {"taskDefinitionArn": DEFINITION_ARN, "family": DEFINITION, "revision": 1, "status": "ACTIVE"}
        return {"taskDefinition": {**shown, "containerDefinitions": [container], "cpu": "256", "memory": "512"}}

    def _make(self, account: Account, request: Asked) -> Container:
        own = next(iter((request.get("overrides") or {}).get("containerOverrides") or []), {})
        name = account.identity(own.get("command") or [], own.get("environment") or [])
        return account.make(arn_of(account.next_id()), name, request)


def arn_of(ref: str) -> str:
    """The ARN of an ECS task's ARN or id."""
    return ref if ref.startswith("arn:") else f"arn:aws:ecs:{REGION}:{ACCOUNT_ID}:task/{CLUSTER}/{ref}"


def status(one: Container, now: float) -> tuple[str, int]:
    """ECS's word for where it is, and the version, which grows with each."""
    state = one.state(now)
    if state == "waiting":
        return ("PROVISIONING", 1) if now < one.created + one.plan.waiting / 2 else ("PENDING", 2)
    return ("RUNNING", 3) if state == "running" else ("STOPPED", 4)


def document(one: Container, now: float) -> dict[str, Any]:
    """The ECS task as DescribeTasks shows it. Kept until its status changes."""
    word, version = status(one, now)
    if one.extra.get("shown", (None,))[0] != version:
        one.extra["shown"] = version, _document(one, word, version)
    shown: dict[str, Any] = one.extra["shown"][1]
    return shown


def _document(one: Container, word: str, version: int) -> dict[str, Any]:
    container: dict[str, Any] = {
        "containerArn": f"{one.ref}/c",
        "name": CONTAINER,
        "taskArn": one.ref,
        "lastStatus": word,
    }
    shown: dict[str, Any] = {
        "taskArn": one.ref,
        "clusterArn": CLUSTER_ARN,
        "taskDefinitionArn": DEFINITION_ARN,
        "lastStatus": word,
        "desiredStatus": "STOPPED" if word == "STOPPED" else "RUNNING",
        "createdAt": when(one.created),
        "version": version,
        "launchType": one.request.get("launchType", "FARGATE"),
        "capacityProviderName": "FARGATE",
        "startedBy": one.request.get("startedBy"),
        "group": f"family:{DEFINITION}",
        "overrides": one.request.get("overrides", {}),
        "tags": one.request.get("tags", []),
        "containers": [container],
    }
    if word == "RUNNING" or (word == "STOPPED" and one.began):
        shown["startedAt"] = when(one.starts)
    if word == "STOPPED":
        shown |= {"stoppedAt": when(one.stops), "stopCode": one.plan.stop_code, "stoppedReason": one.plan.stopped}
        if one.began and one.plan.exit_code is not None:
            container["exitCode"] = one.plan.exit_code
        if one.plan.reason:
            container["reason"] = one.plan.reason
    return shown


def when(seconds: float) -> datetime:
    """A time as the wire takes it."""
    return datetime.fromtimestamp(seconds, UTC)


def _check_cluster(request: Mapping[str, Any]) -> None:
    if request.get("cluster", "default").rpartition("/")[2] != CLUSTER:
        raise AwsError("ClusterNotFoundException", "Cluster not found.")
