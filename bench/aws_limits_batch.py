"""AWS Batch of the bench's AWS: SubmitJob (single and arrays), DescribeJobs, ListJobs, TerminateJob, with Batch's
limits."""

from __future__ import annotations

import fnmatch
import json
from collections.abc import Callable
from typing import Any

from bench.aws_limits_account import Account, Container
from bench.aws_limits_ecs import ACCOUNT_ID, REGION

from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

QUEUE, DEFINITION = "bench", "airflow"
MOST_PAYLOAD = 30 * 1024
MOST_CHILDREN = 10_000
MOST_DESCRIBED = 100

Asked = dict[str, Any]


class Batch:
    """The provider. Accounts are found by access key."""

    service = "batch"
    blocking = False

    def __init__(self, account_of: Callable[[str], Account]) -> None:
        self._account_of = account_of

    async def submit_job(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        if request["jobQueue"].rpartition("/")[2] != QUEUE:
            raise AwsError("ClientException", f"JobQueue {request['jobQueue']} not found.")
        if request["jobDefinition"].rpartition("/")[2].partition(":")[0] != DEFINITION:
            raise AwsError("ClientException", "Job definition not found.")
        if len(json.dumps(request, default=str)) > MOST_PAYLOAD:
            raise AwsError("ClientException", "Payload size exceeds the maximum of 30 KiB.")
        digits = account.next_id()
        ref = f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
        size = (request.get("arrayProperties") or {}).get("size")
        if size is None:
            account.make(ref, _identity(account, request, 0), request)
        elif not 2 <= size <= MOST_CHILDREN:
            raise AwsError("ClientException", f"Array size must be between 2 and {MOST_CHILDREN}.")
        else:
            children = [
                account.make(f"{ref}:{index}", _identity(account, request, index), request, index=index, parent=ref)
                for index in range(size)
            ]
            parent = account.make(ref, "", request, children=children)
            parent.seen = float("inf")  # not a container
        await account.hold("batch SubmitJob")
        return {"jobArn": arn_of(ref), "jobName": request["jobName"], "jobId": ref}

    def describe_jobs(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        if len(request["jobs"]) > MOST_DESCRIBED:
            raise AwsError("ClientException", f"jobs must have at most {MOST_DESCRIBED} entries.")
        now, found = account.clock(), []
        for ref in request["jobs"]:
            one = account.containers.get(ref.rpartition("/")[2])
            if one is not None:
                one.seen = max(one.seen, now)
                found.append(document(one, now))
        return {"jobs": found}

    def list_jobs(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        now, most = account.clock(), request.get("maxResults", 100 if request.get("filters") else 1000)
        found = [one for one in account.containers.values() if _listed(one, request, now)]
        start = int(request.get("nextToken") or 0)
        more = {"nextToken": str(start + most)} if start + most < len(found) else {}
        return {"jobSummaryList": [_summary(one, now) for one in found[start : start + most]], **more}

    def terminate_job(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        self._end(account, request["jobId"], request["reason"], also_running=True)
        return {}

    def cancel_job(self, caller: Caller, request: Asked) -> Asked:
        account = self._account_of(caller.access_key)
        self._end(account, request["jobId"], request["reason"], also_running=False)
        return {}

    def describe_job_queues(self, _caller: Caller, _request: Asked) -> Asked:
        arn = f"arn:aws:batch:{REGION}:{ACCOUNT_ID}:job-queue/{QUEUE}"
        queue = {"jobQueueName": QUEUE, "jobQueueArn": arn, "state": "ENABLED", "status": "VALID", "priority": 1}
        return {"jobQueues": [{**queue, "computeEnvironmentOrder": []}]}

    def describe_job_definitions(self, _caller: Caller, _request: Asked) -> Asked:
        arn = f"arn:aws:batch:{REGION}:{ACCOUNT_ID}:job-definition/{DEFINITION}:1"
        shown = {"jobDefinitionName": DEFINITION, "jobDefinitionArn": arn, "revision": 1, "type": "container"}
        return {"jobDefinitions": [{**shown, "status": "ACTIVE", "containerProperties": {"image": "airflow"}}]}

    def _end(self, account: Account, ref: str, reason: str, *, also_running: bool) -> None:
        one = account.containers.get(ref)
        now = account.clock()
        for each in one.extra.get("children", [one]) if one else []:
            state = each.state(now)
            if state == "waiting" or (state == "running" and also_running):
                each.end(now, exit_code=143 if state == "running" else None, stopped=reason)
                account.changed(each)


def _identity(account: Account, request: Asked, index: int) -> str:
    own = request.get("containerOverrides") or {}
    return account.identity(own.get("command") or [], own.get("environment") or [], index)


def arn_of(ref: str) -> str:
    """The ARN of a Batch job or child."""
    return f"arn:aws:batch:{REGION}:{ACCOUNT_ID}:job/{ref}"


def status(one: Container, now: float) -> str:
    """Batch's word for where it is. An array is as its children are."""
    if children := one.extra.get("children"):
        states = {status(child, now) for child in children}
        if states <= {"SUCCEEDED", "FAILED"}:
            return "FAILED" if "FAILED" in states else "SUCCEEDED"
        return "PENDING"
    state = one.state(now)
    if state == "waiting":
        return "SUBMITTED" if now < one.created + one.plan.waiting / 4 else "RUNNABLE"
    if state == "running":
        return "RUNNING"
    return "SUCCEEDED" if one.began and one.plan.exit_code == 0 else "FAILED"


def document(one: Container, now: float) -> dict[str, Any]:
    """The Batch job as DescribeJobs shows it. Kept until its status changes; that of an array is counted each time."""
    word = status(one, now)
    if one.extra.get("shown", (None,))[0] != word or "children" in one.extra:
        one.extra["shown"] = word, _document(one, word, now)
    shown: dict[str, Any] = one.extra["shown"][1]
    return shown


def _document(one: Container, word: str, now: float) -> dict[str, Any]:
    own = one.request.get("containerOverrides") or {}
    container: dict[str, Any] = {"image": "airflow", "command": own.get("command", [])}
    container |= {"environment": own.get("environment", []), "logStreamName": f"airflow/default/{one.ref}"}
    shown: dict[str, Any] = {
        "jobId": one.ref,
        "jobArn": arn_of(one.ref),
        "jobName": one.request["jobName"],
        "jobQueue": f"arn:aws:batch:{REGION}:{ACCOUNT_ID}:job-queue/{QUEUE}",
        "jobDefinition": f"arn:aws:batch:{REGION}:{ACCOUNT_ID}:job-definition/{DEFINITION}:1",
        "status": word,
        "createdAt": int(one.created * 1000),
        "startedAt": 0,
        "container": container,
        "attempts": [],
        "tags": one.request.get("tags", {}),
        "parameters": one.request.get("parameters", {}),
    }
    if word == "RUNNING" or (one.began and word in {"SUCCEEDED", "FAILED"}):
        shown["startedAt"] = int(one.starts * 1000)
    else:
        del shown["startedAt"]
    if word in {"SUCCEEDED", "FAILED"}:
        shown |= {"stoppedAt": int(min(one.stops, now) * 1000), "statusReason": one.plan.stopped}
        if one.began and one.plan.exit_code is not None:
            container["exitCode"] = one.plan.exit_code
        if one.plan.reason:
            container["reason"] = one.plan.reason
        attempt = {"container": {key: container[key] for key in ("exitCode", "reason") if key in container}}
        shown["attempts"] = [{**attempt, "stoppedAt": shown["stoppedAt"], "statusReason": one.plan.stopped}]
    return {**shown, **_array(one, now)}


def _array(one: Container, now: float) -> dict[str, Any]:
    if "index" in one.extra:
        return {"arrayProperties": {"index": one.extra["index"]}}
    if "children" not in one.extra:
        return {}
    summary: dict[str, int] = {}
    for child in one.extra["children"]:
        word = status(child, now)
        summary[word] = summary.get(word, 0) + 1
    return {"arrayProperties": {"size": len(one.extra["children"]), "statusSummary": summary}}


def _listed(one: Container, request: Asked, now: float) -> bool:
    if "jobName" not in one.request:
        return False
    parent = request.get("arrayJobId")
    wanted = one.extra.get("parent") == parent if parent else "parent" not in one.extra
    for condition in request.get("filters") or []:
        if condition["name"] == "JOB_NAME":
            wanted = wanted and any(fnmatch.fnmatchcase(one.request["jobName"], value) for value in condition["values"])
    if not request.get("filters"):
        return wanted and status(one, now) == request.get("jobStatus", "RUNNING")
    return wanted


def _summary(one: Container, now: float) -> dict[str, Any]:
    whole = document(one, now)
    taken = ("jobId", "jobArn", "jobName", "status", "createdAt", "startedAt", "stoppedAt", "statusReason")
    return {key: whole[key] for key in (*taken, "arrayProperties") if key in whole}
