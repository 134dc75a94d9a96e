"""What ECS does with the execution role before it starts containers: sign in to ECR, fetch secrets and
files of variables, open logs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from skylift.core.names import arn
from skylift.localcloud.ecs.model.environment_files import files_of, place_of
from skylift.localcloud.ecs.model.store import EcsTask
from skylift.localcloud.ecs.tasks.launch import Wanted, log_target
from skylift.localcloud.ports import CloudContext, Document, Logs, Roles
from skylift.wire.errors import AwsError

_ECR = re.compile(r"(\d{12})\.dkr\.ecr\.([a-z0-9-]+)\.amazonaws\.com(?:\.cn)?/([^:@]+)")
_PULL = ("ecr:BatchCheckLayerAvailability", "ecr:GetDownloadUrlForLayer", "ecr:BatchGetImage")
INIT = "ResourceInitializationError: "
ENV_FILES = f"{INIT}failed to download env files: service call has been retried 1 time(s): "


class NoResources(Exception):
    """Secrets, log streams, the registry or a role are not available; the text is ECS's reason."""


class ExecutionRole:
    """The two roles of one ECS task, as ECS uses them."""

    def __init__(self, roles: Roles, cloud: CloudContext, task: EcsTask, definition: Document) -> None:
        overrides = task.document["overrides"]
        self._roles = roles
        self._cloud = cloud
        self._task = task
        self._execution = str(overrides.get("executionRoleArn") or definition.get("executionRoleArn") or "")
        self._own = str(overrides.get("taskRoleArn") or definition.get("taskRoleArn") or "")

    def check(self, containers: Iterable[Wanted]) -> None:
        """Raises ``NoResources``: ECS may not take a role on, or not do what the containers need."""
        for role in filter(None, (self._execution, self._own)):
            try:
                self._roles.check_assumable(role)
            except AwsError as error:
                raise NoResources(error.message) from error
        for wanted in containers if self._execution else ():
            self._image(str(wanted.definition["image"]))
            for secret in wanted.definition.get("secrets", ()):
                self._secret(str(secret["valueFrom"]))
            for file in files_of(wanted.definition, wanted.override):
                self._file(file)

    async def open_log(self, logs: Logs, wanted: Wanted) -> None:
        """Creates the log stream of a container, and its group if it is missing and wanted. Raises ``NoResources``."""
        target = log_target(self._task, wanted)
        if target is None:
            return
        why = f"{INIT}failed to validate logger args: create stream has been retried 1 times: "
        why += "failed to create Cloudwatch log"
        try:
            self._check("logs:CreateLogStream", self._stream(target.group, target.stream))
            try:
                await logs.prepare(target.group, target.stream, False)
            except AwsError as error:
                if not target.create_group or error.code != "ResourceNotFoundException":
                    raise
                group = arn("logs", self._cloud.region, self._cloud.account, f"log-group:{target.group}:*")
                self._check("logs:CreateLogGroup", group)
                await logs.prepare(target.group, target.stream, True)
        except AwsError as error:
            raise NoResources(f"{why} stream: {error.code}: {error.message} : exit status 1") from error

    def may_log(self, group: str, stream: str) -> None:
        """Raises ``AwsError``: the lines of a container may not be sent."""
        self._check("logs:PutLogEvents", self._stream(group, stream))

    def _image(self, reference: str) -> None:
        found = _ECR.match(reference)
        if found is None:
            return
        self._asked("ecr:GetAuthorizationToken", "*", f"{INIT}unable to pull secrets or registry auth: execution "
                    "resource retrieval failed: unable to retrieve ecr registry auth")  # fmt: skip
        account, region, name = found.groups()
        for action in _PULL:
            self._asked(action, arn("ecr", region, account, f"repository/{name}"), "CannotPullContainerError")

    def _secret(self, value_from: str) -> None:
        here = self._cloud
        if ":secretsmanager:" in value_from:
            action, resource = "secretsmanager:GetSecretValue", ":".join(value_from.split(":")[:7])
        else:
            name = value_from if value_from.startswith("arn:") else f"parameter/{value_from.removeprefix('/')}"
            action = "ssm:GetParameters"
            resource = name if name.startswith("arn:") else arn("ssm", here.region, here.account, name)
        why = f"{INIT}unable to pull secrets or registry auth: execution resource retrieval failed: unable to retrieve "
        self._asked(action, resource, f"{why}secret {value_from}")

    def _file(self, value: str) -> None:
        bucket = place_of(value)[0]
        self._asked("s3:GetBucketLocation", f"arn:aws:s3:::{bucket}", f"{ENV_FILES}{value}")
        self._asked("s3:GetObject", value, f"{ENV_FILES}{value}")

    def _stream(self, group: str, stream: str) -> str:
        return arn("logs", self._cloud.region, self._cloud.account, f"log-group:{group}:log-stream:{stream}")

    def _asked(self, action: str, resource: str, why: str) -> None:
        try:
            self._check(action, resource)
        except AwsError as error:
            raise NoResources(f"{why}: {error.code}: {error.message}") from error

    def _check(self, action: str, resource: str) -> None:
        """Raises ``AwsError``: the execution role may not. Without a role, nobody asks."""
        if self._execution:
            self._roles.check(self._execution, self._task.id, action, resource)
