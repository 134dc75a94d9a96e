"""Targets of EventBridge's rules and of schedules that ministack does not know: an ECS task, a Batch job, a log group.

All deliveries of rules, cron and rate expressions, and schedules go through one function of ministack, which this
replaces. A delivery that fails goes to the target's dead-letter queue, if it has one, and is counted in CloudWatch
(``AWS/Events``, ``FailedInvocations``). Like ``ministack.py``, this file depends on ministack's internals.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import re
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from skylift.core.errors import SkyliftError
from skylift.localcloud.emulators.ministack import Ministack
from skylift.localcloud.logs.provider import ContainerLogs
from skylift.localcloud.ports import Measured
from skylift.wire.asgi import Answer, Head
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller, Provider
from skylift.wire.service import ServiceEntry

OURS = frozenset({"ecs", "batch", "logs"})
_ECS, _JSON = "AmazonEC2ContainerServiceV20141113", "application/x-amz-json-1.1"
_UNIVERSAL = re.compile(r"arn:aws[\w-]*:scheduler:::aws-sdk:(ecs|batch):(\w+)")
"""A schedule's target that is any operation of a service; its input is the request."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Delivery:
    """One delivery to a target.

    Attributes:
        target: as PutTargets or CreateSchedule got it.
        payload: what it gets, JSON.
        given: whether the target says what (Input, InputPath, InputTransformer); else it is the event.
        event: the event's id.
        source: the rule's or the schedule's name, with the prefix that AWS puts into ``startedBy``.
    """

    target: Mapping[str, Any]
    payload: str
    given: bool
    event: str
    source: str


class TargetStarter:
    """Starts what the targets name."""

    def __init__(self, ministack: Ministack, logs: ContainerLogs, caller: Caller) -> None:
        self._ministack = ministack
        self._logs = logs
        self._caller = caller
        self._entries: dict[str, ServiceEntry] = {}
        self._running: set[asyncio.Task[None]] = set()

    def serve(self, providers: Sequence[Provider]) -> None:
        """Which providers start ECS tasks and Batch jobs."""
        self._entries = {one.service: ServiceEntry(one) for one in providers if one.service in OURS}

    def install(self) -> None:
        """Replaces ministack's function. On the event loop."""
        bridge, loop = self._ministack.service("eventbridge"), asyncio.get_running_loop()
        theirs: Callable[..., None] = bridge._invoke_target

        def invoke(target: dict[str, Any], event: dict[str, Any], rule: dict[str, Any], view: Any = None) -> None:
            if _service(target) not in OURS and not _UNIVERSAL.fullmatch(str(target.get("Arn", ""))):
                theirs(target, event, rule, view)
                return
            view = view or bridge._pattern_event_view(event)
            payload, given = _payload(bridge, target, rule, view)
            scheduled = event.get("Source") == "aws.scheduler"
            source = f"{'chronos-schedule' if scheduled else 'events-rule'}/{rule.get('Name', '')}"
            made = Delivery(target, payload, given, str(event.get("EventId", uuid.uuid4())), source)
            loop.call_soon_threadsafe(self._begin, made)

        bridge._invoke_target = invoke

    def _begin(self, made: Delivery) -> None:
        task = asyncio.ensure_future(self._deliver(made))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _deliver(self, made: Delivery) -> None:
        failure = ""
        try:
            await self._start(made)
        except (SkyliftError, AwsError, ValueError, KeyError, TypeError, AttributeError) as error:
            failure = str(error) or type(error).__name__
            _log.warning("%s: target %s failed: %s", made.source, made.target.get("Arn"), failure)
        name = "FailedInvocations" if failure else "Invocations"
        dimensions = {"RuleName": made.source.partition("/")[2]}
        with contextlib.suppress(OSError):
            self._ministack.put_metrics([Measured("AWS/Events", name, 1.0, "Count", dimensions)])
        queue = (made.target.get("DeadLetterConfig") or {}).get("Arn", "")
        if failure and queue:
            bridge = self._ministack.service("eventbridge")
            with self._ministack.scope():
                bridge._dispatch_to_sqs(bridge.parse_arn(queue), made.payload)

    async def _start(self, made: Delivery) -> None:
        service = _service(made.target)
        if universal := _UNIVERSAL.fullmatch(str(made.target["Arn"])):
            await self._ask(universal[1], universal[2], _camel(json.loads(made.payload)) if made.given else {})
        elif service == "logs":
            self._write(made)
        elif service == "ecs":
            await self._ask("ecs", "runTask", run_task_of(made))
        else:
            await self._ask("batch", "submitJob", submit_job_of(made))

    async def _ask(self, service: str, operation: str, request: Mapping[str, Any]) -> None:
        if service not in self._entries:
            raise ValueError(f"{service} does not run here")
        name = operation[:1].upper() + operation[1:]
        if service == "ecs":
            head = Head("POST", "/", "", {"x-amz-target": f"{_ECS}.{name}", "content-type": _JSON})
        else:
            head = Head("POST", f"/v1/{name.lower()}", "", {"content-type": "application/json"})
        answer = await self._entries[service].answer(
            head, json.dumps(request).encode(), self._caller, str(uuid.uuid4())
        )
        body: dict[str, Any] = json.loads(answer.body) if isinstance(answer, Answer) else {}
        if not isinstance(answer, Answer) or answer.status >= 400:
            raise ValueError(str(body.get("message", body)))
        if body.get("failures"):
            raise ValueError(json.dumps(body["failures"]))

    def _write(self, made: Delivery) -> None:
        group = str(made.target["Arn"]).split(":log-group:", 1)[-1].removesuffix(":*")
        self._logs.prepare(group, made.event, create_group=False)
        self._logs.put(group, made.event, [{"timestamp": int(time.time() * 1000), "message": made.payload}])


