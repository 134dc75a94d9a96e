"""The options of ``skylift fargate up``, what they ask for, and the plan that is shown before anything is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import click
import yaml

from skylift.aws.account_calls import AccountCalls
from skylift.cli.fargate.target import words_of
from skylift.core.errors import Refused
from skylift.deploy.fargate.compose import from_compose, from_params
from skylift.deploy.fargate.prices import price
from skylift.deploy.fargate.wanted import CIDR, IMAGE, LOCAL_IMAGE, AirflowWanted, Named

F = TypeVar("F", bound=Callable[..., Any])
_OPTIONS = (
    click.option("--image", help=f"Any image with Airflow 3. Default: {IMAGE}; in the local cloud {LOCAL_IMAGE}."),
    click.option("--cpu", type=int, help="CPU units, 1024 for one vCPU (the default)."),
    click.option("--memory", type=int, help="MiB; default 3072."),
    click.option("--spot", is_flag=True, help="Fargate Spot: cheaper, and AWS may take it back."),
    click.option("--arm", is_flag=True, help="Graviton: a fifth cheaper; the image must have it."),
    click.option("--vpc", default="", help="Use the public subnets of this VPC; default: make a small VPC."),
    click.option("--cidr", default=CIDR, show_default=True, help="Network of the VPC that is made."),
    click.option("--compose", type=click.Path(path_type=Path), help="ecs-cli's docker-compose.yml."),
    click.option("--params", type=click.Path(path_type=Path), help="ecs-cli's ecs-params.yml."),
    click.option("--allow", default="", help="Addresses that may reach port 8080; default: this machine's own."),
)


def wanted_options(command: F) -> F:
    """The options that say what is made."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def asked(calls: AccountCalls, name: str, allow: str, options: Mapping[str, Any]) -> AirflowWanted:
    """What is asked for. Raises ``Refused`` for what is not possible."""
    given = {key: value for key, value in options.items() if value is not None}
    compose, params = given.pop("compose", None), given.pop("params", None)
    said = {
        **(from_compose(_read(compose), calls.region) if compose else {}),
        **(from_params(_read(params)) if params else {}),
        **given,
    }
    image = said.pop("image", None) or (IMAGE if calls.real else LOCAL_IMAGE)
    return AirflowWanted(name=name, image=image, allow=allow, **said)


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except OSError as error:
        raise Refused(f"{path} cannot be read: {error.strerror}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Refused(f"{path} is no YAML: {error}") from error


def plan_lines(calls: AccountCalls, wanted: AirflowWanted, dags: Path | None) -> list[str]:
    """What will be made, and what it costs."""
    named = Named(wanted.name, calls.account, calls.region)
    own = f"VPC {wanted.cidr} with two public subnets, internet gateway, route table"
    theirs = ", ".join(wanted.subnets) or (f"the public subnets of {wanted.vpc}" if wanted.vpc else "")
    kind = ("Fargate Spot" if wanted.spot else "Fargate") + (", ARM" if wanted.arm else "")
    costs = price(calls.region, wanted.cpu, wanted.memory, arm=wanted.arm, spot=wanted.spot)
    lines = [
        f"{wanted.name}: Airflow in one container, in {words_of(calls)}",
        f"  network   {theirs or own}",
        f"  access    security group, whose only rule lets {wanted.allow} reach port 8080",
        f"  container {wanted.image}, {wanted.cpu / 1024:g} vCPU, {wanted.memory / 1024:g} GB, {kind}",
        f"  DAGs      {f'{dags}, copied to' if dags else 'what is in'} {named.dags}",
        f"  and       2 roles, secret, log group ({wanted.keep_logs} days), cluster, service of one",
    ]
    if costs is None:
        lines.append(f"  price     unknown: the price table has no figures for {calls.region}")
    else:
        parts = ", ".join(f"{what} ${amount:.4f}" for what, amount in costs.lines)
        about = costs.words() if calls.real else f"nothing here; on AWS {costs.words()}"
        lines += [f"  price     {about}", f"            an hour: {parts}"]
    return lines
