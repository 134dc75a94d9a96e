"""What a container can ask about itself over HTTP: credentials of its role, and task metadata version 4.

Sources: "IAM roles for tasks" and "Amazon ECS task metadata endpoint version 4 for tasks on Fargate". Both addresses
are in the container's environment. The credentials need the token that is there too; the metadata's address
cannot be guessed.
"""

# ruff: noqa: ARG002 - ASGI takes scope, receive, send

from __future__ import annotations

import hmac
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from skylift.core.names import arn
from skylift.localcloud.ecs.model.shapes import last_word
from skylift.localcloud.ecs.model.store import EcsStore, EcsTask
from skylift.localcloud.ecs.tasks.launch import CREDENTIALS, METADATA, LogTarget, Wanted, log_target
from skylift.localcloud.ports import CloudContext, Document
from skylift.wire.asgi import Answer, Asgi, Receive, Scope, Send, send_answer
from skylift.wire.signing.keys import DerivedKeys

CREDENTIAL_SECONDS = 6 * 3600.0
"""How long a role's credentials are valid (ECS: up to six hours; SDKs fetch new ones before)."""
DEFAULT_ROLE = "skylift-default-task-role"
"""The role of a task definition without ``taskRoleArn``. On AWS such ECS tasks have no credentials at
all."""


class ContainerEndpoints:
    """The two routes."""

    def __init__(self, cloud: CloudContext, store: EcsStore, keys: DerivedKeys) -> None:
        self._cloud = cloud
        self._store = store
        self._keys = keys

    @property
    def routes(self) -> Mapping[str, Asgi]:
        """Path prefix to ASGI app."""
        return {CREDENTIALS: self.credentials, METADATA: self.metadata}

    async def credentials(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``GET .../{task id}`` with the container's token: credentials in the format of botocore's container
        provider."""
        task = self._store.tasks.get(scope["path"].rsplit("/", 1)[-1])
        shown = dict(scope["headers"]).get(b"authorization", b"")
        if task is None or task.stopped or not hmac.compare_digest(shown, task.credential.encode()):
            await _send(send, 403, {"code": "AccessDenied", "message": "No such ECS task, or a wrong token."})
            return
        await _send(send, 200, self._credentials(task))

    async def metadata(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``GET .../{container's runtime id}``, alone or followed by ``/task``, ``/taskWithTags``, ``/stats`` or
        ``/task/stats``."""
        runtime_id, _, rest = scope["path"].removeprefix(METADATA + "/").partition("/")
        task = self._store.tasks.get(runtime_id.partition("-")[0])
        container = (
            next((c for c in task.document["containers"] if c["runtimeId"] == runtime_id), None) if task else None
        )
        if task is None or container is None:
            await _send(send, 404, {"message": "No such container."})
        elif rest.strip("/") == "":
            await _send(send, 200, self._container(task, container))
        elif rest in {"task", "taskWithTags"}:
            await _send(send, 200, self._task(task, with_tags=rest == "taskWithTags"))
        else:
            await _send(send, 404, {"message": f"Not served: {rest}"})

    def _credentials(self, task: EcsTask) -> Document:
        definition = self._store.definitions[task.document["taskDefinitionArn"]]
        default = arn("iam", "", self._cloud.account, f"role/{DEFAULT_ROLE}")
        role = task.document["overrides"].get("taskRoleArn") or definition.get("taskRoleArn") or default
        account, name = role.split(":")[4], last_word(role)
        key = self._keys.issue(arn("sts", "", account, f"assumed-role/{name}/{task.id}"), CREDENTIAL_SECONDS)
        assert key.expires is not None
        return {
            "RoleArn": role,
            "AccessKeyId": key.access_key,
            "SecretAccessKey": key.secret,
            "Token": key.session_token,
            "Expiration": _time(key.expires),
        }

    def _task(self, task: EcsTask, with_tags: bool) -> Document:
        document = task.document
        family, _, revision = last_word(document["taskDefinitionArn"]).partition(":")
        answer: Document = {
            "Cluster": document["clusterArn"],
            "TaskARN": document["taskArn"],
            "Family": family,
            "Revision": revision,
            "DesiredStatus": document["desiredStatus"],
            "KnownStatus": document["lastStatus"],
            "Limits": {"CPU": float(document["cpu"]) / 1024, "Memory": int(document["memory"])},
            "AvailabilityZone": document["availabilityZone"],
            "LaunchType": document["launchType"],
            "Containers": [self._container(task, container) for container in document["containers"]],
            **_times(document, {"PullStartedAt": "pullStartedAt", "PullStoppedAt": "pullStoppedAt"}),
        }
        if with_tags:
            answer["TaskTags"] = {tag["key"]: tag["value"] for tag in document["tags"]}
        return answer

    def _container(self, task: EcsTask, container: Document) -> Document:
        definitions = self._store.definitions[task.document["taskDefinitionArn"]]["containerDefinitions"]
        definition = next(item for item in definitions if item["name"] == container["name"])
        family, _, revision = last_word(task.document["taskDefinitionArn"]).partition(":")
        labels = {
            "com.amazonaws.ecs.cluster": task.document["clusterArn"],
            "com.amazonaws.ecs.container-name": container["name"],
            "com.amazonaws.ecs.task-arn": task.document["taskArn"],
            "com.amazonaws.ecs.task-definition-family": family,
            "com.amazonaws.ecs.task-definition-version": revision,
        }
        return {
            "DockerId": container["runtimeId"],
            "Name": container["name"],
            "DockerName": container["name"],
            "Image": container["image"],
            "Labels": labels,
            "DesiredStatus": task.document["desiredStatus"],
            "KnownStatus": container["lastStatus"],
            "Limits": {"CPU": definition.get("cpu", 0)},
            "Type": "NORMAL",
            "ContainerARN": container["containerArn"],
            "Networks": [_network(task)],
            **_times(task.document, {"CreatedAt": "createdAt", "StartedAt": "startedAt"}),
            **({"ExitCode": container["exitCode"]} if "exitCode" in container else {}),
            **self._log(log_target(task, Wanted(definition, {}))),
        }

    def _log(self, target: LogTarget | None) -> Document:
        if target is None:
            return {}
        options = {
            "awslogs-group": target.group,
            "awslogs-region": self._cloud.region,
            "awslogs-stream": target.stream,
        }
        return {"LogDriver": "awslogs", "LogOptions": options}


def _network(task: EcsTask) -> dict[str, Any]:
    """The first network; an ECS task without its own address is on the machine's loopback."""
    if not task.address:
        return {"NetworkMode": "host", "IPv4Addresses": ["127.0.0.1"]}
    details = {item["name"]: item["value"] for item in task.document["attachments"][0]["details"]}
    return {
        "NetworkMode": "awsvpc",
        "IPv4Addresses": [task.address],
        "AttachmentIndex": 0,
        "MACAddress": details["macAddress"],
        "PrivateDNSName": details["privateDnsName"],
    }


def _times(document: Document, names: Mapping[str, str]) -> Document:
    return {shown: _time(document[name]) for shown, name in names.items() if name in document}


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def _send(send: Send, status: int, document: Document) -> None:
    await send_answer(send, Answer(status, {"content-type": "application/json"}, json.dumps(document).encode()))
