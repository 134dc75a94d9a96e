"""``skylift exec``: a command, or a shell, in a running container."""

from __future__ import annotations

from typing import Any

import click

from skylift.aws.errors import calling
from skylift.aws.signed import call
from skylift.cli.connection import Connection, connect
from skylift.cli.home import REGION
from skylift.cli.shell import talk
from skylift.core.errors import Refused

ROUTE = "/_skylift/exec"
CLUSTER = "skylift"
"""In which environments run (the control plane's default)."""
SHELL = ("/bin/sh",)


@click.command("exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.argument("where", metavar="ENV_OR_TASK")
@click.argument("words", metavar="[--] [COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("-c", "--container", default="", help="Container, where an ECS task has several.")
@click.option("--component", default="scheduler", help="Of an environment: which component; default scheduler.")
def execute(where: str, words: tuple[str, ...], container: str, component: str) -> int:
    """Run COMMAND (default: a shell) in a container: of an environment's scheduler, or of an ECS task (id or ARN).

    It runs with the container's environment and in its working folder. Its exit code is this command's. With a terminal here there is
    one there too; otherwise standard input, output and error are passed on as they are.
    """
    here = connect()
    task = find_task(here, where, component)
    said = words[1:] if words[:1] == ("--",) else words  # click leaves it in where arguments may begin with a dash
    wish = {"task": task, "container": container, "command": list(said or SHELL)}
    session: dict[str, Any] = call("POST", ROUTE, wish, region=REGION)
    return talk(session["streamUrl"], session["tokenValue"])


def find_task(here: Connection, where: str, component: str) -> str:
    """The ECS task that is meant: by ARN, by id, or the newest of an environment's component.

    Raises:
        Refused: it is neither.
    """
    if where.startswith("arn:") or (len(where) == 32 and all(digit in "0123456789abcdef" for digit in where)):
        return where
    ecs = here.client("ecs")
    service = f"skylift-{where}-{component}"
    with calling(f"ecs DescribeServices {service}"):
        found = ecs.describe_clusters(clusters=[CLUSTER])["clusters"]
        known = found and ecs.describe_services(cluster=CLUSTER, services=[service])["services"]
        arns = ecs.list_tasks(cluster=CLUSTER, serviceName=service)["taskArns"] if known else []
    if not arns:
        raise Refused(
            f"There is no environment {where} whose {component} runs, and {where} is no ECS task's id or ARN. "
            "List them with: skylift env list"
        )
    return str(arns[-1])