def run_task_of(made: Delivery) -> dict[str, Any]:
    """The RunTask request of a target with ``EcsParameters``. An input is the overrides."""
    told = _camel(made.target["EcsParameters"])
    request = {
        "cluster": made.target["Arn"],
        "taskDefinition": told.pop("taskDefinitionArn"),
        "count": told.pop("taskCount", 1),
        "startedBy": made.source[:128],
        "overrides": json.loads(made.payload) if made.given else None,
        "enableECSManagedTags": told.pop("enableECSManagedTags", None),
        **{name: value for name, value in told.items() if value is not None},
    }
    return {name: value for name, value in request.items() if value is not None}


def submit_job_of(made: Delivery) -> dict[str, Any]:
    """The SubmitJob request of a target with ``BatchParameters``. An input has overrides and parameters."""
    told = _camel(made.target["BatchParameters"])
    given = _camel(json.loads(made.payload)) if made.given else {}
    return {
        "jobQueue": made.target["Arn"],
        **{
            name: told[name]
            for name in ("jobDefinition", "jobName", "arrayProperties", "retryStrategy")
            if name in told
        },
        **{name: given[name] for name in ("containerOverrides", "parameters") if name in given},
    }


def _payload(bridge: Any, target: Mapping[str, Any], rule: Mapping[str, Any], view: Any) -> tuple[str, bool]:
    """What a target gets, and whether it says so itself."""
    if target.get("InputTransformer"):
        return str(bridge._apply_input_transformer(target["InputTransformer"], rule, view)), True
    if target.get("Input"):
        return str(target["Input"]), True
    value: Any = view.event_with_detail()
    if not target.get("InputPath"):
        return json.dumps(value), False
    for part in str(target["InputPath"]).strip("$.").split("."):
        if part and isinstance(value, Mapping) and part in value:
            value = value[part]
    return json.dumps(value), True


def _service(target: Mapping[str, Any]) -> str:
    parts = str(target.get("Arn", "")).split(":")
    return parts[2] if len(parts) > 5 else ""


def _camel(value: Any) -> Any:
    """The members of EventBridge's parameters, named as in the services' own requests."""
    if isinstance(value, list):
        return [_camel(one) for one in value]
    if not isinstance(value, Mapping):
        return value
    return {name if name.isupper() else name[:1].lower() + name[1:]: _camel(one) for name, one in value.items()}
