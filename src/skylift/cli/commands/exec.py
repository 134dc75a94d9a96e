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
"""The cluster in which environments run (the control plane's default)."""
SHELL = ("/bin/sh",)
COMPONENT = "scheduler"


class AnyOrder(click.Command):
    """Takes its own options before and after the first word; everything after the next word, or after ``--``, belongs
    to the command."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Like click's, with our options moved to the front."""
        return super().parse_args(ctx, _options_first(args, self._takes_value(ctx)))

    def _takes_value(self, ctx: click.Context) -> dict[str, bool]:
        options = [one for one in self.get_params(ctx) if isinstance(one, click.Option)]
        return {name: not one.is_flag for one in options for name in one.opts}


def _options_first(args: list[str], takes_value: dict[str, bool]) -> list[str]:
    """Reorders ``where [our options] [--] [command]`` to ``[our options] -- where [command]``. Pure."""
    options: list[str] = []
    where: list[str] = []
    left = list(args)
    while left:
        one = left[0]
        if one == "--":
            left.pop(0)
            break
        if not one.startswith("-") or one == "-":
            if where:
                break
            where.append(left.pop(0))
            continue
        options.append(left.pop(0))
        if takes_value.get(one) and left:
            options.append(left.pop(0))
    if not where and left:  # skylift exec -- ENV COMMAND
        where.append(left.pop(0))
    return [*options, "--", *where, *left]


@click.command("exec", cls=AnyOrder)
@click.argument("where", metavar="ENV_OR_TASK")
@click.argument("words", metavar="[--] [COMMAND...]", nargs=-1, type=click.UNPROCESSED)
@click.option("-c", "--container", default="", help="Container, if an ECS task has several.")
@click.option("--component", help=f"Component of an environment; default: {COMPONENT}.")
def execute(where: str, words: tuple[str, ...], container: str, component: str | None) -> int:
    """Run COMMAND (default: a shell) in a container: of an environment's scheduler, or of an ECS task (id or ARN).

    COMMAND runs with the container's environment, in its working folder. This command exits with COMMAND's exit code.
    From a terminal, COMMAND gets a terminal too; otherwise standard input, output and error are passed on unchanged.

    Put options before COMMAND:

    \b
      skylift exec quickstart --component triggerer -- airflow version
    """
    if component is not None and _is_task(where):
        raise click.UsageError(
            "--component selects a component of an environment, but this is an ECS task. Did you mean --container?"
        )
    here = connect()
    task = find_task(here, where, component or COMPONENT)
    request = {"task": task, "container": container, "command": list(words or SHELL)}
    session: dict[str, Any] = call("POST", ROUTE, request, region=REGION)
    return talk(session["streamUrl"], session["tokenValue"])


def _is_task(where: str) -> bool:
    return where.startswith("arn:") or (len(where) == 32 and all(digit in "0123456789abcdef" for digit in where))


def find_task(here: Connection, where: str, component: str) -> str:
    """Finds the ECS task: by ARN, by id, or the newest of an environment's component.

    Raises:
        Refused: nothing was found.
    """
    if _is_task(where):
        return where
    ecs = here.client("ecs")
    service = f"skylift-{where}-{component}"
    with calling(f"ecs DescribeServices {service}"):
        found = ecs.describe_clusters(clusters=[CLUSTER])["clusters"]
        known = found and ecs.describe_services(cluster=CLUSTER, services=[service])["services"]
        arns = ecs.list_tasks(cluster=CLUSTER, serviceName=service)["taskArns"] if known else []
    if not arns:
        raise Refused(
            f"No environment {where} has a running {component}, and {where} is not the id or ARN of an ECS task. "
            "List them with: skylift env list"
        )
    return str(arns[-1])
