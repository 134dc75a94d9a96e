"""Runs ``snapshot`` and ``restore`` as ECS tasks of an environment: the migration's task definition has the database's
address, which nobody here needs to know."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from skylift.aws.errors import calling
from skylift.cli.connection import Connection
from skylift.cli.logs.airflow_tasks import messages
from skylift.cli.logs.containers import logs_of
from skylift.cli.runs.project_run import CLUSTER
from skylift.core.containers import CONTAINER_NAME, Command
from skylift.core.errors import Refused, SkyliftError, Unavailable
from skylift.runtime.snapshots.words import TEMPORARY

SECONDS = 3600.0
POLL_SECONDS = 0.2


def run_once(here: Connection, environment: dict[str, Any], words: list[str], say: Callable[[str], None]) -> str:
    """Runs a command of the runtime to its end; returns the last line of its log.

    Raises:
        Refused: it failed; the text is its own reason.
        Unavailable: it takes too long, or AWS or the database could not be reached.
    """
    ecs, name = here.client("ecs"), environment["Name"]
    network = environment["NetworkConfiguration"]
    request = {
        "cluster": CLUSTER,
        "taskDefinition": f"skylift-{name}-{Command.MIGRATE}",
        "launchType": "FARGATE",
        "startedBy": f"skylift/{name}"[:36],
        "networkConfiguration": {
            "awsvpcConfiguration": {
                "subnets": network["SubnetIds"],
                "securityGroups": network["SecurityGroupIds"],
                "assignPublicIp": "DISABLED",
            }
        },
        "overrides": {"containerOverrides": [{"name": CONTAINER_NAME, "command": words}]},
    }
    with calling(f"ecs RunTask {words[0]} of {name}"):
        answer = ecs.run_task(**request)
    if answer["failures"]:
        raise Unavailable(f"ECS does not start the {words[0]} of {name}: {answer['failures'][0].get('reason', '')}")
    arn = answer["tasks"][0]["taskArn"]
    task = _ended(ecs, arn, lambda: say(f"{words[0]} of {name}"))
    last = _last_line(here, arn)
    code = task["containers"][0].get("exitCode")
    if code != 0:
        told = f"The {words[0]} of {name} failed (exit code {code}): {last or task.get('stoppedReason', '')}"
        raise Unavailable(f"{told}. Try it again later.") if code == TEMPORARY else Refused(told)
    return last


def _ended(ecs: Any, arn: str, tell: Callable[[], None]) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        with calling("ecs DescribeTasks"):
            found: dict[str, Any] = ecs.describe_tasks(cluster=CLUSTER, tasks=[arn])["tasks"][0]
        if found["lastStatus"] == "STOPPED":
            return found
        tell()
        time.sleep(POLL_SECONDS)
    raise Unavailable(f"The ECS task {arn.rpartition('/')[2]} has not ended after {SECONDS:.0f} s.")


def _last_line(here: Connection, arn: str) -> str:
    try:
        found = logs_of(here.client("ecs"), here.client("batch"), arn)
        lines = [text for one in found for _, text in messages(here.client("logs"), one.group, one.stream)]
    except SkyliftError:
        return ""  # its log is not there yet
    ours = [line for line in lines if line.startswith("skylift: ")]
    return (ours or lines or [""])[-1].removeprefix("skylift: ").strip()
