"""The ECS agent's endpoint in a container: task protection without the SDK.

Source: developer guide, "Amazon ECS task scale-in protection endpoint". ``ECS_AGENT_URI`` cannot be guessed, so that a
container can only speak for itself. The answer is what UpdateTaskProtection says of the one ECS task.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Protocol

from skylift.core.errors import SkyliftError
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.launch import AGENT
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.asgi import Answer, BodyTooLong, Receive, Scope, Send, read_body, send_answer
from skylift.wire.errors import AwsError
from skylift.wire.provider import Caller

_MOST_BYTES = 64 * 1024
_PROTECTION = "task-protection/v1/state"


class ProtectsTasks(Protocol):
    """The two operations that the agent calls."""

    def update_task_protection(self, caller: Caller, request: dict[str, Any]) -> Document: ...

    def get_task_protection(self, caller: Caller, request: dict[str, Any]) -> Document: ...


class AgentEndpoint:
    """``GET`` and ``PUT {ECS_AGENT_URI}/task-protection/v1/state``."""

    def __init__(self, cloud: CloudContext, store: EcsStore, operations: ProtectsTasks) -> None:
        self._cloud = cloud
        self._store = store
        self._operations = operations

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI app."""
        runtime_id, _, rest = scope["path"].removeprefix(AGENT + "/").partition("/")
        task = self._store.tasks.get(runtime_id.partition("-")[0])
        known = task is not None and any(c["runtimeId"] == runtime_id for c in task.document["containers"])
        if task is None or not known or rest != _PROTECTION or scope["method"] not in {"GET", "PUT"}:
            await _send(send, 404, {"error": {"Code": "NotFound", "Message": "Not served here."}})
            return
        try:
            wanted = json.loads(await read_body(receive, _MOST_BYTES)) if scope["method"] == "PUT" else None
            answer = self._answer(task, wanted)  # ECS's operations belong to the loop
        except (ValueError, BodyTooLong):
            await _send(send, 400, _error(task, "InvalidParameterException", "The body must be a JSON object."))
        except AwsError as error:
            await _send(send, error.status, _error(task, error.code, error.message))
        except SkyliftError as error:
            await _send(send, 500, _error(task, "ServerException", str(error)))
        else:
            await _send(send, 200, answer)

    def _answer(self, task: EcsTask, wanted: Any) -> Document:
        arn = str(task.document["taskArn"])
        caller = Caller("", arn, self._cloud.account, self._cloud.region)
        request: dict[str, Any] = {"cluster": task.document["clusterArn"], "tasks": [arn]}
        if wanted is None:
            told = self._operations.get_task_protection(caller, request)
        else:
            if not isinstance(wanted, dict) or not isinstance(wanted.get("ProtectionEnabled"), bool):
                raise AwsError("InvalidParameterException", "ProtectionEnabled must be true or false.")
            minutes = wanted.get("ExpiresInMinutes")
            if minutes is not None and not isinstance(minutes, int):
                raise AwsError("InvalidParameterException", "ExpiresInMinutes must be a whole number.")
            more = {} if minutes is None else {"expiresInMinutes": minutes}
            told = self._operations.update_task_protection(
                caller, {**request, "protectionEnabled": wanted["ProtectionEnabled"], **more}
            )
        if told["failures"]:
            failure = told["failures"][0]
            return {
                "failure": {"Arn": arn, "Reason": failure["reason"], "Detail": failure.get("detail")},
            }
        (protected,) = told["protectedTasks"]
        expires = protected.get("expirationDate")
        return {
            "protection": {
                "TaskArn": arn,
                "ProtectionEnabled": protected["protectionEnabled"],
                "ExpirationDate": None if expires is None else _time(expires),
            }
        }


def _time(moment: Any) -> str:
    seconds = moment.timestamp() if isinstance(moment, datetime) else float(moment)
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _error(task: EcsTask, code: str, message: str) -> Document:
    return {"error": {"Arn": task.document["taskArn"], "Code": code, "Message": message}}


async def _send(send: Send, status: int, document: Document) -> None:
    await send_answer(send, Answer(status, {"content-type": "application/json"}, json.dumps(document).encode()))
