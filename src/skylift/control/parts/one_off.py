"""ECS tasks that run once: starts them with a client token, looks up their state, says why they failed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from skylift.aws.ecs.tasks import DescribedTask, EcsTasks
from skylift.aws.logs import LogGroups
from skylift.control.part_context import PartContext, service_log_group
from skylift.control.plan import Failure
from skylift.core.containers import CONTAINER_NAME

IMAGE_FAILED = "IMAGE_FAILED"
NO_IMAGE = ("CannotPull", "CannotInspectContainerError", "ImagePull")
"""In ECS's reasons: the image does not exist, or cannot be pulled (ECS's page on stopped tasks' error codes)."""


class Once:
    """Starts and describes one-off ECS tasks."""

    def __init__(self, tasks: EcsTasks, logs: LogGroups) -> None:
        self._tasks = tasks
        self._logs = logs

    def start(self, context: PartContext, definition: str, token: str, environment: Mapping[str, str]) -> str:
        """Starts an ECS task, or finds the one that this token has already started; returns its ARN.

        Args:
            definition: ARN of the task definition.
            token: 64 hexadecimal characters, the same for the same action.
            environment: variables on top of the definition's.
        """
        overrides = [{"name": name, "value": value} for name, value in sorted(environment.items())]
        return self._tasks.run(
            {
                "taskDefinition": definition,
                "launchType": context.settings.launch_type,
                "networkConfiguration": network(context),
                "clientToken": token,
                "startedBy": f"skylift/{context.spec.name}"[:36],
                "overrides": {"containerOverrides": [{"name": CONTAINER_NAME, "environment": overrides}]},
            }
        )

    def look(self, arn: str) -> DescribedTask | None:
        """The ECS task, or None if ECS no longer knows it."""
        return self._tasks.describe([arn]).get(arn)

    def stop(self, arn: str, why: str) -> None:
        """Requests a stop."""
        self._tasks.stop(arn, why)

    def fault(self, context: PartContext, one: DescribedTask, role: str, code: str, what: str) -> Failure:
        """Why a stopped task failed: ECS's reason, exit code, the last lines of its log.

        Args:
            code: the fault's code, unless its image is to blame.
            what: the first words, e.g. "The migration failed".
        """
        if exit_code(one) is None:  # it never ran, so its program is not to blame, and there is no log
            return Failure(code_of_start(one, code), f"{what}: {failure_text(one, ())}")
        lines = self._logs.last_lines(service_log_group(context.spec.name), stream_of(one, role))
        return Failure(code, context.hide(f"{what}: {failure_text(one, lines)}"))


def network(context: PartContext) -> dict[str, Any]:
    """``networkConfiguration`` of everything that an environment runs."""
    return {
        "awsvpcConfiguration": {
            "subnets": list(context.spec.subnets),
            "securityGroups": list(context.spec.security_groups),
            "assignPublicIp": "DISABLED",
        }
    }


def interrupted(one: DescribedTask) -> bool:
    """Whether its capacity was taken away. This says nothing about the action, so it may be repeated."""
    return one.stop_code in {"TerminationNotice", "SpotInterruption", "InfrastructureHealth"}


def code_of_start(one: DescribedTask, code: str) -> str:
    """The code for a task that ECS could not start: ``IMAGE_FAILED`` when its image could not be had."""
    container = one.container(CONTAINER_NAME)
    words = one.stopped_reason + (container.reason if container else "")
    return IMAGE_FAILED if any(sign in words for sign in NO_IMAGE) else code


def stream_of(one: DescribedTask, role: str) -> str:
    """Log stream of a task's container: ``{prefix}/{container}/{task id}``, as the awslogs driver names it."""
    return f"{role}/{CONTAINER_NAME}/{one.arn.rpartition('/')[2]}"


def exit_code(one: DescribedTask) -> int | None:
    """Exit code of the Airflow container, None while it has none."""
    container = one.container(CONTAINER_NAME)
    return container.exit_code if container else None


def failure_text(one: DescribedTask, lines: tuple[str, ...]) -> str:
    """One text from what ECS and the log say about a stopped task."""
    container = one.container(CONTAINER_NAME)
    words = [one.stopped_reason, container.reason if container else ""]
    code = exit_code(one)
    words.append("" if code is None else f"exit code {code}")
    text = "; ".join(word for word in words if word) or "ECS gave no reason"
    return text + ("\n" + "\n".join(lines) if lines else "")
