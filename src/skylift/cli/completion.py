"""Names that the shell completes: environments, DAGs, parts. Where nothing answers, it completes nothing, at once."""

from __future__ import annotations

import os
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from skylift.cli import environments
from skylift.cli.connection import Connection, connection
from skylift.cli.home import find_home
from skylift.cli.logs.view import COMPONENTS
from skylift.cli.projects.buckets import followed
from skylift.cli.serving.server import running
from skylift.core.errors import SkyliftError

UNANSWERED = (SkyliftError, OSError)
"""No server, no environment, no Airflow: nothing to complete. Anything else is our bug, and is reported."""

PARTS = ("api-server", "scheduler", "dag-processor", "triggerer", "worker")
"""Of an environment, as its ECS services are named."""


def complete_environment(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of environments."""
    here = _here()
    return _items(_names(here), incomplete) if here else []


def complete_dag(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Ids of DAGs in the environment that ``--env`` names, else in that which commands use without it."""
    return _items(_dags(str(ctx.params.get("name") or "")), incomplete)


def complete_part(_ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Parts of an environment."""
    return _items(PARTS, incomplete)


def complete_log(ctx: click.Context, _param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What ``skylift logs`` takes: components and DAGs."""
    return _items(["server", *COMPONENTS, *_dags(str(ctx.params.get("name") or ""))], incomplete)


def _here() -> Connection | None:
    try:
        home = find_home(os.environ)
        server = running(home, patience=0)
        return connection(home, server) if server is not None and not server.alone else None
    except UNANSWERED:
        return None


def _names(here: Connection) -> list[str]:
    try:
        return environments.names(here.client("mwaa"))
    except UNANSWERED:
        return sorted(followed(here.home))


def _dags(name: str) -> list[str]:
    here = _here()
    if here is None:
        return []
    try:
        mwaa = here.client("mwaa")
        found = environments.get(mwaa, environments.the_one(mwaa, name or None))
        return sorted(here.airflow(found).dags())
    except UNANSWERED:
        return []


def _items(names: Iterable[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(one) for one in names if one.startswith(incomplete)]
