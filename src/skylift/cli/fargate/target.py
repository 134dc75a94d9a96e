"""Which account the commands of ``skylift fargate`` talk to: that of the usual AWS settings, or the local cloud."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from skylift.aws.account_calls import AccountCalls, NotAllowed
from skylift.cli.commands.up import start
from skylift.cli.connection import connect
from skylift.cli.home import find_home
from skylift.cli.terminal import Stages
from skylift.core.errors import Refused
from skylift.deploy.fargate.advice import of_refusal
from skylift.deploy.fargate.wanted import Named

F = TypeVar("F", bound=Callable[..., Any])
MY_ADDRESS = "https://checkip.amazonaws.com"

_OPTIONS = (
    click.option("--region", help="AWS region; default: of your AWS settings."),
    click.option("--local", is_flag=True, help="In the local cloud on this machine: try it at home, for nothing."),
)


def target_options(command: F) -> F:
    """``--region`` and ``--local``."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def calls_of(region: str | None, local: bool, stages: Stages | None = None) -> AccountCalls:
    """The account.

    Args:
        stages: with ``local``, the local cloud is started if it does not run, and this shows the start.

    Raises:
        Refused: there are no credentials, or the local cloud does not run.
    """
    if local:
        if stages is not None:
            start(find_home(os.environ), None, stages)
        else:
            connect()
    try:
        return AccountCalls(region)
    except Refused as error:
        raise Refused(f"{error} To try it at home first, without an account: --local") from error


def words_of(calls: AccountCalls) -> str:
    """The account in words."""
    if calls.real:
        return f"AWS account {calls.account}, region {calls.region}, as {calls.caller.rpartition(':')[2]}"
    return f"the cloud at {calls.endpoint} (not AWS: it costs nothing)"


def named_of(calls: AccountCalls, name: str, region: str | None, local: bool) -> Named:
    """The names of NAME in the account."""
    typed = f"--region {calls.region}" if region else ""
    return Named(name, calls.account, calls.region, "--local" if local else typed)


def my_network(calls: AccountCalls, allow: str) -> str:
    """The addresses that may reach Airflow: those asked for, or the one from which this machine reaches AWS.

    Raises:
        Refused: it cannot be found out.
    """
    if allow:
        return allow if "/" in allow else f"{allow}/{128 if ':' in allow else 32}"
    if not calls.real:
        return "127.0.0.1/32"
    try:
        with urllib.request.urlopen(MY_ADDRESS, timeout=10) as answer:
            return f"{answer.read().decode().strip()}/32"
    except (OSError, urllib.error.URLError) as error:
        raise Refused(
            f"{MY_ADDRESS} does not say which address this machine has ({error}). Name it: --allow 203.0.113.7"
        ) from error


@contextmanager
def explaining(named: Named) -> Iterator[None]:
    """Within it, a refusal of AWS gets what to do about it."""
    try:
        yield
    except Refused as error:
        raise _explained(error, named) from error


def _explained(error: Refused, named: Named) -> Refused:
    if isinstance(error, NotAllowed):
        return Refused(
            f"{error}\nYou may not {error.action}. Whoever administers the account can allow what is needed: "
            f"skylift iam-policy fargate --name {named.name} --account {named.account} --region {named.region} prints "
            f"the policy.\nWhat is made already stays; the same command goes on from there, and "
            f"{named.command('down')} removes it."
        )
    advised = of_refusal(str(error))
    return Refused(f"{error}\n{advised}") if advised else error
